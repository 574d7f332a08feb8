//! The types openraft is instantiated with.
//!
//! Raft sees commands and outcomes as opaque octets: what they mean is decided by
//! `keyserver-core`. Their textual forms show only a length, because they carry keys.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use openraft::alias::{
    CommittedLeaderIdOf, EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Random identity of one data directory; a lost volume means a new one.
pub type NodeId = u64;

openraft::declare_raft_types!(
    /// openraft's type parameters for the key servers.
    pub Types:
        D = CommandOctets,
        R = OutcomeOctets,
        NodeId = NodeId,
        Node = KeyServerNode,
);

/// One log entry.
pub type Entry = EntryOf<Types>;
/// Position in the log.
pub type LogId = LogIdOf<Types>;
/// Leader part of a log position.
pub type CommittedLeaderId = CommittedLeaderIdOf<Types>;
/// A vote of a term.
pub type Vote = VoteOf<Types>;
/// A membership with its position.
pub type StoredMembership = StoredMembershipOf<Types>;
/// A membership.
pub type Membership = openraft::Membership<NodeId, KeyServerNode>;
/// What a snapshot covers.
pub type SnapshotMeta = SnapshotMetaOf<Types>;
/// A snapshot with its contents.
pub type Snapshot = SnapshotOf<Types, SnapshotOctets>;
/// The running consensus of one key server.
pub type Raft<A> = openraft::Raft<Types, super::state_machine::StateMachine<A>>;

/// What the other key servers know about one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyServerNode {
    /// Name, unique in the group of key servers.
    pub name: String,
    /// `host:port` of its consensus endpoint.
    pub raft_address: String,
    /// Addresses where members register.
    pub ike_addresses: Vec<IpAddr>,
    /// `host:port` of its admin endpoint.
    pub admin_address: String,
    /// 1 to 100; the highest becomes primary at first formation.
    pub priority: u8,
    /// Data directories that were removed from the group on purpose, as known when this one led.
    #[serde(default)]
    pub retired: Vec<Retired>,
}

impl KeyServerNode {
    /// Whether both say the same about themselves, whatever they know of others.
    pub fn describes_the_same(&self, other: &Self) -> bool {
        let Self {
            name,
            raft_address,
            ike_addresses,
            admin_address,
            priority,
            retired: _,
        } = self;
        *name == other.name
            && *raft_address == other.raft_address
            && *ike_addresses == other.ike_addresses
            && *admin_address == other.admin_address
            && *priority == other.priority
    }
}

/// A data directory that was removed from the group of key servers on purpose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Retired {
    /// Its node identity.
    pub node_id: NodeId,
    /// Name of the key server that used it.
    pub name: String,
}

/// Every data directory that `membership` remembers as removed.
pub fn retired(membership: &Membership) -> impl Iterator<Item = &Retired> {
    membership.nodes().flat_map(|(_, node)| &node.retired)
}

macro_rules! octets {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Arc<Zeroizing<Vec<u8>>>);

        impl $name {
            /// Takes over `octets`; they are wiped when the last owner is gone.
            pub fn new(octets: Vec<u8>) -> Self {
                Self(Arc::new(Zeroizing::new(octets)))
            }

            /// The octets.
            pub fn as_slice(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({} octets)"), self.0.len())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, formatter)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_byte_buf(OctetsVisitor).map(Self::new)
            }
        }
    };
}

octets! {
    /// A command of `keyserver-core`, encoded.
    CommandOctets
}
octets! {
    /// What applying a command gave, encoded.
    OutcomeOctets
}
octets! {
    /// The replicated state of `keyserver-core`, encoded.
    SnapshotOctets
}

struct OctetsVisitor;

impl serde::de::Visitor<'_> for OctetsVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("octets")
    }

    fn visit_bytes<E: serde::de::Error>(self, octets: &[u8]) -> Result<Vec<u8>, E> {
        Ok(octets.to_vec())
    }

    fn visit_byte_buf<E: serde::de::Error>(self, octets: Vec<u8>) -> Result<Vec<u8>, E> {
        Ok(octets)
    }
}

/// Random identity of one formation of the key servers, minted by the one that bootstraps it.
///
/// Data and messages of another formation are refused: mixing two gives undefined behaviour.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub [u8; 16]);

impl fmt::Debug for Incarnation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_textual_form_of_a_command_shows_no_content() {
        let command = CommandOctets::new(b"secret key".to_vec());
        assert_eq!(
            format!("{command} {command:?}"),
            "CommandOctets(10 octets) CommandOctets(10 octets)"
        );
    }

    #[test]
    fn octets_survive_the_wire() {
        let command = CommandOctets::new(vec![7; 300]);
        let wire = postcard::to_stdvec(&command).expect("encodes");
        assert_eq!(wire.len(), 302);
        assert_eq!(
            postcard::from_bytes::<CommandOctets>(&wire).expect("decodes"),
            command
        );
    }
}
