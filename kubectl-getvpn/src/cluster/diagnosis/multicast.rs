//! Members that rekeys by multicast do not reach, and whether multicast is the right choice then.
//!
//! Nobody acknowledges a multicast rekey, so only the members themselves can tell.

use serde_json::Value;

use super::{Facts, Finding, Severity, named, text};

/// Seconds by which members may hear copies of one rekey apart.
const MARGIN_SECONDS: f64 = 60.0;
/// Registrations without a rekey between them that cannot be chance.
const MANY_REGISTRATIONS: u64 = 3;

/// Findings about each group whose rekeys go by multicast.
pub(super) fn diagnose(facts: &Facts, findings: &mut Vec<Finding>) {
    for group in &facts.resources {
        let rekey = &group["spec"]["rekey"];
        if group["kind"] == "GetVpnGroup" && rekey["transport"] == "Multicast" {
            of_group(
                group,
                &text(&rekey["multicast"]["address"]),
                facts,
                findings,
            );
        }
    }
}

fn of_group(group: &Value, address: &str, facts: &Facts, findings: &mut Vec<Finding>) {
    let id = &group["spec"]["groupID"];
    let members: Vec<(&str, &Value)> = facts
        .members
        .iter()
        .filter_map(|(pod, state)| {
            let groups = state["groups"].as_array()?;
            let own = groups.iter().find(|own| own["groupID"] == *id)?;
            (own["registered"] == true).then_some((pod.as_str(), own))
        })
        .collect();
    let last = members
        .iter()
        .filter_map(|(_, member)| member["lastRekeySeconds"].as_f64())
        .reduce(f64::min);
    let unreached: Vec<&str> = members
        .iter()
        .filter(|(_, member)| misses(member, last))
        .map(|(pod, _)| *pod)
        .collect();
    let most = unreached.len().saturating_mul(2) > members.len();
    for pod in &unreached {
        findings.push(Finding {
            severity: Severity::Warning,
            object: format!("Pod/{pod}"),
            reason: "NoMulticast".to_owned(),
            message: format!("rekeys that go to {address} do not reach it"),
            remedy: if most {
                "see what is said about its group".to_owned()
            } else {
                format!(
                    "does its network carry multicast, and {address} to it? Until then it registers again before its keys \
                     end; for a few such members stay with multicast"
                )
            },
        });
    }
    if most {
        findings.push(Finding {
            severity: Severity::Warning,
            object: named(group),
            reason: "FewHearMulticast".to_owned(),
            message: format!(
                "rekeys by multicast do not reach {} of {} members",
                unreached.len(),
                members.len()
            ),
            remedy: "set `rekey.transport: Unicast`".to_owned(),
        });
    }
}

/// Whether a member missed what others heard `last` seconds ago, or registers again and again because it hears nothing.
fn misses(member: &Value, last: Option<f64>) -> bool {
    let seconds = |field: &str| member[field].as_f64();
    let missed_the_last = last.is_some_and(|last| {
        let since = last + MARGIN_SECONDS;
        seconds("registeredSeconds").is_some_and(|registered| registered > since)
            && seconds("lastRekeySeconds").is_none_or(|heard| heard > since)
    });
    let hears_nothing = member["registrations"].as_u64() >= Some(MANY_REGISTRATIONS)
        && member["rekeysAccepted"].as_u64() == Some(0);
    missed_the_last || hears_nothing
}

#[cfg(test)]
mod tests {
    use super::super::diagnose;
    use super::*;
    use serde_json::json;

    fn group(transport: &str) -> Value {
        json!({
            "kind": "GetVpnGroup",
            "metadata": {"name": "wan"},
            "spec": {"groupID": 7, "rekey": {"transport": transport, "multicast": {"address": "239.192.0.1"}}},
            "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": ""}]},
        })
    }

    /// A member that heard the rekey of a minute ago.
    fn hears(pod: &str) -> (String, Value) {
        member(
            pod,
            &json!({"registrations": 1, "registeredSeconds": 9000.0, "rekeysAccepted": 4, "lastRekeySeconds": 61.5}),
        )
    }

    /// A member that was there and did not.
    fn misses_the_last(pod: &str) -> (String, Value) {
        member(
            pod,
            &json!({"registrations": 1, "registeredSeconds": 900.0, "rekeysAccepted": 0, "lastRekeySeconds": null}),
        )
    }

    /// A member that registered again instead, a few times.
    fn registers_instead(pod: &str) -> (String, Value) {
        member(
            pod,
            &json!({"registrations": 3, "registeredSeconds": 5.0, "rekeysAccepted": 0, "lastRekeySeconds": null}),
        )
    }

    fn member(pod: &str, more: &Value) -> (String, Value) {
        let mut own = json!({"groupID": 7, "registered": true});
        for (field, value) in more.as_object().expect("an object") {
            own[field] = value.clone();
        }
        let other =
            json!({"groupID": 8, "registered": true, "registrations": 9, "rekeysAccepted": 0});
        (
            pod.to_owned(),
            json!({"guard": {"installed": true}, "groups": [other, own]}),
        )
    }

    fn found(transport: &str, members: Vec<(String, Value)>) -> Vec<(String, String, String)> {
        let facts = Facts {
            resources: vec![group(transport)],
            members,
            ..Facts::default()
        };
        let findings = diagnose(&facts).into_iter();
        findings
            .map(|found| (found.object, found.reason, found.remedy))
            .collect()
    }

    // GET VPN row 227
    #[test]
    fn the_one_member_that_multicast_does_not_reach_is_named() {
        for deaf in [misses_the_last("web-2"), registers_instead("web-2")] {
            let members = vec![hears("web-0"), hears("web-1"), deaf, hears("web-3")];
            let named: Vec<_> = found("Multicast", members.clone())
                .into_iter()
                .map(|(object, reason, _)| (object, reason))
                .collect();
            assert_eq!(named, [("Pod/web-2".to_owned(), "NoMulticast".to_owned())]);
            assert_eq!(found("Unicast", members), []);
        }
        // One that joined after the last rekey has missed nothing.
        let new = json!({"registrations": 1, "registeredSeconds": 30.0, "rekeysAccepted": 0});
        let members = vec![hears("web-0"), member("web-1", &new)];
        assert_eq!(found("Multicast", members), []);
    }

    // GET VPN row 93
    #[test]
    fn multicast_is_kept_for_all_or_nearly_all_and_unicast_advised_for_none_or_few() {
        let names = ["a", "b", "c", "d", "e"];
        let with_deaf = |deaf: usize| {
            let members = names.iter().enumerate().map(|(index, name)| {
                if index < deaf {
                    misses_the_last(name)
                } else {
                    hears(name)
                }
            });
            found("Multicast", members.collect())
        };
        assert_eq!(with_deaf(0), [], "all are reached: nothing to change");
        let few_not = with_deaf(1);
        assert_eq!(few_not.len(), 1);
        assert!(few_not[0].2.contains("stay with multicast"), "{few_not:?}");
        let of_group = |findings: &[(String, String, String)]| {
            let mut about = findings.iter().filter(|found| found.0 == "GetVpnGroup/wan");
            about.next().map(|found| found.2.clone())
        };
        let advice = Some("set `rekey.transport: Unicast`".to_owned());
        assert_eq!(of_group(&with_deaf(4)), advice, "few are reached");
        let none = names.map(registers_instead).to_vec();
        assert_eq!(of_group(&found("Multicast", none)), advice);
    }
}
