//! What this key server tells about groups and members. Never a key.

use std::time::Instant;

use gikev2::crypto::digest::sha256;
use keyserver_api::policy::{GroupPolicy, RekeyTransport};
use keyserver_api::status::{
    GroupStatus, LastRekeyStatus, MemberActivity, MemberRow, RekeyCounts, RekeySaStatus,
    SigningKeyStatus, TrafficKeyState, TrafficKeyStatus,
};

use super::{KeyServer, Role};
use crate::command::RekeyReason;
use crate::log_time::LogTime;
use crate::rekey::schedule;
use crate::secret::SecretBytes;
use crate::state::group::Group;
use crate::state::sender_id::SenderIds;
use crate::state::signing_key::{SigningKey, algorithm_name};

/// A group's signing key with its private half, to be encrypted for export.
pub struct SigningKeyView<'a> {
    /// Its label.
    pub label: &'a str,
    /// PKCS#8 DER.
    pub private_key: &'a SecretBytes,
    /// Fingerprint as in the status.
    pub fingerprint: String,
}

impl KeyServer {
    /// Names of all groups, in order of their numbers.
    pub fn group_names(&self) -> Vec<String> {
        self.state
            .groups()
            .values()
            .map(|group| group.policy.name.clone())
            .collect()
    }

    /// Policy of a group.
    pub fn policy(&self, name: &str) -> Option<&GroupPolicy> {
        self.state.group_named(name).map(|(_, group)| &group.policy)
    }

    /// State of a group.
    pub fn group_status(&self, now: Instant, name: &str) -> Option<GroupStatus> {
        let (group_id, group) = self.state.group_named(name)?;
        let time = self.clock.read(now);
        let next = schedule::next(group);
        Some(GroupStatus {
            name: name.to_owned(),
            group_id,
            epoch: group.epoch,
            generation: group.generation,
            policy_revision: group.policy_revision,
            traffic_keys: traffic_keys(group, time),
            rekey_sa: group.rekey_sa.as_ref().map(|sa| RekeySaStatus {
                spi: sa.spi.to_string(),
                next_message_id: sa.next_message_id,
                lifetime_left_ms: sa.ends.millis_since(time),
            }),
            next_rekey_ms: next.map(|(due, _)| due.millis_since(time)),
            next_rekey_reason: next.map(|(_, need)| need.as_str().to_owned()),
            last_rekey: self.last_rekey(group_id, group),
            rekeys: rekey_counts(group),
            members: u32::try_from(group.members.len()).unwrap_or(u32::MAX),
            sender_ids_used: group.sender_ids.used(),
            sender_ids_capacity: SenderIds::capacity(group.policy.sender_id_bits),
            pseudotime_ms: group.pseudotime_ms(time),
            signing_key: group.signing_key.as_ref().map(|key| SigningKeyStatus {
                label: key.label.clone(),
                algorithm: algorithm_name(key.algorithm).to_owned(),
                fingerprint: fingerprint(key),
            }),
        })
    }

    /// Members of a group, by registration.
    pub fn members(&self, name: &str) -> Option<Vec<MemberRow>> {
        let (_, group) = self.state.group_named(name)?;
        let row = |member: &crate::state::membership::Member| MemberRow {
            identity: member.identity.to_string(),
            registration_id: format!("{:016x}", member.registration_id),
            address: member.remote,
            key_server: member.key_server.clone(),
            sender_ids: member.sender_ids.clone(),
            registered_unix_ms: member.registered_unix_ms,
            last_acknowledgement_unix_ms: self
                .acknowledged_at
                .get(&member.registration_id)
                .copied(),
            missed_rekeys: member.missed_rekeys,
            acknowledges: member.acknowledges,
            activity: activity(group, member),
            version: None,
        };
        Some(group.members.iter().map(row).collect())
    }

    /// Signing key of a group, for export.
    pub fn signing_key(&self, name: &str) -> Option<SigningKeyView<'_>> {
        let (_, group) = self.state.group_named(name)?;
        let key = group.signing_key.as_ref()?;
        Some(SigningKeyView {
            label: &key.label,
            private_key: &key.private_key,
            fingerprint: fingerprint(key),
        })
    }

    /// Hop limit of datagrams to a multicast address, when a group sends its rekeys there.
    pub fn multicast_hop_limit(&self, to: std::net::IpAddr) -> Option<u8> {
        self.state
            .groups()
            .values()
            .find_map(|group| match &group.policy.rekey.transport {
                RekeyTransport::Multicast {
                    address, hop_limit, ..
                } if *address == to => Some(*hop_limit),
                _ => None,
            })
    }

    fn last_rekey(&self, group_id: u32, group: &Group) -> Option<LastRekeyStatus> {
        let sent = group.sent.last()?;
        let under_way = self
            .work
            .get(&group_id)
            .and_then(|work| work.delivery.acknowledged(sent.number));
        let acknowledged = match (sent.delivered, self.role == Role::Primary) {
            (true, _) => Some(sent.addressed.saturating_sub(sent.silent)),
            (false, true) => under_way,
            (false, false) => None,
        };
        Some(LastRekeyStatus {
            reason: sent.reason.as_str().to_owned(),
            message_id: sent.message.message_id,
            committed_unix_ms: sent.committed_unix_ms,
            acknowledged,
            addressed: sent.addressed,
            complete: sent.delivered,
        })
    }
}

fn activity(group: &Group, member: &crate::state::membership::Member) -> MemberActivity {
    match (&group.policy.rekey.transport, member.acknowledges) {
        (RekeyTransport::Unicast, true) if member.missed_rekeys == 0 => MemberActivity::Active,
        (RekeyTransport::Unicast, true) => MemberActivity::Silent,
        (RekeyTransport::Unicast, false) | (RekeyTransport::Multicast { .. }, _) => {
            MemberActivity::Unknown
        }
    }
}

fn traffic_keys(group: &Group, time: LogTime) -> Vec<TrafficKeyStatus> {
    let mut rows = Vec::new();
    for (association, family, chain) in group.associations.chains() {
        let current = chain.current(time).map(|key| key.number);
        rows.extend(
            chain
                .keys()
                .iter()
                .filter(|key| key.gone() > time)
                .map(|key| TrafficKeyStatus {
                    security_association: association.policy.name.clone(),
                    address_family: family,
                    spi: key.spi.to_string(),
                    number: key.number,
                    state: if association.removed || key.retired.is_some() {
                        TrafficKeyState::Retiring
                    } else if key.activates > time {
                        TrafficKeyState::Staged
                    } else if Some(key.number) == current {
                        TrafficKeyState::Current
                    } else {
                        TrafficKeyState::Retiring
                    },
                    activates_in_ms: key.activates.millis_since(time),
                    lifetime_left_ms: key.gone().millis_since(time),
                }),
        );
    }
    rows
}

fn rekey_counts(group: &Group) -> RekeyCounts {
    let of = |reason: RekeyReason| group.rekeys.get(&reason).copied().unwrap_or(0);
    RekeyCounts {
        traffic_key: of(RekeyReason::TrafficKey),
        key_encryption_key: of(RekeyReason::KeyEncryptionKey),
        policy: of(RekeyReason::Policy) + of(RekeyReason::SigningKey),
        triggered: of(RekeyReason::Triggered) + of(RekeyReason::Replaced),
        eviction: of(RekeyReason::Eviction) + of(RekeyReason::EvictionTrafficKeys),
        epoch: of(RekeyReason::Epoch),
    }
}

/// `sha256:` and the hash of the SubjectPublicKeyInfo.
fn fingerprint(key: &SigningKey) -> String {
    sha256(&[&key.public_key])
        .iter()
        .fold("sha256:".to_owned(), |text, octet| {
            format!("{text}{octet:02x}")
        })
}
