//! Figures of a run: percentiles of times, and counts of outcomes.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Times of one kind of event, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    sorted: Vec<Duration>,
}

impl Times {
    /// Takes times in any order.
    #[must_use]
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { sorted: times }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The time by which `per_mille` thousandths of `all` events had happened (nearest rank); `None` when fewer than
    /// that happened at all.
    #[must_use]
    pub fn reached(&self, per_mille: usize, all: usize) -> Option<Duration> {
        let rank = all.saturating_mul(per_mille).div_ceil(1000).max(1);
        self.sorted.get(rank - 1).copied()
    }

    /// The time that `per_mille` thousandths of the events did not exceed.
    #[must_use]
    pub fn percentile(&self, per_mille: usize) -> Option<Duration> {
        self.reached(per_mille, self.len())
    }

    /// The longest.
    #[must_use]
    pub fn longest(&self) -> Option<Duration> {
        self.sorted.last().copied()
    }
}

/// What failed, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failures {
    by_reason: BTreeMap<String, usize>,
}

impl Failures {
    /// Counts one.
    pub fn add(&mut self, reason: String) {
        *self.by_reason.entry(reason).or_default() += 1;
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> usize {
        self.by_reason.values().sum()
    }
}

impl fmt::Display for Failures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.by_reason.is_empty() {
            return formatter.write_str("none");
        }
        for (position, (reason, count)) in self.by_reason.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(formatter, "{separator}{count} × {reason}")?;
        }
        Ok(())
    }
}

/// A time in milliseconds, or a dash when there is none.
#[must_use]
pub fn milliseconds(time: Option<Duration>) -> String {
    time.map_or_else(
        || "–".to_owned(),
        |time| format!("{:.1} ms", time.as_secs_f64() * 1e3),
    )
}

/// How many of `count` fit into a second when all took `time`.
#[must_use]
pub fn per_second(count: usize, time: Duration) -> f64 {
    if time.is_zero() {
        return 0.0;
    }
    // Exact up to 2⁵³ events.
    count as f64 / time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(milliseconds: impl IntoIterator<Item = u64>) -> Times {
        Times::new(
            milliseconds
                .into_iter()
                .map(Duration::from_millis)
                .collect(),
        )
    }

    #[test]
    fn percentiles_are_times_that_were_measured_and_never_round_down() {
        let hundred = times((1..=100).rev());
        assert_eq!(hundred.percentile(500), Some(Duration::from_millis(50)));
        assert_eq!(hundred.percentile(990), Some(Duration::from_millis(99)));
        assert_eq!(hundred.percentile(999), Some(Duration::from_millis(100)));
        assert_eq!(hundred.longest(), Some(Duration::from_millis(100)));
        assert_eq!(times([7]).percentile(500), Some(Duration::from_millis(7)));
        assert_eq!(times([]).percentile(500), None);
    }

    #[test]
    fn what_too_few_reached_was_not_reached() {
        let nine_of_ten = times(1..=9);
        assert_eq!(nine_of_ten.reached(500, 10), Some(Duration::from_millis(5)));
        assert_eq!(nine_of_ten.reached(900, 10), Some(Duration::from_millis(9)));
        assert_eq!(nine_of_ten.reached(999, 10), None);
    }

    #[test]
    fn failures_are_counted_by_reason() {
        let mut failures = Failures::default();
        assert_eq!(failures.to_string(), "none");
        for reason in ["no answer", "refused", "no answer"] {
            failures.add(reason.to_owned());
        }
        assert_eq!(failures.total(), 3);
        assert_eq!(failures.to_string(), "2 × no answer; 1 × refused");
    }

    #[test]
    fn a_rate_is_events_by_seconds_and_an_instant_has_none() {
        assert!((per_second(500, Duration::from_millis(250)) - 2000.0).abs() < 1e-9);
        assert!(per_second(5, Duration::ZERO).abs() < f64::EPSILON);
        assert_eq!(
            milliseconds(Some(Duration::from_micros(1250))),
            "1.2 ms".to_owned()
        );
        assert_eq!(milliseconds(None), "–");
    }
}
