//! The status of a group: what holds, and figures about key servers, members, policy and keys.

mod facts;
mod findings;

use crds::v1alpha1::{
    GetVpnGroupStatus, KeyServerPeer, KeyServerRole, KeyServerState, KeyServersStatus, KeysStatus,
    MembersStatus, Ordinal, PolicyStatus, SenderIdsStatus, SigningKeyStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use keyserver_api::status::{GroupStatus, ServerRole};

use super::observed::PodState;
use crate::conditions::{conditions, time_from_millis, whole_seconds};
use crate::labels;
use crate::policy::Summary;

pub use facts::{Facts, Failure, Host, Members};
pub use findings::{
    KEY_SERVERS_AVAILABLE, KEYS_CURRENT, MEMBERS_AHEAD, POLICY_ACCEPTED, SIGNING_KEY_READY,
};

/// How far the planned time of the next rekey may wander, with the clocks that tell it, before the status changes.
const NEXT_REKEY_TOLERANCE_SECONDS: i64 = 15;

/// The status.
#[must_use]
pub fn status(facts: &Facts<'_>) -> GetVpnGroupStatus {
    let previous = facts.previous.cloned().unwrap_or_default();
    let generation = facts.group.metadata.generation.unwrap_or(0);
    let now = whole_seconds(&facts.now);
    let findings = findings::all(facts);
    let key_server_view = facts.key_server_view();
    GetVpnGroupStatus {
        observed_generation: generation,
        conditions: conditions(&findings, &previous.conditions, generation, &now),
        key_servers: key_servers(facts, previous.key_servers.as_ref()),
        members: Some(members(
            &facts.members,
            previous.members.as_ref(),
            key_server_view,
        )),
        sender_ids: match key_server_view {
            Some(view) => Some(SenderIdsStatus {
                used: large(view.sender_ids_used),
                capacity: large(view.sender_ids_capacity),
            }),
            None => previous.sender_ids,
        },
        policy: facts.policy.as_ref().map(policy).or(previous.policy),
        keys: match key_server_view {
            Some(view) => Some(keys(view, previous.keys.as_ref(), &now)),
            None => previous.keys,
        },
        signing_key: match key_server_view.and_then(|view| view.signing_key.as_ref()) {
            Some(key) => Some(signing_key(key, previous.signing_key.as_ref(), &now)),
            None => previous.signing_key,
        },
        last_handled_rekey_request: facts
            .handled_rekey_request
            .clone()
            .or(previous.last_handled_rekey_request),
    }
}

fn key_servers(facts: &Facts<'_>, previous: Option<&KeyServersStatus>) -> Option<KeyServersStatus> {
    let host = facts.host.as_ref()?;
    let observed = host.observed;
    let cooperation = observed.cooperation(host.group);
    let belonging = observed
        .pods
        .iter()
        .filter(|(ordinal, _)| **ordinal < crate::key_server::inputs::MOST_REPLICAS);
    let peers: Vec<KeyServerPeer> = belonging
        .map(|(ordinal, pod)| {
            let member = cooperation.as_ref().and_then(|cooperation| {
                let mut members = cooperation.members.iter();
                members.find(|member| member.ordinal == Some(*ordinal))
            });
            let answer = observed.servers.get(ordinal);
            let role = match (answer.map(|answer| answer.role), member) {
                (Some(ServerRole::Primary), _) => KeyServerRole::Primary,
                (_, Some(member)) if member.voter => KeyServerRole::Secondary,
                (_, Some(_)) => KeyServerRole::Learner,
                (_, None) => last_role(previous, *ordinal),
            };
            KeyServerPeer {
                ordinal: Ordinal(small(*ordinal)),
                role,
                state: match (answer, pod.state) {
                    (Some(_), _) => KeyServerState::Up,
                    (None, PodState::NotRunning) => KeyServerState::Down,
                    (None, _) if pod.deleting => KeyServerState::Down,
                    (None, _) => KeyServerState::Unknown,
                },
                version: answer.map(|answer| answer.version.clone()),
                registered: facts
                    .members
                    .by_key_server
                    .get(&pod.name)
                    .map_or(0, |count| small(*count)),
            }
        })
        .collect();
    let ready = observed
        .pods
        .values()
        .filter(|pod| pod.state == PodState::Ready && !pod.deleting)
        .count();
    Some(KeyServersStatus {
        replicas: small(observed.pods.len().min(8)),
        ready: small(ready.min(8)),
        summary: format!("{ready}/{}", host.replicas),
        selector: format!(
            "{}={},{}={}",
            labels::GROUP,
            host.group,
            labels::ROLE,
            labels::KEY_SERVER
        ),
        primary: cooperation
            .as_ref()
            .map(|cooperation| cooperation.primary_name.clone()),
        term: cooperation
            .map(|cooperation| large(cooperation.term))
            .or_else(|| previous.and_then(|previous| previous.term)),
        peers,
    })
}

/// What a key server was when somebody last knew.
fn last_role(previous: Option<&KeyServersStatus>, ordinal: usize) -> KeyServerRole {
    let before = previous.and_then(|previous| {
        let mut peers = previous.peers.iter();
        peers.find(|peer| peer.ordinal.0 == small(ordinal))
    });
    match before.map(|peer| peer.role) {
        // Nobody knows of a primary now.
        Some(KeyServerRole::Primary | KeyServerRole::Secondary) => KeyServerRole::Secondary,
        Some(KeyServerRole::Learner) | None => KeyServerRole::Learner,
    }
}

fn members(
    members: &Members,
    previous: Option<&MembersStatus>,
    view: Option<&GroupStatus>,
) -> MembersStatus {
    let registered = match (view, previous) {
        (Some(view), _) => small(view.members),
        (None, Some(previous)) => previous.registered,
        (None, None) => 0,
    };
    let expected = small(members.expected).max(registered);
    MembersStatus {
        registered,
        expected,
        outdated: small(members.outdated),
        fail_closed_active: small(members.fail_closed_active),
        summary: format!("{registered}/{expected}"),
    }
}

fn policy(summary: &Summary) -> PolicyStatus {
    PolicyStatus {
        permit_rules: small(summary.permit_rules),
        security_associations: small(summary.security_associations),
        revision: summary.revision.clone(),
        implicit_rules: small(summary.implicit_rules),
    }
}

fn keys(view: &GroupStatus, previous: Option<&KeysStatus>, now: &Time) -> KeysStatus {
    let last = view.last_rekey.as_ref();
    let next = view.next_rekey_ms.and_then(|milliseconds| {
        let now = u64::try_from(now.0.as_millisecond()).ok()?;
        time_from_millis(now.saturating_add(milliseconds))
    });
    let before = previous.and_then(|previous| previous.next_rekey_time.clone());
    let next_rekey_time = match (next, before) {
        (Some(next), Some(before))
            if (next.0.as_second() - before.0.as_second()).abs()
                <= NEXT_REKEY_TOLERANCE_SECONDS =>
        {
            Some(before)
        }
        (next, _) => next,
    };
    KeysStatus {
        epoch: large(view.generation),
        last_rekey_time: last.and_then(|last| time_from_millis(last.committed_unix_ms)),
        next_rekey_time,
        last_rekey_acknowledged: last.and_then(|last| {
            let acknowledged = last.acknowledged?;
            // While it is under way the figure changes all the time; it is written once it is final.
            last.complete
                .then(|| format!("{acknowledged}/{}", last.addressed))
        }),
    }
}

/// Whether a generated signing key is to be replaced: it is the one the status knows, older than `days`, and `days` is
/// not 0.
#[must_use]
pub fn rotation_due(
    known: &SigningKeyStatus,
    days: i32,
    present: Option<&str>,
    now: &Time,
) -> bool {
    const DAY_SECONDS: i64 = 86_400;
    let Some(created) = &known.created_time else {
        return false;
    };
    days > 0
        && present == Some(known.fingerprint.as_str())
        && now.0.as_second().saturating_sub(created.0.as_second()) >= i64::from(days) * DAY_SECONDS
}

fn signing_key(
    key: &keyserver_api::status::SigningKeyStatus,
    previous: Option<&SigningKeyStatus>,
    now: &Time,
) -> SigningKeyStatus {
    let known = previous.filter(|previous| previous.fingerprint == key.fingerprint);
    SigningKeyStatus {
        fingerprint: key.fingerprint.clone(),
        bits: if key.algorithm.starts_with("RSA") {
            3072
        } else {
            256
        },
        created_time: known.map_or_else(|| Some(now.clone()), |known| known.created_time.clone()),
    }
}

/// A count for a field of 32 bits.
fn small(count: impl TryInto<i32>) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}

/// A count for a field that JSON carries exactly.
fn large(count: u64) -> i64 {
    const MOST: i64 = (1 << 53) - 1;
    i64::try_from(count).unwrap_or(MOST).min(MOST)
}
