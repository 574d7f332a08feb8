//! The state of a member as people and programs read it. It holds no key.

use std::collections::BTreeMap;
use std::time::Duration;

use gm_core::data_plane::Family;
use gm_core::member::{KeyPhase, MembershipStatus};
use serde::{Deserialize, Serialize};

use super::access_list::AccessEntryReport;
use crate::datapath::{CountersSnapshot, SaStatistics};

/// The whole state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Name of the member.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Seconds since start.
    pub uptime_seconds: u64,
    /// Whether keys, receive path and drop rules are in place.
    pub ready: bool,
    /// What is missing, when not ready.
    pub not_ready: Option<String>,
    /// Drop rules.
    pub guard: GuardReport,
    /// The TUN device.
    pub device: DeviceReport,
    /// Packet totals.
    pub packets: PacketReport,
    /// Dropped packets of the packet path, by reason; reasons without drops are left out.
    pub drops: BTreeMap<String, u64>,
    /// The merged access list, first match first.
    #[serde(default)]
    pub access_list: Vec<AccessEntryReport>,
    /// The groups, in order of precedence.
    pub groups: Vec<GroupReport>,
}

/// State of the kernel's drop rules.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GuardReport {
    /// Whether the rules are in force.
    pub installed: bool,
    /// Whether everything not allowed is dropped, because a group was never joined.
    pub closed: bool,
    /// Whether protected traffic may go in clear, because a group was never joined and the member fails open.
    #[serde(default)]
    pub exposed: bool,
    /// Packets that went or came in clear for that reason, by direction.
    #[serde(default)]
    pub exposures: BTreeMap<String, u64>,
    /// Packets dropped, by rule.
    pub drops: BTreeMap<String, u64>,
    /// Packets that went or came in clear by an entry of the access list, by direction.
    #[serde(default)]
    pub bypassed: BTreeMap<String, u64>,
}

/// The TUN device.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceReport {
    /// Name.
    pub name: String,
    /// MTU in octets.
    pub mtu: u16,
}

/// Packet totals since start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PacketReport {
    /// Packets encrypted and sent.
    pub sent: u64,
    /// Octets of the inner packets among them.
    pub sent_octets: u64,
    /// Packets received and decrypted.
    pub received: u64,
    /// Octets of the inner packets among them.
    pub received_octets: u64,
}

/// State of one group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupReport {
    /// Group identification number.
    #[serde(rename = "groupID")]
    pub group_id: u32,
    /// Whether a key server has admitted us.
    pub registered: bool,
    /// Key server of the last registration.
    pub key_server: Option<String>,
    /// Its proven identity.
    pub key_server_identity: Option<String>,
    /// Seconds since the last registration.
    pub registered_seconds: Option<f64>,
    /// Seconds until the next registration that is foreseen.
    pub next_registration_seconds: Option<f64>,
    /// Whether we encrypt what we send.
    pub sends_encrypted: bool,
    /// Our Sender-ID.
    #[serde(rename = "senderID")]
    pub sender_id: Option<u32>,
    /// The group's pseudotime.
    pub pseudotime_milliseconds: Option<u64>,
    /// Revision of the group's policy.
    pub policy_revision: Option<u64>,
    /// Seconds until the newest Rekey SA ends.
    pub rekey_sa_remaining_seconds: Option<f64>,
    /// Message ID of the last accepted rekey.
    #[serde(rename = "lastRekeyMessageID")]
    pub last_rekey_message_id: Option<u32>,
    /// Seconds since the last accepted rekey.
    pub last_rekey_seconds: Option<f64>,
    /// Registrations that succeeded.
    pub registrations: u64,
    /// Attempts that failed.
    pub failed_attempts: u64,
    /// The last failure since the last success.
    pub last_error: Option<String>,
    /// Why the member is not registered or has no keys, as one CamelCase word.
    #[serde(default)]
    pub reason: Option<String>,
    /// Rekeys accepted.
    pub rekeys_accepted: u64,
    /// Copies of accepted rekeys.
    pub rekeys_repeated: u64,
    /// Rekeys refused, by cause.
    pub rekeys_refused: BTreeMap<String, u64>,
    /// The traffic keys (TEKs), in order of use.
    pub traffic_keys: Vec<TrafficKeyReport>,
    /// The group's access list, first match first.
    pub rules: Vec<String>,
}

/// State of one TEK.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficKeyReport {
    /// SPI in hexadecimal.
    pub spi: String,
    /// Number of the security association.
    pub association: u16,
    /// 4 or 6.
    pub ip_version: u8,
    /// Encryption algorithm.
    pub algorithm: String,
    /// Largest accepted difference of pseudotimes; absent when packets carry none.
    #[serde(default)]
    pub time_window_milliseconds: Option<u64>,
    /// `staged`, `active` or `retiring`.
    pub phase: String,
    /// Seconds until senders use it.
    pub activates_in_seconds: f64,
    /// Seconds until senders stop using it.
    pub stops_in_seconds: f64,
    /// Seconds until nobody accepts it.
    pub remaining_seconds: f64,
    /// Packets we sent with it.
    pub sent_packets: u64,
    /// Inner octets we sent with it.
    pub sent_octets: u64,
    /// Packets we received with it.
    pub received_packets: u64,
    /// Inner octets we received with it.
    pub received_octets: u64,
}

impl PacketReport {
    /// From the packet path's totals.
    pub fn new(counters: &CountersSnapshot) -> Self {
        Self {
            sent: counters.sent_packets,
            sent_octets: counters.sent_octets,
            received: counters.received_packets,
            received_octets: counters.received_octets,
        }
    }
}

impl GroupReport {
    /// From the membership's state and the packet path's totals per SA.
    pub fn new(status: &MembershipStatus, statistics: &[SaStatistics]) -> Self {
        let seconds = |duration: Option<Duration>| duration.map(|d| d.as_secs_f64());
        Self {
            group_id: status.group_id,
            registered: status.registered,
            key_server: status.key_server.map(|address| address.to_string()),
            key_server_identity: status.key_server_identity.clone(),
            registered_seconds: seconds(status.registered_for),
            next_registration_seconds: seconds(status.next_registration),
            sends_encrypted: status.sends_encrypted,
            sender_id: status.sender_id,
            pseudotime_milliseconds: status.pseudotime_ms,
            policy_revision: status.policy_revision,
            rekey_sa_remaining_seconds: seconds(status.rekey_sa_remaining),
            last_rekey_message_id: status.last_rekey.map(|(message_id, _)| message_id),
            last_rekey_seconds: seconds(status.last_rekey.map(|(_, since)| since)),
            registrations: status.registrations,
            failed_attempts: status.failed_attempts,
            last_error: status.last_error.clone(),
            reason: status.reason.map(str::to_owned),
            rekeys_accepted: status.rekeys_accepted,
            rekeys_repeated: status.rekeys_repeated,
            rekeys_refused: status
                .rekeys_refused
                .iter()
                .map(|(label, count)| ((*label).to_owned(), *count))
                .collect(),
            traffic_keys: status
                .traffic_keys
                .iter()
                .map(|key| {
                    let used = statistics.iter().find(|used| used.spi == key.spi);
                    let count = |read: fn(&SaStatistics) -> u64| used.map_or(0, read);
                    TrafficKeyReport {
                        spi: key.spi.to_string(),
                        association: key.association,
                        ip_version: match key.family {
                            Family::V4 => 4,
                            Family::V6 => 6,
                        },
                        algorithm: format!("{:?}", key.algorithm),
                        time_window_milliseconds: key
                            .anti_replay
                            .time_window
                            .and_then(|window| u64::try_from(window.as_millis()).ok()),
                        phase: phase(key.phase).to_owned(),
                        activates_in_seconds: key.activates_in.as_secs_f64(),
                        stops_in_seconds: key.stops_in.as_secs_f64(),
                        remaining_seconds: key.remaining.as_secs_f64(),
                        sent_packets: count(|used| used.sent_packets),
                        sent_octets: count(|used| used.sent_octets),
                        received_packets: count(|used| used.received_packets),
                        received_octets: count(|used| used.received_octets),
                    }
                })
                .collect(),
            rules: status.rules.clone(),
        }
    }
}

/// The word for a phase in status and metrics.
pub(crate) fn phase(phase: KeyPhase) -> &'static str {
    match phase {
        KeyPhase::Staged => "staged",
        KeyPhase::Active => "active",
        KeyPhase::Retiring => "retiring",
    }
}
