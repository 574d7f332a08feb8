//! What a member shows of itself: plain data, times relative to the moment of asking, never a key.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::event::FailureKind;
use super::membership::Membership;
use crate::data_plane::{AntiReplay, Direction, Family};
use crate::sad::{Algorithm, Spi};

/// State of one membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipStatus {
    /// The group.
    pub group_id: u32,
    /// Whether a key server has admitted us.
    pub registered: bool,
    /// The key server of the last registration.
    pub key_server: Option<SocketAddr>,
    /// Its proven identity.
    pub key_server_identity: Option<String>,
    /// Time since the last registration.
    pub registered_for: Option<Duration>,
    /// Time to the next registration that is foreseen.
    pub next_registration: Option<Duration>,
    /// Whether we encrypt what we send.
    pub sends_encrypted: bool,
    /// Our Sender-ID.
    pub sender_id: Option<u32>,
    /// The group's pseudotime in milliseconds, as we estimate it.
    pub pseudotime_ms: Option<u64>,
    /// Revision of the group's policy.
    pub policy_revision: Option<u64>,
    /// Time to the end of the newest Rekey SA.
    pub rekey_sa_remaining: Option<Duration>,
    /// Message ID of the last accepted rekey, and the time since.
    pub last_rekey: Option<(u32, Duration)>,
    /// TEKs, in order of use.
    pub traffic_keys: Vec<TrafficKeyStatus>,
    /// The merged access list's part of this group, as text.
    pub rules: Vec<String>,
    /// Registrations that succeeded.
    pub registrations: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// The last failure since the last success.
    pub last_error: Option<String>,
    /// Why the member is not registered or has no keys, as one CamelCase word; `None` when all is well.
    pub reason: Option<&'static str>,
    /// Rekeys accepted.
    pub rekeys_accepted: u64,
    /// Exact copies of accepted rekeys.
    pub rekeys_repeated: u64,
    /// Rekeys refused, by cause.
    pub rekeys_refused: BTreeMap<&'static str, u64>,
}

/// State of one TEK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficKeyStatus {
    /// The SPI.
    pub spi: Spi,
    /// The association it belongs to.
    pub association: u16,
    /// IP version.
    pub family: Family,
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Which packets are refused as repeated or late.
    pub anti_replay: AntiReplay,
    /// Staged, in use, or only accepted.
    pub phase: KeyPhase,
    /// Time until senders use it; zero when they may already.
    pub activates_in: Duration,
    /// Time until senders stop using it.
    pub stops_in: Duration,
    /// Time until nobody accepts it.
    pub remaining: Duration,
}

/// Where a TEK is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPhase {
    /// Accepted, not yet used for sending.
    Staged,
    /// Used for sending.
    Active,
    /// Accepted, not used for sending any more.
    Retiring,
}

impl Membership {
    /// The state at `now`.
    pub fn status(&self, now: Instant) -> MembershipStatus {
        let until = |at: Instant| at.saturating_duration_since(now);
        let group = self.data_plane_group();
        let registered = self.registered();
        let statistics = self.statistics();
        let traffic_keys = self.keys().times().into_iter().map(|key| TrafficKeyStatus {
            spi: key.spi,
            association: key.association,
            family: key.family,
            algorithm: key.algorithm,
            anti_replay: key.anti_replay,
            phase: if now < key.activate_at {
                KeyPhase::Staged
            } else if now < key.stop_sending_at {
                KeyPhase::Active
            } else {
                KeyPhase::Retiring
            },
            activates_in: until(key.activate_at),
            stops_in: until(key.stop_sending_at),
            remaining: until(key.delete_at),
        });
        MembershipStatus {
            group_id: self.group_id(),
            registered: self.is_registered(),
            key_server: registered.map(|facts| facts.key_server),
            key_server_identity: registered.map(|facts| facts.identity.to_string()),
            registered_for: registered.map(|facts| now.saturating_duration_since(facts.at)),
            next_registration: self.next_registration().map(until),
            sends_encrypted: group.direction == Direction::Both,
            sender_id: self.sender_id().map(|sender| sender.0),
            pseudotime_ms: group.pseudotime.map(|time| time.milliseconds_at(now)),
            policy_revision: self.policy().revision,
            rekey_sa_remaining: self.receiver_expires().map(until),
            last_rekey: statistics
                .last_rekey
                .map(|rekey| (rekey.message_id, now.saturating_duration_since(rekey.at))),
            traffic_keys: traffic_keys.collect(),
            rules: group
                .rules
                .iter()
                .map(|rule| format!("{:?} {}", rule.action, rule.selector))
                .collect(),
            registrations: statistics.registrations,
            failed_attempts: statistics.failed_attempts,
            last_error: statistics.last_error.clone(),
            reason: self.reason(),
            rekeys_accepted: statistics.rekeys_accepted,
            rekeys_repeated: statistics.rekeys_repeated,
            rekeys_refused: statistics.rekeys_refused.clone(),
        }
    }

    /// Why the member is not registered or has no keys.
    fn reason(&self) -> Option<&'static str> {
        if self.is_registered() && self.has_keys() {
            return None;
        }
        let failure = self.statistics().last_failure.map(FailureKind::label);
        let otherwise = if self.is_registered() {
            "KeysExpired"
        } else {
            "Registering"
        };
        Some(failure.unwrap_or(otherwise))
    }
}
