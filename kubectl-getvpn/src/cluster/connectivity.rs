//! Do members reach each other, and only encrypted?
//!
//! A test sends UDP datagrams of a known length from every member to every other one, through the sidecars' own network
//! and data path, and compares the members' counters before and after.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use super::connection::Connection;
use super::error::ClusterError;
use super::member;

/// One direction between two members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Pod that sends.
    pub from: String,
    /// Pod that receives.
    pub to: String,
    /// Whether an answer came.
    pub answered: bool,
    /// Why not.
    pub error: Option<String>,
}

/// What the counters of one member tell of the time of the test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The pod.
    pub pod: String,
    /// Packets it encrypted.
    pub encrypted: u64,
    /// Packets it decrypted.
    pub decrypted: u64,
    /// Packets its data path dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Protected packets in clear that its kernel dropped.
    pub clear_dropped: u64,
}

/// Differences of counters between two states of a member.
#[must_use]
pub fn difference(pod: &str, before: &Value, after: &Value) -> Difference {
    let grown = |pointer: &str| {
        let at = |state: &Value| state.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        at(after).saturating_sub(at(before))
    };
    let counters = |list: &str| {
        after[list]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, count)| {
                let earlier = before[list][name].as_u64().unwrap_or(0);
                let count = count.as_u64().unwrap_or(0).saturating_sub(earlier);
                (name.clone(), count)
            })
            .filter(|(_, count)| *count > 0)
            .collect::<BTreeMap<_, _>>()
    };
    let clear = after["guard"]["drops"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(rule, _)| rule.starts_with("clear_"))
        .map(|(rule, _)| grown(&format!("/guard/drops/{rule}")))
        .sum();
    Difference {
        pod: pod.to_owned(),
        encrypted: grown("/packets/sent"),
        decrypted: grown("/packets/received"),
        dropped: counters("drops"),
        clear_dropped: clear,
    }
}

/// Whether everything was answered, encrypted, and nothing seen in clear.
#[must_use]
pub fn passed(probes: &[Probe], differences: &[Difference]) -> bool {
    let sends = |pod: &str| probes.iter().any(|probe| probe.from == pod);
    probes.iter().all(|probe| probe.answered)
        && differences
            .iter()
            .all(|one| one.clear_dropped == 0 && (!sends(&one.pod) || one.encrypted > 0))
}

/// Sends from one member to another and waits for the answer of its kernel.
pub async fn probe(connection: &Connection, from: &str, to: (&str, IpAddr)) -> Probe {
    let address = to.1.to_string();
    let program = [operator_api::pod::PROGRAM, "reach", &address];
    let answer = member::run(connection, from, operator_api::pod::CONTAINER, &program).await;
    let error = answer.err().map(|error: ClusterError| error.to_string());
    Probe {
        from: from.to_owned(),
        to: to.0.to_owned(),
        answered: error.is_none(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(sent: u64, clear: u64, replayed: u64) -> Value {
        json!({
            "packets": {"sent": sent, "received": sent},
            "drops": {"replayed": replayed, "no_policy": 0},
            "guard": {"drops": {"clear_inbound": clear, "other": 5}},
        })
    }

    fn answered(from: &str) -> Probe {
        Probe {
            from: from.to_owned(),
            to: "b".to_owned(),
            answered: true,
            error: None,
        }
    }

    #[test]
    fn only_what_grew_counts() {
        let difference = difference("a", &state(10, 1, 2), &state(14, 1, 5));
        assert_eq!((difference.encrypted, difference.decrypted), (4, 4));
        assert_eq!(difference.clear_dropped, 0);
        assert_eq!(
            difference.dropped,
            BTreeMap::from([("replayed".to_owned(), 3)])
        );
    }

    #[test]
    fn an_answer_that_was_not_encrypted_does_not_pass() {
        let silent = difference("a", &state(10, 0, 0), &state(10, 0, 0));
        assert!(!passed(&[answered("a")], &[silent]));
    }

    #[test]
    fn a_packet_in_clear_does_not_pass() {
        let clear = difference("a", &state(10, 0, 0), &state(12, 1, 0));
        assert!(!passed(&[answered("a")], &[clear]));
        let fine = difference("a", &state(10, 0, 0), &state(12, 0, 0));
        assert!(passed(&[answered("a")], &[fine]));
    }
}
