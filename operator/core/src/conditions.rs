//! Conditions of a resource: what changed keeps its time, what is true of nothing any more goes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Everything about the object is in order.
pub const READY: &str = "Ready";
/// The operator is on the way to what the object asks for.
pub const RECONCILING: &str = "Reconciling";
/// The operator cannot get there, and trying again does not help.
pub const STALLED: &str = "Stalled";
/// The operator was told to leave the object alone.
pub const PAUSED: &str = "Paused";

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody knows.
    Unknown,
}

impl Holds {
    const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// What is to be said about one aspect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The aspect, such as [`READY`].
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: Holds,
    /// Why, in one CamelCase word of the documented list.
    pub reason: &'static str,
    /// Why, for people.
    pub message: String,
}

impl Finding {
    /// A finding.
    pub fn new(
        kind: &'static str,
        holds: impl Into<Holds>,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            holds: holds.into(),
            reason,
            message: message.into(),
        }
    }
}

/// The findings as conditions. `lastTransitionTime` is kept where the status of a condition is as it was in `previous`.
#[must_use]
pub fn conditions(
    findings: &[Finding],
    previous: &[Condition],
    generation: i64,
    now: &Time,
) -> Vec<Condition> {
    findings
        .iter()
        .map(|finding| {
            let status = finding.holds.as_str();
            let before = previous
                .iter()
                .find(|condition| condition.type_ == finding.kind && condition.status == status);
            Condition {
                type_: finding.kind.to_owned(),
                status: status.to_owned(),
                reason: finding.reason.to_owned(),
                message: finding.message.clone(),
                observed_generation: Some(generation),
                last_transition_time: before
                    .map_or_else(|| now.clone(), |before| before.last_transition_time.clone()),
            }
        })
        .collect()
}

/// The condition of that kind.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether the condition of that kind is there and true.
#[must_use]
pub fn holds(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == "True")
}

/// `time` without its fraction of a second, which the API server does not keep.
#[must_use]
pub fn whole_seconds(time: &Time) -> Time {
    let seconds = k8s_openapi::jiff::Timestamp::from_second(time.0.as_second());
    seconds.map_or_else(|_| time.clone(), Time)
}

/// A point in time from milliseconds of UNIX time, in whole seconds.
#[must_use]
pub fn time_from_millis(milliseconds: u64) -> Option<Time> {
    let seconds = i64::try_from(milliseconds / 1000).ok()?;
    let time = k8s_openapi::jiff::Timestamp::from_second(seconds).ok()?;
    Some(Time(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        time_from_millis(seconds * 1000).expect("a time")
    }

    #[test]
    fn the_time_of_a_condition_moves_only_when_its_status_does() {
        let first = conditions(
            &[Finding::new(READY, false, "Provisioning", "starting")],
            &[],
            1,
            &at(10),
        );
        let same = conditions(
            &[Finding::new(READY, false, "QuorumLost", "gone")],
            &first,
            2,
            &at(20),
        );
        let flipped = conditions(&[Finding::new(READY, true, "Ready", "")], &same, 2, &at(30));
        let times: Vec<_> = [&first, &same, &flipped]
            .iter()
            .map(|conditions| conditions[0].last_transition_time.clone())
            .collect();
        assert_eq!(times, [at(10), at(10), at(30)]);
        assert_eq!(same[0].reason, "QuorumLost");
        assert_eq!(same[0].observed_generation, Some(2));
    }
}
