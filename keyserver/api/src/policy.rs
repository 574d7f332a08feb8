//! The policy of a group, as an administrator or the operator hands it to the key server.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::identity::IdentityPattern;

mod validate;

pub use validate::{PolicyError, ValidatedPolicy};

/// Everything that decides which traffic of a group is protected and how its keys are made and delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupPolicy {
    /// Name of the group: a DNS-1035 label of at most 49 characters.
    pub name: String,
    /// Number of the group, carried as the 4-octet ID_KEY_ID of IDg; 0 to 2147483647.
    pub group_id: u32,
    /// Whether members encrypt or only receive.
    #[serde(default)]
    pub direction: Direction,
    /// Most significant bits of the IV that hold the Sender-ID (RFC 6054): 8, 12, 16, 24 or 32.
    #[serde(default = "default_sender_id_bits")]
    pub sender_id_bits: u8,
    /// How many keys after the current one every member holds: 0 to 3.
    #[serde(default = "default_prestaged_keys")]
    pub prestaged_keys: u8,
    /// Time from receipt of a rekey until senders use its keys (GWP_ATD), in milliseconds.
    #[serde(default = "default_activation_delay")]
    pub activation_delay_ms: u32,
    /// Time from receipt of a rekey until old keys are removed (GWP_DTD), in milliseconds.
    #[serde(default = "default_deactivation_delay")]
    pub deactivation_delay_ms: u32,
    /// Who may register.
    #[serde(default)]
    pub authorization: Authorization,
    /// How rekeys are made and delivered.
    #[serde(default)]
    pub rekey: RekeyPolicy,
    /// What is protected and how, in any order; `order` decides.
    pub security_associations: Vec<SecurityAssociationPolicy>,
}

/// Whether members of a group send protected traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Members send and receive.
    #[default]
    Both,
    /// Members only receive (used while a group is brought up).
    ReceiveOnly,
}

/// Who may register with a group, after authentication succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Authorization {
    /// Patterns of identities; empty: every authenticated identity.
    pub identities: Vec<IdentityPattern>,
    /// Networks a member's address must be in; empty: any address.
    pub addresses: Vec<IpNet>,
}

/// How rekeys are made and delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RekeyPolicy {
    /// Unicast to each member, or multicast to a group address.
    pub transport: RekeyTransport,
    /// Life of the key encryption key (Rekey SA), in seconds.
    pub kek_lifetime_seconds: u32,
    /// How early a successor is sent before a key encryption key, or a traffic key that has no staged successor,
    /// ends; in seconds.
    pub lead_time_seconds: u32,
    /// Copies sent again after the first one: 0 to 10.
    pub retransmit_attempts: u8,
    /// Time between copies of a multicast rekey, in milliseconds.
    pub retransmit_period_ms: u32,
    /// Members a unicast rekey is sent to at a time.
    pub batch_size: u32,
    /// How long an acknowledgement is waited for before the rekey is sent to that member again, in milliseconds.
    pub acknowledgement_timeout_ms: u32,
    /// Rekeys in a row a member may leave unacknowledged before its record is removed: 1 to 10.
    pub eviction_threshold: u8,
    /// Algorithm that signs rekeys.
    pub signature: SignatureAlgorithm,
}

impl Default for RekeyPolicy {
    fn default() -> Self {
        Self {
            transport: RekeyTransport::Unicast,
            kek_lifetime_seconds: 86_400,
            lead_time_seconds: 120,
            retransmit_attempts: 2,
            retransmit_period_ms: 10_000,
            batch_size: 30,
            acknowledgement_timeout_ms: 10_000,
            eviction_threshold: 3,
            signature: SignatureAlgorithm::RsaPss3072,
        }
    }
}

/// How a rekey reaches the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum RekeyTransport {
    /// To each member's registered address, acknowledged.
    Unicast,
    /// One datagram to a group address, repeated.
    Multicast {
        /// The group address.
        address: IpAddr,
        /// UDP port.
        port: u16,
        /// IP time to live or hop limit.
        hop_limit: u8,
    },
}

/// Algorithm that signs rekeys.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum SignatureAlgorithm {
    /// RSASSA-PSS with SHA-256 and a key of 3072 bits.
    #[default]
    RsaPss3072,
    /// Ed25519 (RFC 8420).
    Ed25519,
}

/// One security association of a group: rules, algorithm, lifetime, anti-replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecurityAssociationPolicy {
    /// Its name, unique in the group.
    pub name: String,
    /// Its place among the others, 1 to 10000, unique in the group: the lowest is looked at first.
    pub order: u16,
    /// ESP algorithm.
    #[serde(default)]
    pub encryption: EspEncryption,
    /// Life of a traffic encryption key, in milliseconds.
    #[serde(default = "default_lifetime")]
    pub lifetime_ms: u64,
    /// Volume of a traffic encryption key, in kilobytes; 0 for no limit.
    #[serde(default)]
    pub lifetime_kilobytes: u64,
    /// Protection against replays.
    #[serde(default)]
    pub anti_replay: AntiReplay,
    /// How ESP travels.
    #[serde(default)]
    pub encapsulation: Encapsulation,
    /// Ordered rules: the first that matches decides.
    pub rules: Vec<Rule>,
}

/// ESP algorithm of a security association.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EspEncryption {
    /// AES-256-GCM with a 16-octet tag.
    #[default]
    Aes256Gcm,
    /// AES-128-GCM with a 16-octet tag.
    Aes128Gcm,
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
}

/// Protection against replays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum AntiReplay {
    /// None.
    Disabled,
    /// Pseudotime in every packet, and a sliding bitmap per sender for duplicates inside the window.
    TimeBased {
        /// Largest accepted difference of pseudotimes, in milliseconds.
        window_ms: u32,
    },
    /// A sliding bitmap per sender.
    #[default]
    Counter,
}

/// How ESP travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encapsulation {
    /// In UDP port 4500 (RFC 3948).
    #[default]
    Udp,
    /// As IP protocol 50.
    Raw,
}

/// One rule of a security association.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Its name, unique in the security association.
    pub name: String,
    /// Encrypt or leave in clear.
    pub action: Action,
    /// IP protocol number; absent for any.
    #[serde(default)]
    pub protocol: Option<u8>,
    /// Source network.
    pub source: IpNet,
    /// Destination network, of the same address family.
    pub destination: IpNet,
    /// Source port ranges, both ends included; empty for any. Only with TCP or UDP.
    #[serde(default)]
    pub source_ports: Vec<(u16, u16)>,
    /// Destination port ranges, both ends included; empty for any. Only with TCP or UDP.
    #[serde(default)]
    pub destination_ports: Vec<(u16, u16)>,
}

/// What a rule does with the traffic it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Encrypt.
    Permit,
    /// Leave in clear.
    Deny,
}

impl EspEncryption {
    /// Octets of keying material of one SA: the key and its 4-octet salt (RFC 9838 §3.4).
    pub const fn keying_material_octets(self) -> usize {
        match self {
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 36,
            Self::Aes128Gcm => 20,
        }
    }
}

const fn default_sender_id_bits() -> u8 {
    24
}

const fn default_prestaged_keys() -> u8 {
    1
}

const fn default_activation_delay() -> u32 {
    5_000
}

const fn default_deactivation_delay() -> u32 {
    15_000
}

const fn default_lifetime() -> u64 {
    3_600_000
}
