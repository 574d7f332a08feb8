//! What is proposed to the replicated log.
//!
//! A command carries everything applying it needs: time, random keys and the final octets of messages are spent
//! before it is proposed, so that every key server applies it to the same result. A command planned against one
//! state says so in its [`Expectation`] and is refused ([`Outcome::Superseded`](crate::outcome::Outcome)) by another.

use std::net::SocketAddr;

use keyserver_api::policy::{GroupPolicy, SignatureAlgorithm};
use serde::{Deserialize, Serialize};

use crate::error::CodecError;
use crate::identity::MemberIdentity;
use crate::log_time::LogTime;
use crate::secret::SecretBytes;
use crate::state::key_tree::TreeUpdate;
use crate::state::spi::{DataSpi, RekeySaSpi};

/// First octet of an encoded command.
const FORMAT: u8 = 2;

/// Names a command. Proposing it again under the same name changes nothing and gives the same outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommandKey(pub [u8; 16]);

/// An entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Its name.
    pub key: CommandKey,
    /// The proposer's estimate of replicated time.
    pub time: LogTime,
    /// The proposer's wall clock, in milliseconds of UNIX time; for display and for restarts.
    pub unix_ms: u64,
    /// Name of the key server that proposes.
    pub proposer: String,
    /// What to do.
    pub action: Action,
}

impl Command {
    /// The octets to replicate. They contain keys.
    ///
    /// # Errors
    /// [`CodecError::Encode`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        crate::snapshot::encode(FORMAT, self)
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CodecError`] when the format is of another version or the octets are damaged.
    pub fn decode(octets: &[u8]) -> Result<Self, CodecError> {
        crate::snapshot::decode(FORMAT, octets)
    }
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    /// Only lets time pass, so that others learn it.
    Tick,
    /// Makes a group, or changes the policy of one that has no keys yet.
    PutGroup(Box<GroupPolicy>),
    /// Forgets a group with all its keys.
    DeleteGroup {
        /// Number of the group.
        group_id: u32,
    },
    /// Sets the key that signs rekeys.
    SetSigningKey(SetSigningKey),
    /// Admits a member.
    Register(Box<Register>),
    /// Forgets members: they left, or do not answer. No key changes now.
    RemoveMembers {
        /// Number of the group.
        group_id: u32,
        /// Their registration IDs.
        registration_ids: Vec<u64>,
    },
    /// Lets an evicted identity register again.
    Admit {
        /// Number of the group.
        group_id: u32,
        /// The identity.
        identity: MemberIdentity,
    },
    /// Changes keys, and with them policy or membership.
    Rekey(Box<Rekey>),
    /// Delivery of a rekey is over.
    Delivered {
        /// Number of the group.
        group_id: u32,
        /// Which rekey, by its number in the group.
        number: u64,
        /// Members that should have acknowledged and did not.
        silent: Vec<u64>,
    },
}

/// Content of [`Action::SetSigningKey`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetSigningKey {
    /// Number of the group.
    pub group_id: u32,
    /// Label of the key.
    pub label: String,
    /// Algorithm it signs with.
    pub algorithm: SignatureAlgorithm,
    /// PKCS#8 DER.
    pub private_key: SecretBytes,
    /// DER SubjectPublicKeyInfo of the public half.
    pub public_key: Vec<u8>,
    /// Whether a different key may be replaced.
    pub overwrite: bool,
}

/// Content of [`Action::Register`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// Number of the group.
    pub group_id: u32,
    /// Who registers.
    pub identity: MemberIdentity,
    /// Sender-IDs wanted; 0 for a member that only receives.
    pub sender_ids: u32,
    /// The key server's address and port the member spoke to.
    pub local: SocketAddr,
    /// The member's address and port.
    pub remote: SocketAddr,
    /// Whether the member acknowledges rekeys.
    pub acknowledges: bool,
    /// Key of its acknowledgements.
    pub acknowledgement_key: SecretBytes,
    /// Whether the member can take IKE fragments (RFC 7383).
    pub fragmentation: bool,
    /// Octets to make the keys of its path in the key tree from.
    pub tree_entropy: SecretBytes,
    /// Name of the key server that answers the member.
    pub key_server: String,
}

/// Why keys changed. A stable word in status, metrics and audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RekeyReason {
    /// The group gets its first keys; nothing is sent.
    Established,
    /// A traffic key follows another on schedule.
    TrafficKey,
    /// The key encryption key is replaced.
    KeyEncryptionKey,
    /// The policy changed.
    Policy,
    /// The signing key changes.
    SigningKey,
    /// An administrator asked for it.
    Triggered,
    /// An administrator asked for it and for the removal of all old keys.
    Replaced,
    /// A member is evicted: the new key encryption key.
    Eviction,
    /// A member was evicted: the new traffic keys.
    EvictionTrafficKeys,
    /// A new epoch: everybody has to register again.
    Epoch,
}

impl RekeyReason {
    /// The stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Established => "Established",
            Self::TrafficKey => "TrafficKey",
            Self::KeyEncryptionKey => "KeyEncryptionKey",
            Self::Policy => "Policy",
            Self::SigningKey => "SigningKey",
            Self::Triggered => "Triggered",
            Self::Replaced => "Replaced",
            Self::Eviction => "Eviction",
            Self::EvictionTrafficKeys => "EvictionTrafficKeys",
            Self::Epoch => "Epoch",
        }
    }
}

/// The state a rekey was planned against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expectation {
    /// Generation of the group.
    pub generation: u64,
    /// SPIs allocated so far by all groups together.
    pub spis_allocated: u64,
    /// Next Key ID of the key tree, when the rekey changes the tree or wraps keys with it.
    pub next_key_id: Option<u32>,
}

/// Content of [`Action::Rekey`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rekey {
    /// Number of the group.
    pub group_id: u32,
    /// The state it was planned against.
    pub expected: Expectation,
    /// Why.
    pub reason: RekeyReason,
    /// The policy that comes into force with it.
    pub policy: Option<Box<GroupPolicy>>,
    /// Security associations that begin with it; the others of the policy go on.
    pub new_associations: Vec<NewAssociation>,
    /// The Rekey SA that replaces the current one.
    pub rekey_sa: Option<NewRekeySa>,
    /// New traffic keys.
    pub traffic_keys: Vec<NewTrafficKey>,
    /// Staged traffic keys that become current at another time.
    pub rescheduled: Vec<Rescheduled>,
    /// Traffic keys that end early, and when.
    pub retired: Vec<(DataSpi, LogTime)>,
    /// Whether the stored next signing key signs from here on. This message is still signed by the old one.
    pub adopts_signing_key: bool,
    /// The message for the members; `None` while there are no keys to send one under.
    pub message: Option<RekeyDatagrams>,
}

/// A security association that begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAssociation {
    /// Its number.
    pub number: u16,
    /// Its name in the policy.
    pub name: String,
}

/// A Rekey SA that begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewRekeySa {
    /// SPI.
    pub spi: RekeySaSpi,
    /// GSK_e ‖ GSK_w.
    pub keying_material: SecretBytes,
    /// When it must have been replaced.
    pub ends: LogTime,
    /// Registrations that are excluded.
    pub excluded: Vec<Excluded>,
    /// Change of the key tree that goes with the exclusion.
    pub tree: Option<TreeUpdate>,
}

/// A registration that is excluded. It is told once, so that an honest member stops at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// The registration.
    pub registration_id: u64,
    /// The key server's address and port it registered at.
    pub local: SocketAddr,
    /// Where it was reached.
    pub remote: SocketAddr,
}

/// A traffic encryption key that begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewTrafficKey {
    /// Number of its security association.
    pub association: u16,
    /// 4 or 6.
    pub family: u8,
    /// SPI.
    pub spi: DataSpi,
    /// Key and salt.
    pub keying_material: SecretBytes,
    /// When senders start to use it.
    pub activates: LogTime,
    /// When it must not be used any more.
    pub ends: LogTime,
}

/// A staged key that becomes current at another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rescheduled {
    /// Its SPI.
    pub spi: DataSpi,
    /// When senders start to use it.
    pub activates: LogTime,
    /// When it must not be used any more.
    pub ends: LogTime,
}

/// The final datagrams of a GSA_REKEY.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RekeyDatagrams {
    /// The Rekey SA they are sent over.
    pub spi: RekeySaSpi,
    /// Their Message ID.
    pub message_id: u32,
    /// The datagrams, without non-ESP marker.
    pub datagrams: Vec<Vec<u8>>,
}

impl RekeyDatagrams {
    /// Whether they are the fragments of one message (RFC 9838 §2.4.1.2).
    pub fn is_cut(&self) -> bool {
        self.datagrams.len() > 1
    }
}
