//! What is wrong with a group, and what to do about it.
//!
//! Pure: it judges what was gathered. The most urgent finding comes first.

mod multicast;

use serde::Serialize;
use serde_json::Value;

use super::resources::condition;

/// How urgent a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Severity {
    /// Traffic is lost, or will be soon.
    Error,
    /// Something is not as it should be.
    Warning,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How urgent.
    pub severity: Severity,
    /// Kind and name of the object.
    pub object: String,
    /// A stable word for the cause.
    pub reason: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// What is known of a namespace.
#[derive(Debug, Default)]
pub struct Facts {
    /// GetVpnGroups, SecurityAssociations and GroupMembers, as JSON.
    pub resources: Vec<Value>,
    /// Pods of key servers and pods with a sidecar, as JSON.
    pub pods: Vec<Value>,
    /// Rows of key servers, as [`super::resources::key_server_rows`] gives them.
    pub key_servers: Vec<Value>,
    /// States of members by pod, as their sidecars tell.
    pub members: Vec<(String, Value)>,
}

/// Drops of the packet path that point at something to repair, and what that is.
const TELLING_DROPS: &[(&str, &str)] = &[
    (
        "outside_time_window",
        "the sender's time and this member's differ, or the network delays packets: see the runbook `pseudotime-drift`",
    ),
    (
        "replayed",
        "packets arrive twice: see the runbook `replay-drops-high`",
    ),
    (
        "authentication_failed",
        "somebody sends under another key with a known SPI: compare `kubectl getvpn sa` with the sender's keys",
    ),
    (
        "counter_exhausted",
        "the member sent more packets than one key allows: shorten `traffic.lifetimeSeconds` or set `traffic.lifetimeKilobytes`",
    ),
];

/// All findings, the most urgent first.
#[must_use]
pub fn diagnose(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for object in &facts.resources {
        resource(object, &mut findings);
    }
    for server in &facts.key_servers {
        key_server(server, &mut findings);
    }
    for pod in &facts.pods {
        waiting(pod, &mut findings);
    }
    for (pod, state) in &facts.members {
        member(pod, state, &mut findings);
    }
    multicast::diagnose(facts, &mut findings);
    findings.sort();
    findings.dedup();
    findings
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn named(object: &Value) -> String {
    format!(
        "{}/{}",
        text(&object["kind"]),
        text(&object["metadata"]["name"])
    )
}

/// Conditions whose `False`, or whose presence, is bad.
fn resource(object: &Value, findings: &mut Vec<Finding>) {
    let conditions = object["status"]["conditions"].as_array();
    let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
    if conditions.is_none_or(Vec::is_empty) {
        findings.push(Finding {
            severity: Severity::Warning,
            object: named(object),
            reason: "NotObserved".to_owned(),
            message: "the operator has not looked at it yet".to_owned(),
            remedy: "does the operator run, and does it serve this namespace? `kubectl get pods -A -l app.kubernetes.io/component=operator`".to_owned(),
        });
        return;
    }
    for one in conditions.into_iter().flatten() {
        let (aspect, status) = (text(&one["type"]), text(&one["status"]));
        let positive = matches!(
            aspect.as_str(),
            "Ready"
                | "KeyServersAvailable"
                | "PolicyAccepted"
                | "SigningKeyReady"
                | "KeysCurrent"
                | "Accepted"
                | "InjectionAllowed"
                | "Registered"
                | "PolicyInSync"
                | "VersionCurrent"
        );
        // `Ready` repeats what another condition says with the cause.
        let summary = aspect == "Ready" && conditions.is_some_and(|all| all.len() > 1);
        let bad = if positive {
            status == "False" && !summary
        } else {
            status == "True" && !matches!(aspect.as_str(), "Reconciling" | "QuorumHealthy")
        };
        if bad {
            findings.push(Finding {
                severity: if matches!(
                    aspect.as_str(),
                    "KeysCurrent" | "KeyServersAvailable" | "PolicyAccepted" | "Accepted"
                ) {
                    Severity::Error
                } else {
                    Severity::Warning
                },
                object: named(object),
                reason: text(&one["reason"]),
                message: format!("{aspect} is {status}: {}", text(&one["message"])),
                remedy: format!(
                    "`kubectl describe {} {name}` shows its Events",
                    kind.to_lowercase()
                ),
            });
        }
    }
    if kind == "GetVpnGroup" && condition(object, "Ready") == "Unknown" {
        findings.push(Finding {
            severity: Severity::Warning,
            object: named(object),
            reason: "NotReadyYet".to_owned(),
            message: "its condition Ready is Unknown".to_owned(),
            remedy: "wait, or look at its key servers: `kubectl getvpn keyservers`".to_owned(),
        });
    }
}

fn key_server(row: &Value, findings: &mut Vec<Finding>) {
    let error = text(&row["error"]);
    let object = format!("Pod/{}", text(&row["name"]));
    if !error.is_empty() {
        findings.push(Finding {
            severity: Severity::Error,
            object: if row["name"].is_null() {
                format!("GetVpnGroup/{}", text(&row["group"]))
            } else {
                object
            },
            reason: "NoAnswer".to_owned(),
            message: error,
            remedy: "`kubectl getvpn logs GROUP` shows what its key servers say".to_owned(),
        });
    } else if row["role"] == "NoQuorum" {
        findings.push(Finding {
            severity: Severity::Error,
            object,
            reason: "NoQuorum".to_owned(),
            message: "it reaches no majority of the key servers, and mints nothing".to_owned(),
            remedy: "see the runbook `no-primary`".to_owned(),
        });
    } else if row["reachable"] == false {
        findings.push(Finding {
            severity: Severity::Warning,
            object,
            reason: "NotReached".to_owned(),
            message: "the primary does not reach it".to_owned(),
            remedy: "is TCP 9443 allowed between key servers? See the runbook `quorum-at-risk`"
                .to_owned(),
        });
    }
}

/// A pod that waits says so in its containers' states, and before it has any in its conditions.
fn waiting(pod: &Value, findings: &mut Vec<Finding>) {
    let object = format!("Pod/{}", text(&pod["metadata"]["name"]));
    let status = &pod["status"];
    let states = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .filter_map(|list| status[list].as_array())
        .flatten();
    for container in states {
        let reason = text(&container["state"]["waiting"]["reason"]);
        if !reason.is_empty() && !matches!(reason.as_str(), "PodInitializing" | "ContainerCreating")
        {
            findings.push(Finding {
                severity: Severity::Error,
                object: object.clone(),
                message: format!(
                    "its container {} waits: {}",
                    text(&container["name"]),
                    text(&container["state"]["waiting"]["message"])
                ),
                reason,
                remedy: format!(
                    "`kubectl logs {} -c {} --previous`",
                    text(&pod["metadata"]["name"]),
                    text(&container["name"])
                ),
            });
        }
    }
    for one in status["conditions"].as_array().into_iter().flatten() {
        if one["type"] == "PodScheduled" && one["status"] == "False" {
            findings.push(Finding {
                severity: Severity::Error,
                object: object.clone(),
                reason: text(&one["reason"]),
                message: text(&one["message"]),
                remedy: "give it a place: nodes, volumes, taints, affinity".to_owned(),
            });
        }
    }
}

fn member(pod: &str, state: &Value, findings: &mut Vec<Finding>) {
    let object = format!("Pod/{pod}");
    if state["guard"]["installed"] == false {
        findings.push(Finding {
            severity: Severity::Error,
            object: object.clone(),
            reason: "NoGuard".to_owned(),
            message: "its drop rules are not in the kernel".to_owned(),
            remedy: "restart the pod; keep the log of its sidecar".to_owned(),
        });
    }
    for group in state["groups"].as_array().into_iter().flatten() {
        if group["registered"] == false {
            let last = text(&group["lastError"]);
            findings.push(Finding {
                severity: Severity::Error,
                object: object.clone(),
                reason: "NotRegistered".to_owned(),
                message: format!(
                    "it has no keys of group number {}: {}",
                    group["groupID"],
                    if last.is_empty() {
                        "no attempt has ended yet"
                    } else {
                        &last
                    }
                ),
                remedy: "see the runbook `members-unregistered`".to_owned(),
            });
        }
    }
    for (reason, remedy) in TELLING_DROPS {
        let count = state["drops"][*reason].as_u64().unwrap_or_default();
        if count > 0 {
            findings.push(Finding {
                severity: Severity::Warning,
                object: object.clone(),
                reason: (*reason).to_owned(),
                message: format!("{count} packets were dropped for `{reason}` since it started"),
                remedy: (*remedy).to_owned(),
            });
        }
    }
    let clear = state["guard"]["drops"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(rule, _)| rule.starts_with("clear_"));
    for (rule, count) in clear {
        if count.as_u64().unwrap_or_default() > 0 {
            findings.push(Finding {
                severity: Severity::Warning,
                object: object.clone(),
                reason: rule.clone(),
                message: format!("{count} protected packets in clear were dropped by its kernel"),
                remedy: "see the runbook `clear-traffic`".to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn group(conditions: &Value) -> Value {
        json!({"kind": "GetVpnGroup", "metadata": {"name": "wan"}, "status": {"conditions": conditions}})
    }

    fn reasons(facts: &Facts) -> Vec<String> {
        diagnose(facts).into_iter().map(|it| it.reason).collect()
    }

    #[test]
    fn a_healthy_group_has_no_findings() {
        let facts = Facts {
            resources: vec![group(&json!([
                {"type": "Ready", "status": "True", "reason": "Ready", "message": ""},
                {"type": "QuorumHealthy", "status": "True", "reason": "QuorumHealthy", "message": ""},
            ]))],
            key_servers: vec![json!({"name": "wan-ks-0", "role": "Primary", "reachable": true})],
            members: vec![(
                "web-0".to_owned(),
                json!({"guard": {"installed": true, "drops": {"clear_inbound": 0}}, "drops": {}, "groups": [{"groupID": 1, "registered": true}]}),
            )],
            pods: vec![
                json!({"metadata": {"name": "web-0"}, "status": {"conditions": [{"type": "PodScheduled", "status": "True"}]}}),
            ],
        };
        assert_eq!(diagnose(&facts), Vec::new());
    }

    #[test]
    fn the_cause_is_named_once_and_errors_come_before_warnings() {
        let facts = Facts {
            resources: vec![group(&json!([
                {"type": "Ready", "status": "False", "reason": "RekeyOverdue", "message": "late"},
                {"type": "KeysCurrent", "status": "False", "reason": "RekeyOverdue", "message": "late"},
                {"type": "SenderSpaceLow", "status": "True", "reason": "SenderSpaceLow", "message": "low"},
            ]))],
            ..Facts::default()
        };
        assert_eq!(reasons(&facts), ["RekeyOverdue", "SenderSpaceLow"]);
    }

    #[test]
    fn a_member_without_keys_and_one_that_meets_clear_traffic_are_found_with_their_runbooks() {
        let facts = Facts {
            members: vec![
                (
                    "a".to_owned(),
                    json!({"guard": {"installed": true}, "groups": [{"groupID": 7, "registered": false, "lastError": "no answer"}]}),
                ),
                (
                    "b".to_owned(),
                    json!({"guard": {"installed": true, "drops": {"clear_inbound": 3}}, "groups": []}),
                ),
            ],
            ..Facts::default()
        };
        let findings = diagnose(&facts);
        assert_eq!(reasons(&facts), ["NotRegistered", "clear_inbound"]);
        assert!(findings[0].message.contains("no answer"), "{findings:?}");
        assert!(findings[1].remedy.contains("clear-traffic"), "{findings:?}");
    }

    #[test]
    fn a_pod_without_a_place_and_one_that_crashes_are_errors() {
        let facts = Facts {
            pods: vec![
                json!({"metadata": {"name": "wan-ks-1"}, "status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no nodes"}]}}),
                json!({"metadata": {"name": "wan-ks-0"}, "status": {"containerStatuses": [{"name": "key-server", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}]}}),
            ],
            ..Facts::default()
        };
        assert_eq!(reasons(&facts), ["CrashLoopBackOff", "Unschedulable"]);
    }

    #[test]
    fn a_key_server_without_quorum_or_answer_is_an_error() {
        let facts = Facts {
            key_servers: vec![
                json!({"name": "wan-ks-0", "role": "NoQuorum"}),
                json!({"name": "wan-ks-1", "role": "NoAnswer", "error": "timed out"}),
            ],
            ..Facts::default()
        };
        assert_eq!(reasons(&facts), ["NoQuorum", "NoAnswer"]);
    }
}
