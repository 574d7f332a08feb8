//! The status of a GroupMember.

use std::collections::BTreeMap;

use crds::v1alpha1::{
    FailureMode, GetVpnGroup, GroupMember, GroupMemberStatus, MemberDirection, PodsStatus,
    UnhealthyPod,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use keyserver_api::status::MemberRow;
use operator_api::enrolment::MemberReport;

use super::advice::advice;
use super::pods::MemberPod;
use crate::conditions::{Finding, Holds, READY, RECONCILING, STALLED, conditions, whole_seconds};
use crate::rejection::Rejection;
use crate::versions::{self, Told};

/// Pods may take part.
pub const INJECTION_ALLOWED: &str = "InjectionAllowed";
/// All pods hold keys.
pub const REGISTERED: &str = "Registered";
/// All pods hold the present policy.
pub const POLICY_IN_SYNC: &str = "PolicyInSync";
/// All pods have the present sidecar.
pub const VERSION_CURRENT: &str = "VersionCurrent";
/// A pod's sidecar does not know something that is asked of it.
pub const SIDECAR_TOO_OLD: &str = "SidecarTooOld";

/// Examples in a status.
const MOST_EXAMPLES: usize = 10;

/// Everything known about a GroupMember.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The GroupMember.
    pub member: &'a GroupMember,
    /// The time.
    pub now: Time,
    /// Why it was not accepted.
    pub rejection: Option<&'a Rejection>,
    /// Its group, if there is one.
    pub group: Option<&'a GetVpnGroup>,
    /// Its pods, by name.
    pub pods: &'a [MemberPod],
    /// Members that are registered with the group's key servers, by host name in lower case; `None` while nobody could
    /// ask.
    pub registered: Option<&'a BTreeMap<String, MemberRow>>,
    /// What pods said, by `metadata.uid`.
    pub reports: &'a BTreeMap<String, MemberReport>,
    /// Image of the sidecar that new pods get.
    pub sidecar_image: &'a str,
    /// Why pods were not given a sidecar, as the injector last saw it: reason and message.
    pub injection: Option<(&'static str, String)>,
}

impl Facts<'_> {
    /// Number of its group.
    fn group_id(&self) -> Option<u32> {
        self.group
            .and_then(|group| u32::try_from(group.spec.group_id).ok())
    }
}

/// One pod, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Judged<'a> {
    pod: &'a MemberPod,
    registered: bool,
    stale: bool,
    outdated: bool,
    fail_closed_active: bool,
    /// Why it is not in order.
    reason: Option<String>,
}

/// The status.
#[must_use]
pub fn status(facts: &Facts<'_>) -> GroupMemberStatus {
    let previous = facts.member.status.clone().unwrap_or_default();
    let generation = facts.member.metadata.generation.unwrap_or(0);
    let now = whole_seconds(&facts.now);
    let judged: Vec<Judged<'_>> = facts.pods.iter().map(|pod| judge(facts, pod)).collect();
    let count = |wanted: fn(&Judged<'_>) -> bool| {
        i32::try_from(judged.iter().filter(|pod| wanted(pod)).count()).unwrap_or(i32::MAX)
    };
    let pods = PodsStatus {
        injected: count(|_| true),
        registered: count(|pod| pod.registered),
        outdated: count(|pod| pod.outdated),
        fail_closed_active: count(|pod| pod.fail_closed_active),
        summary: format!("{}/{}", count(|pod| pod.registered), count(|_| true)),
    };
    let findings = findings(facts, &judged);
    GroupMemberStatus {
        observed_generation: generation,
        conditions: conditions(&findings, &previous.conditions, generation, &now),
        unhealthy: unhealthy(&judged, &previous.unhealthy, &now),
        pods: Some(pods),
    }
}

fn judge<'a>(facts: &Facts<'_>, pod: &'a MemberPod) -> Judged<'a> {
    let namespace = facts
        .member
        .metadata
        .namespace
        .as_deref()
        .unwrap_or_default();
    let identity = operator_api::pod::identity(&pod.name, namespace).to_ascii_lowercase();
    let report = facts.reports.get(&pod.uid);
    let in_group = report.and_then(|report| {
        let mut groups = report.groups.iter();
        groups.find(|group| Some(group.group_id) == facts.group_id())
    });
    let row = facts.registered.and_then(|rows| rows.get(&identity));
    // The key servers know best who is registered, and the probe whether the keys are there. What a member said of itself
    // counts while no key server can be asked: another replica of the operator may have heard something newer.
    let known = match facts.registered {
        Some(_) => row.is_some(),
        None => in_group.is_none_or(|group| group.registered),
    };
    let registered = known && pod.ready;
    let fail_closed = facts.member.spec.failure_mode == FailureMode::FailClosed;
    let reason = (!registered).then(|| {
        let said = in_group
            .map(|group| group.reason.clone())
            .filter(|reason| !reason.is_empty());
        said.or_else(|| pod.waiting.clone()).unwrap_or_else(|| {
            if pod.sidecar_image.is_none() {
                "NoSidecar".to_owned()
            } else {
                "NotRegistered".to_owned()
            }
        })
    });
    let stale = row.is_some_and(|row| row.missed_rekeys > 0);
    Judged {
        pod,
        registered,
        stale,
        outdated: pod
            .sidecar_image
            .as_deref()
            .is_some_and(|image| image != facts.sidecar_image),
        fail_closed_active: !registered
            && report.map_or(fail_closed, |report| report.fail_closed_active),
        reason: reason.or_else(|| stale.then(|| "StalePolicy".to_owned())),
    }
}

fn findings(facts: &Facts<'_>, pods: &[Judged<'_>]) -> Vec<Finding> {
    let parts = [
        injection(facts),
        registration(pods),
        policy(facts, pods),
        version(pods),
    ];
    let stalled = facts.rejection.map(|rejection| {
        Finding::new(
            STALLED,
            true,
            "InvalidReference",
            format!("{}: {}", rejection.field, rejection.message),
        )
    });
    // An older sidecar works; it is shown and waits for its pod's next start.
    let fault = stalled.iter().chain(&parts).find(|part| {
        (part.holds == Holds::False && part.kind != VERSION_CURRENT) || part.kind == STALLED
    });
    let ready = match fault {
        Some(fault) => Finding::new(READY, false, fault.reason, fault.message.clone()),
        None => {
            let mut words = vec!["every pod is in order".to_owned()];
            words.extend(advice(facts.member));
            Finding::new(READY, true, "Ready", words.join("; "))
        }
    };
    let reconciling = (stalled.is_none() && ready.holds == Holds::False)
        .then(|| Finding::new(RECONCILING, true, "Provisioning", ready.message.clone()));
    let mut findings = vec![ready];
    findings.extend(parts);
    findings.extend(reconciling);
    findings.extend(stalled);
    findings.extend(too_old(facts));
    findings
}

fn injection(facts: &Facts<'_>) -> Finding {
    match &facts.injection {
        Some((reason, message)) => Finding::new(INJECTION_ALLOWED, false, reason, message.clone()),
        None => Finding::new(
            INJECTION_ALLOWED,
            true,
            "Allowed",
            "nothing stands against it",
        ),
    }
}

fn registration(pods: &[Judged<'_>]) -> Finding {
    let missing: Vec<&Judged<'_>> = pods.iter().filter(|pod| !pod.registered).collect();
    if pods.is_empty() {
        let message = "no pod has a sidecar for this GroupMember";
        return Finding::new(REGISTERED, true, "NoPods", message);
    }
    if missing.is_empty() {
        return Finding::new(REGISTERED, true, "AllRegistered", "every pod is registered");
    }
    let refused = missing.iter().any(|pod| {
        pod.reason
            .as_deref()
            .is_some_and(|reason| reason.starts_with("Authorization"))
    });
    let reason = if refused {
        "AuthorizationFailed"
    } else {
        "SomeUnregistered"
    };
    let message = format!(
        "{} of {} pods are not registered",
        missing.len(),
        pods.len()
    );
    Finding::new(REGISTERED, false, reason, message)
}

fn policy(facts: &Facts<'_>, pods: &[Judged<'_>]) -> Finding {
    let stale = pods.iter().filter(|pod| pod.stale).count();
    if stale > 0 {
        let message = format!("{stale} pods did not acknowledge the last rekey");
        return Finding::new(POLICY_IN_SYNC, false, "StalePolicy", message);
    }
    match facts.member.spec.direction {
        MemberDirection::InboundOnly | MemberDirection::InboundOptional => Finding::new(
            POLICY_IN_SYNC,
            true,
            "PassiveMode",
            "`direction` lets some traffic go or come in clear",
        ),
        MemberDirection::Inherit | MemberDirection::Bidirectional => Finding::new(
            POLICY_IN_SYNC,
            true,
            "InSync",
            "pods hold the group's policy",
        ),
    }
}

fn version(pods: &[Judged<'_>]) -> Finding {
    match pods.iter().filter(|pod| pod.outdated).count() {
        0 => Finding::new(
            VERSION_CURRENT,
            true,
            "Current",
            "every sidecar is of this version",
        ),
        outdated => Finding::new(
            VERSION_CURRENT,
            false,
            "RestartRequired",
            format!(
                "{outdated} pods have another sidecar image; they get this one when they are restarted"
            ),
        ),
    }
}

/// Pods whose sidecar does not know what the group or the GroupMember asks for.
fn too_old(facts: &Facts<'_>) -> Option<Finding> {
    let told = facts.pods.iter().filter_map(|pod| {
        let report = facts.reports.get(&pod.uid)?;
        Some(Told {
            name: &pod.name,
            version: &report.version,
        })
    });
    let message = versions::too_old(told, facts.group?, facts.member)?;
    Some(Finding::new(
        SIDECAR_TOO_OLD,
        true,
        "FeatureNotKnown",
        message,
    ))
}

/// The first few that are not in order, with the time since when.
fn unhealthy(pods: &[Judged<'_>], previous: &[UnhealthyPod], now: &Time) -> Vec<UnhealthyPod> {
    let faulty = pods
        .iter()
        .filter_map(|pod| Some((&pod.pod.name, pod.reason.as_ref()?)));
    faulty
        .take(MOST_EXAMPLES)
        .map(|(name, reason)| {
            let known = previous
                .iter()
                .find(|known| known.pod_name == *name && known.reason == *reason);
            UnhealthyPod {
                pod_name: name.clone(),
                reason: reason.clone(),
                since_time: known
                    .map_or_else(|| Some(now.clone()), |known| known.since_time.clone()),
            }
        })
        .collect()
}
