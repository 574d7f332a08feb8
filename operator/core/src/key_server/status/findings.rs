//! What holds for a group, and why or why not.

use super::facts::{Facts, Host};
use crate::conditions::{Finding, Holds, PAUSED, READY, RECONCILING, STALLED};
use crate::key_server::advice::advice;
use crate::key_server::observed::{Observed, PodState, Problem};
use crate::key_server::rollout::Step;
use crate::rejection::{Reason, Rejection};
use crate::versions::{Told, ahead};

/// There are key servers and they can change keys.
pub const KEY_SERVERS_AVAILABLE: &str = "KeyServersAvailable";
/// The group's SecurityAssociations are its policy.
pub const POLICY_ACCEPTED: &str = "PolicyAccepted";
/// The key that signs rekeys is there.
pub const SIGNING_KEY_READY: &str = "SigningKeyReady";
/// Keys are changed in time.
pub const KEYS_CURRENT: &str = "KeysCurrent";

/// A member is newer than a key server that serves it.
pub const MEMBERS_AHEAD: &str = "MembersAhead";

const PROVISIONING: &str = "Provisioning";

/// Share of the Sender-IDs, in tenths, from which little is left.
const SENDER_SPACE_LOW_TENTHS: u64 = 9;

/// All findings, the summary first.
pub(super) fn all(facts: &Facts<'_>) -> Vec<Finding> {
    let parts = vec![
        key_servers_available(facts),
        policy_accepted(facts),
        signing_key_ready(facts),
        keys_current(facts),
    ];
    let stalled = stalled(facts);
    let paused = facts.paused.then(|| {
        Finding::new(
            PAUSED,
            true,
            "ReconcileAnnotation",
            "the annotation `getvpn.dev/reconcile: paused` is set; keys go on changing, nothing else does",
        )
    });
    let mut findings = vec![ready(facts, &parts, stalled.as_ref())];
    findings.extend(parts);
    findings.extend(reconciling(facts, stalled.is_some()));
    findings.extend(stalled);
    findings.extend(paused);
    findings.extend(members_ahead(facts));
    findings
}

fn ready(facts: &Facts<'_>, parts: &[Finding], stalled: Option<&Finding>) -> Finding {
    if facts.paused {
        return Finding::new(READY, Holds::Unknown, "Paused", "reconciliation is paused");
    }
    let fault = stalled
        .into_iter()
        .chain(parts.iter().filter(|part| part.holds == Holds::False))
        .next()
        .map(|fault| (Holds::False, fault))
        .or_else(|| {
            let unknown = parts.iter().find(|part| part.holds == Holds::Unknown);
            unknown.map(|part| (Holds::Unknown, part))
        });
    if let Some((holds, fault)) = fault {
        return Finding::new(READY, holds, fault.reason, fault.message.clone());
    }
    if facts.policy_in_force == Some(false) {
        return Finding::new(
            READY,
            false,
            PROVISIONING,
            "the key servers do not hold the group's policy yet",
        );
    }
    match &facts.host {
        Some(host) if ready_pods(host.observed) < host.replicas => Finding::new(
            READY,
            false,
            PROVISIONING,
            format!(
                "{} of {} key servers are ready",
                ready_pods(host.observed),
                host.replicas
            ),
        ),
        _ => Finding::new(READY, true, "Ready", "the group is served"),
    }
}

fn ready_pods(observed: &Observed) -> usize {
    let ready =
        |pod: &&crate::key_server::observed::PodView| pod.state == PodState::Ready && !pod.deleting;
    observed.pods.values().filter(ready).count()
}

fn key_servers_available(facts: &Facts<'_>) -> Finding {
    let say = |holds: Holds, reason, message: String| {
        Finding::new(KEY_SERVERS_AVAILABLE, holds, reason, message)
    };
    let Some(host) = &facts.host else {
        return say(
            Holds::False,
            "InvalidReference",
            "no key servers serve this group".to_owned(),
        );
    };
    let problem = host
        .observed
        .pods
        .values()
        .find_map(|pod| Some((pod.name.as_str(), pod.problem.as_ref()?)));
    let Some(cooperation) = host.observed.cooperation(host.group) else {
        return without_primary(facts, host, problem);
    };
    let voters = cooperation.voters().count();
    let reachable = cooperation.reachable_voters(None);
    let figures = format!(
        "{reachable} of {voters} voting key servers answer; {} is primary",
        cooperation.primary_name
    );
    // One key server alone is what was asked for.
    if voters > 1 && reachable.saturating_sub(1) <= voters / 2 && reachable < voters {
        return say(
            Holds::True,
            "QuorumAtRisk",
            format!("{figures}; the loss of another one stops rekeys"),
        );
    }
    say(Holds::True, "QuorumHealthy", figures)
}

fn without_primary(
    facts: &Facts<'_>,
    host: &Host<'_>,
    problem: Option<(&str, &Problem)>,
) -> Finding {
    let say = |holds: Holds, reason, message: String| {
        Finding::new(KEY_SERVERS_AVAILABLE, holds, reason, message)
    };
    match problem {
        Some((pod, Problem::WaitingForStorage(message))) => {
            return say(
                Holds::False,
                "WaitingForStorage",
                format!("{pod}: {message}"),
            );
        }
        Some((pod, Problem::Unschedulable(message))) => {
            return say(Holds::False, "Unschedulable", format!("{pod}: {message}"));
        }
        Some((_, Problem::Container(_))) | None => {}
    }
    let trouble = match problem {
        Some((pod, Problem::Container(message))) => format!("; {pod}: {message}"),
        _ => String::new(),
    };
    let formed = facts
        .previous
        .and_then(|previous| previous.key_servers.as_ref())
        .is_some_and(|key_servers| key_servers.term.is_some());
    if formed || host.observed.any_formed() {
        return say(
            Holds::False,
            "QuorumLost",
            format!(
                "no key server is primary{trouble}; members go on with the keys they hold, new ones cannot register"
            ),
        );
    }
    say(
        Holds::Unknown,
        PROVISIONING,
        format!("the key servers are starting{trouble}"),
    )
}

fn policy_accepted(facts: &Facts<'_>) -> Finding {
    if let Some(first) = facts.refusals.first() {
        return Finding::new(POLICY_ACCEPTED, false, reason(first), words(facts.refusals));
    }
    if let Some(message) = &facts.policy_refused {
        return Finding::new(POLICY_ACCEPTED, false, "PolicyRejected", message.clone());
    }
    if let Some(first) = facts.rejections.first() {
        let message = format!("served without: {}", words(facts.rejections));
        return Finding::new(POLICY_ACCEPTED, false, reason(first), message);
    }
    let warnings = facts.warnings.iter();
    let of_objects = warnings.map(|(object, message)| format!("`{object}`: {message}"));
    let message = facts.policy.as_ref().map_or_else(String::new, |policy| {
        let words = std::iter::once(format!("revision {}", policy.revision))
            .chain(advice(facts.group))
            .chain(of_objects);
        words.collect::<Vec<_>>().join("; ")
    });
    Finding::new(POLICY_ACCEPTED, true, "Accepted", message)
}

/// The word of the group's condition for a refused object.
fn reason(rejection: &Rejection) -> &'static str {
    match rejection.reason {
        Reason::LimitExceeded => "TooManyPermitRules",
        other => other.as_str(),
    }
}

/// At most three of them in words.
fn words(rejections: &[Rejection]) -> String {
    const MOST: usize = 3;
    let mut words: Vec<String> = rejections
        .iter()
        .take(MOST)
        .map(|rejection| {
            if rejection.kind == "GetVpnGroup" {
                format!("{}: {}", rejection.field, rejection.message)
            } else {
                format!(
                    "`{}`: {}: {}",
                    rejection.name, rejection.field, rejection.message
                )
            }
        })
        .collect();
    if let Some(more) = rejections.len().checked_sub(MOST).filter(|more| *more > 0) {
        words.push(format!("and {more} more"));
    }
    words.join("; ")
}

fn signing_key_ready(facts: &Facts<'_>) -> Finding {
    if let Some((reason, message)) = &facts.signing_key_fault {
        return Finding::new(SIGNING_KEY_READY, false, reason, message.clone());
    }
    let view = facts.key_server_view();
    if let Some(key) = view.and_then(|view| view.signing_key.as_ref()) {
        let message = format!("{}, {}", key.algorithm, key.fingerprint);
        return Finding::new(SIGNING_KEY_READY, true, "Synchronized", message);
    }
    let known = facts
        .previous
        .and_then(|previous| previous.signing_key.as_ref());
    match known {
        // Nobody could be asked; a key does not go away.
        Some(key) if view.is_none() => Finding::new(
            SIGNING_KEY_READY,
            true,
            "Synchronized",
            key.fingerprint.clone(),
        ),
        _ => Finding::new(
            SIGNING_KEY_READY,
            Holds::Unknown,
            "Generating",
            "the key servers make it with the first policy",
        ),
    }
}

fn keys_current(facts: &Facts<'_>) -> Finding {
    let say =
        |holds: Holds, reason, message: &str| Finding::new(KEYS_CURRENT, holds, reason, message);
    let Some(view) = facts.key_server_view() else {
        return say(
            Holds::Unknown,
            PROVISIONING,
            "no primary key server could be asked",
        );
    };
    let overdue = view.traffic_keys.iter().any(|key| {
        key.state == keyserver_api::status::TrafficKeyState::Current && key.lifetime_left_ms == 0
    });
    if overdue {
        return say(
            Holds::False,
            "RekeyOverdue",
            "a traffic key is past its lifetime",
        );
    }
    let used = view.sender_ids_used.saturating_mul(10);
    let limit = view
        .sender_ids_capacity
        .saturating_mul(SENDER_SPACE_LOW_TENTHS);
    if view.sender_ids_capacity > 0 && used >= limit {
        return say(
            Holds::True,
            "SenderSpaceLow",
            "nine tenths of the Sender-IDs are used; a new epoch begins when they are all used",
        );
    }
    match &view.last_rekey {
        Some(last) if !last.complete => {
            say(Holds::True, "RekeyInProgress", "a rekey is on its way")
        }
        Some(last)
            if last
                .acknowledged
                .is_some_and(|acknowledged| acknowledged < last.addressed) =>
        {
            say(
                Holds::True,
                "AcknowledgementsMissing",
                "not every member acknowledged the last rekey; those that did not register again in time",
            )
        }
        _ => say(Holds::True, "Current", "keys change as planned"),
    }
}

/// Key servers must know whatever a member may send.
fn members_ahead(facts: &Facts<'_>) -> Option<Finding> {
    let members = facts
        .members
        .versions
        .iter()
        .map(|(name, version)| Told { name, version });
    let servers = facts.host.as_ref()?.observed.servers.values();
    let servers = servers.map(|server| Told {
        name: &server.name,
        version: &server.version,
    });
    let message = ahead(members, servers)?;
    Some(Finding::new(
        MEMBERS_AHEAD,
        true,
        "NewerThanKeyServers",
        message,
    ))
}

fn stalled(facts: &Facts<'_>) -> Option<Finding> {
    let stalled = |reason, message: String| Some(Finding::new(STALLED, true, reason, message));
    if let Some(failure) = &facts.failure {
        return stalled(failure.reason, failure.message.clone());
    }
    if let Some(message) = &facts.policy_refused {
        return stalled("PolicyRejected", message.clone());
    }
    let reference = facts.refusals.iter().find(|refusal| {
        matches!(
            refusal.reason,
            Reason::GroupNotFound | Reason::InvalidReference
        )
    });
    reference.and_then(|refusal| {
        stalled(
            "InvalidReference",
            format!("{}: {}", refusal.field, refusal.message),
        )
    })
}

fn reconciling(facts: &Facts<'_>, stalled: bool) -> Option<Finding> {
    if facts.paused || stalled {
        return None;
    }
    let working = |message: String| Some(Finding::new(RECONCILING, true, PROVISIONING, message));
    if let Some(message) = &facts.retried {
        return working(message.clone());
    }
    let host = facts.host.as_ref()?;
    match host.step {
        Some(Step::Wait(waiting)) => return working(format!("waiting for {waiting}")),
        Some(Step::HandOver(ordinal)) => {
            return working(format!("key server {ordinal} hands leadership on"));
        }
        Some(Step::Remove(ordinal)) => {
            return working(format!("key server {ordinal} leaves the cooperation"));
        }
        Some(Step::Replace { ordinal, .. }) => {
            return working(format!("key server {ordinal} is replaced"));
        }
        Some(Step::Rest) | None => {}
    }
    if let Some(claim) = host.growing.first() {
        return working(format!("volume `{claim}` is growing"));
    }
    (facts.policy.is_some() && facts.policy_in_force == Some(false))
        .then(|| working("the policy is on its way to the key servers".to_owned()))
        .flatten()
}
