//! What the key server tells about itself, its groups and its members. Never a key.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Role of a key server among the cooperative key servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ServerRole {
    /// The one that mints keys and sends rekeys.
    Primary,
    /// Serves registrations; the primary is known.
    Secondary,
    /// Cannot reach a quorum: mints nothing.
    NoQuorum,
}

/// Answer of `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Name of this key server.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Role of this key server.
    pub role: ServerRole,
    /// Name of the primary, when one is known.
    pub primary: Option<String>,
    /// Admin address (`host:port`) of the primary, when it is known.
    pub primary_admin_address: Option<String>,
    /// Raft term.
    pub term: u64,
    /// Index of the last applied log entry.
    pub applied_index: u64,
    /// All cooperative key servers, this one included, by name.
    pub peers: Vec<PeerStatus>,
    /// All groups, by name.
    pub groups: Vec<GroupStatus>,
    /// Seconds since this process started.
    pub uptime_seconds: u64,
}

/// A cooperative key server as seen by the one that answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// Its address for the cooperative protocol (`host:port`).
    pub address: String,
    /// Its priority, 1 to 100; the highest should be primary.
    pub priority: u8,
    /// Whether it votes; learners serve registrations only.
    pub voter: bool,
    /// Whether it is the primary.
    pub primary: bool,
    /// Whether it answers. Only the primary knows; `None` elsewhere.
    pub reachable: Option<bool>,
    /// Log entries it is behind the primary. Only the primary knows.
    pub lag: Option<u64>,
}

/// State of one group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    /// Name of the group.
    pub name: String,
    /// Number of the group, the 4-octet IDg.
    pub group_id: u32,
    /// Epoch: raised when everybody has to register again (Sender-IDs exhausted, restore).
    pub epoch: u64,
    /// Generation: raised by every committed change of keys.
    pub generation: u64,
    /// Revision of the policy in force.
    pub policy_revision: u64,
    /// Current and staged traffic encryption keys, without the keys.
    pub traffic_keys: Vec<TrafficKeyStatus>,
    /// The Rekey SA, when the group has one.
    pub rekey_sa: Option<RekeySaStatus>,
    /// Time until the next planned rekey, in milliseconds.
    pub next_rekey_ms: Option<u64>,
    /// Why the next planned rekey will happen.
    pub next_rekey_reason: Option<String>,
    /// The last rekey, when there was one.
    pub last_rekey: Option<LastRekeyStatus>,
    /// Rekeys sent since the group was made, by cause.
    pub rekeys: RekeyCounts,
    /// Members registered now.
    pub members: u32,
    /// Sender-IDs granted in this epoch.
    pub sender_ids_used: u64,
    /// Sender-IDs an epoch can grant.
    pub sender_ids_capacity: u64,
    /// Group pseudotime in milliseconds (time-based anti-replay); 0 before the first member.
    pub pseudotime_ms: u64,
    /// The key that signs rekeys; `None` until it is generated or imported.
    pub signing_key: Option<SigningKeyStatus>,
}

/// A traffic encryption key (Data-Security SA) without its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficKeyStatus {
    /// Name of the security association it belongs to.
    pub security_association: String,
    /// 4 or 6.
    pub address_family: u8,
    /// SPI in hexadecimal, 8 digits.
    pub spi: String,
    /// Number of the key within its association: 1 for the first.
    pub number: u64,
    /// `Current`, `Staged` or `Retiring`.
    pub state: TrafficKeyState,
    /// Time until senders start to use it, in milliseconds; 0 when they already do.
    pub activates_in_ms: u64,
    /// Time until it must not be used any more, in milliseconds.
    pub lifetime_left_ms: u64,
}

/// Place of a traffic encryption key in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrafficKeyState {
    /// Senders use it.
    Current,
    /// Members hold it; it is not used yet.
    Staged,
    /// A later key is in use; receivers still accept it for a moment.
    Retiring,
}

/// The Rekey SA (key encryption key) without its keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RekeySaStatus {
    /// SPI in hexadecimal, 32 digits.
    pub spi: String,
    /// Message ID of the next GSA_REKEY.
    pub next_message_id: u32,
    /// Time until it must be replaced, in milliseconds.
    pub lifetime_left_ms: u64,
}

/// Delivery of the last rekey.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRekeyStatus {
    /// Why it was sent (stable word).
    pub reason: String,
    /// Its Message ID.
    pub message_id: u32,
    /// When it was committed: UNIX time in milliseconds.
    pub committed_unix_ms: u64,
    /// Members that acknowledged it. Only the primary knows; `None` elsewhere.
    pub acknowledged: Option<u32>,
    /// Members it was sent to.
    pub addressed: u32,
    /// Whether delivery is over (all acknowledged or attempts used up).
    pub complete: bool,
}

/// Rekeys since the group was made, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RekeyCounts {
    /// A traffic encryption key followed another on schedule.
    pub traffic_key: u64,
    /// The key encryption key was replaced on schedule or on request.
    pub key_encryption_key: u64,
    /// The policy changed.
    pub policy: u64,
    /// Asked for by an administrator.
    pub triggered: u64,
    /// A member was evicted (two messages each).
    pub eviction: u64,
    /// A new epoch.
    pub epoch: u64,
}

/// The key that signs rekeys, public facts only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningKeyStatus {
    /// Its label.
    pub label: String,
    /// `RSASSA-PSS 3072` or `Ed25519`.
    pub algorithm: String,
    /// `sha256:` and the hash of the SubjectPublicKeyInfo in hexadecimal.
    pub fingerprint: String,
}

/// One line of the member list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberRow {
    /// Identity with its kind, for example `FQDN:m-1.member.getvpn`.
    pub identity: String,
    /// Registration ID in hexadecimal, 16 digits.
    pub registration_id: String,
    /// Where its rekeys are sent.
    pub address: SocketAddr,
    /// Name of the key server it registered with.
    pub key_server: String,
    /// Its Sender-IDs; empty for a receive-only member.
    pub sender_ids: Vec<u32>,
    /// When it registered: UNIX time in milliseconds.
    pub registered_unix_ms: u64,
    /// Last acknowledgement: UNIX time in milliseconds. Only the primary knows.
    pub last_acknowledgement_unix_ms: Option<u64>,
    /// Rekeys in a row it did not acknowledge.
    pub missed_rekeys: u32,
    /// Whether it can acknowledge rekeys.
    pub acknowledges: bool,
    /// Whether it is known to be there.
    #[serde(default)]
    pub activity: MemberActivity,
    /// Version it told, when it told one.
    pub version: Option<String>,
}

/// What acknowledgements tell of a member. Nobody acknowledges a multicast rekey, so nothing is known then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberActivity {
    /// It acknowledged the last rekey, or there was none since it registered.
    Active,
    /// It did not acknowledge the last rekey.
    Silent,
    /// It is not asked for acknowledgements.
    #[default]
    Unknown,
}
