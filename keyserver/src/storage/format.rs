//! Layout of the store: tables, header and records.
//!
//! Records have a layout of their own, fixed by [`FORMAT`], so that a new release of the consensus
//! library cannot change what is on the disk. Numbers in the header are big-endian; records are
//! postcard.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;
use redb::TableDefinition;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::sealing::{SealingKeyId, checksum};
use crate::raft::types::{
    CommandOctets, CommittedLeaderId, Entry, Incarnation, KeyServerNode, LogId, Membership, NodeId,
    Retired, SnapshotMeta, StoredMembership, Vote,
};

/// Version of everything in this file.
pub const FORMAT: u32 = 2;
const MAGIC: &[u8; 8] = b"GETVPNKS";
const HEADER_LENGTH: usize = 8 + 4 + 8 + 1 + 16 + 8 + 8;

/// Plain header, and its sealed copy.
pub(super) const HEADER: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("header");
/// Log entries by index, sealed.
pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// Vote, committed and purged positions, sealed.
pub(super) const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
/// The newest snapshot and what it covers, sealed.
pub(super) const SNAPSHOT: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("snapshot");

pub(super) const PLAIN: &str = "plain";
pub(super) const SEALED: &str = "sealed";
pub(super) const VOTE: &str = "vote";
pub(super) const COMMITTED: &str = "committed";
pub(super) const PURGED: &str = "purged";
pub(super) const META: &str = "meta";
pub(super) const DATA: &str = "data";

/// Who a store belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Random, minted with the store.
    pub node_id: NodeId,
    /// Absent until the store belongs to a formation of key servers.
    pub incarnation: Option<Incarnation>,
}

/// What the plain header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) identity: Identity,
    pub(super) sealing_key: SealingKeyId,
}

/// Why a header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    Foreign,
    Newer(u32),
    Older(u32),
    Damaged,
}

impl Header {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LENGTH);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_be_bytes());
        out.extend_from_slice(&self.identity.node_id.to_be_bytes());
        out.push(u8::from(self.identity.incarnation.is_some()));
        out.extend_from_slice(&self.identity.incarnation.map_or([0; 16], |it| it.0));
        out.extend_from_slice(&self.sealing_key);
        let sum = checksum(&out);
        out.extend_from_slice(&sum);
        out
    }

    pub(super) fn parse(octets: &[u8]) -> Result<Self, HeaderError> {
        let (magic, rest) = octets
            .split_first_chunk::<8>()
            .ok_or(HeaderError::Foreign)?;
        if magic != MAGIC {
            return Err(HeaderError::Foreign);
        }
        let (format, rest) = rest.split_first_chunk::<4>().ok_or(HeaderError::Damaged)?;
        let format = u32::from_be_bytes(*format);
        if format > FORMAT {
            return Err(HeaderError::Newer(format));
        }
        if format > 0 && format < FORMAT {
            return Err(HeaderError::Older(format));
        }
        let body = octets.len().checked_sub(8).ok_or(HeaderError::Damaged)?;
        let (covered, sum) = octets.split_at_checked(body).ok_or(HeaderError::Damaged)?;
        if format == 0 || octets.len() != HEADER_LENGTH || checksum(covered) != sum {
            return Err(HeaderError::Damaged);
        }
        let (node_id, rest) = rest.split_first_chunk::<8>().ok_or(HeaderError::Damaged)?;
        let (present, rest) = rest.split_first().ok_or(HeaderError::Damaged)?;
        let (incarnation, rest) = rest.split_first_chunk::<16>().ok_or(HeaderError::Damaged)?;
        let (sealing_key, _) = rest.split_first_chunk::<8>().ok_or(HeaderError::Damaged)?;
        Ok(Self {
            identity: Identity {
                node_id: NodeId::from_be_bytes(*node_id),
                incarnation: (*present == 1).then_some(Incarnation(*incarnation)),
            },
            sealing_key: *sealing_key,
        })
    }
}

/// What a record is bound to when it is sealed.
pub(super) fn context(node_id: NodeId, table: &str, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + table.len() + key.len());
    out.extend_from_slice(&node_id.to_be_bytes());
    out.extend_from_slice(table.as_bytes());
    out.push(0);
    out.extend_from_slice(key);
    out
}

/// A record's octets do not have the expected layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record of another layout: {0}")]
pub(super) struct LayoutError(String);

#[derive(Serialize, Deserialize)]
struct Position {
    term: u64,
    leader: NodeId,
    index: u64,
}

#[derive(Serialize, Deserialize)]
struct VoteRecord {
    term: u64,
    node: NodeId,
    committed: bool,
}

#[derive(Serialize, Deserialize)]
struct NodeRecord {
    name: String,
    raft_address: String,
    ike_addresses: Vec<std::net::IpAddr>,
    admin_address: String,
    priority: u8,
    retired: Vec<(NodeId, String)>,
}

#[derive(Serialize, Deserialize)]
struct MembershipRecord {
    configurations: Vec<BTreeSet<NodeId>>,
    nodes: BTreeMap<NodeId, NodeRecord>,
}

#[derive(Serialize, Deserialize)]
enum PayloadRecord {
    Blank,
    Command(CommandOctets),
    Membership(MembershipRecord),
}

#[derive(Serialize, Deserialize)]
struct EntryRecord {
    position: Position,
    payload: PayloadRecord,
}

#[derive(Serialize, Deserialize)]
struct MetaRecord {
    last: Option<Position>,
    membership_position: Option<Position>,
    membership: MembershipRecord,
}

impl From<&LogId> for Position {
    fn from(id: &LogId) -> Self {
        Self {
            term: id.committed_leader_id().term,
            leader: id.committed_leader_id().node_id,
            index: id.index(),
        }
    }
}

impl From<Position> for LogId {
    fn from(position: Position) -> Self {
        Self::new(
            CommittedLeaderId {
                term: position.term,
                node_id: position.leader,
            },
            position.index,
        )
    }
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> Self {
        Self {
            configurations: membership.get_joint_config().clone(),
            nodes: membership
                .nodes()
                .map(|(id, node)| {
                    let node = node.clone();
                    let record = NodeRecord {
                        name: node.name,
                        raft_address: node.raft_address,
                        ike_addresses: node.ike_addresses,
                        admin_address: node.admin_address,
                        priority: node.priority,
                        retired: node
                            .retired
                            .into_iter()
                            .map(|retired| (retired.node_id, retired.name))
                            .collect(),
                    };
                    (*id, record)
                })
                .collect(),
        }
    }
}

impl TryFrom<MembershipRecord> for Membership {
    type Error = LayoutError;

    fn try_from(record: MembershipRecord) -> Result<Self, LayoutError> {
        let nodes: BTreeMap<NodeId, KeyServerNode> = record
            .nodes
            .into_iter()
            .map(|(id, node)| {
                let node = KeyServerNode {
                    name: node.name,
                    raft_address: node.raft_address,
                    ike_addresses: node.ike_addresses,
                    admin_address: node.admin_address,
                    priority: node.priority,
                    retired: node
                        .retired
                        .into_iter()
                        .map(|(node_id, name)| Retired { node_id, name })
                        .collect(),
                };
                (id, node)
            })
            .collect();
        if record.configurations.is_empty() && nodes.is_empty() {
            return Ok(Self::default());
        }
        Self::new(record.configurations, nodes).map_err(|error| LayoutError(error.to_string()))
    }
}

fn write<T: Serialize>(record: &T) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(postcard::to_stdvec(record).expect("records serialise to memory"))
}

fn parse<'a, T: Deserialize<'a>>(octets: &'a [u8]) -> Result<T, LayoutError> {
    let (record, rest) =
        postcard::take_from_bytes(octets).map_err(|error| LayoutError(error.to_string()))?;
    if rest.is_empty() {
        Ok(record)
    } else {
        Err(LayoutError(format!("{} octets too long", rest.len())))
    }
}

pub(super) fn write_position(id: &LogId) -> Zeroizing<Vec<u8>> {
    write(&Position::from(id))
}

pub(super) fn parse_position(octets: &[u8]) -> Result<LogId, LayoutError> {
    parse::<Position>(octets).map(LogId::from)
}

pub(super) fn write_vote(vote: &Vote) -> Zeroizing<Vec<u8>> {
    write(&VoteRecord {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        committed: vote.committed,
    })
}

pub(super) fn parse_vote(octets: &[u8]) -> Result<Vote, LayoutError> {
    let record: VoteRecord = parse(octets)?;
    Ok(Vote {
        leader_id: CommittedLeaderId {
            term: record.term,
            node_id: record.node,
        },
        committed: record.committed,
    })
}

pub(super) fn write_entry(entry: &Entry) -> Zeroizing<Vec<u8>> {
    write(&EntryRecord {
        position: Position::from(&entry.log_id),
        payload: match &entry.payload {
            EntryPayload::Blank => PayloadRecord::Blank,
            EntryPayload::Normal(command) => PayloadRecord::Command(command.clone()),
            EntryPayload::Membership(membership) => PayloadRecord::Membership(membership.into()),
        },
    })
}

pub(super) fn parse_entry(octets: &[u8]) -> Result<Entry, LayoutError> {
    let record: EntryRecord = parse(octets)?;
    Ok(Entry {
        log_id: record.position.into(),
        payload: match record.payload {
            PayloadRecord::Blank => EntryPayload::Blank,
            PayloadRecord::Command(command) => EntryPayload::Normal(command),
            PayloadRecord::Membership(membership) => {
                EntryPayload::Membership(membership.try_into()?)
            }
        },
    })
}

pub(super) fn write_meta(meta: &SnapshotMeta) -> Zeroizing<Vec<u8>> {
    write(&MetaRecord {
        last: meta.last_log_id.as_ref().map(Position::from),
        membership_position: meta.last_membership.log_id().as_ref().map(Position::from),
        membership: meta.last_membership.membership().into(),
    })
}

pub(super) fn parse_meta(octets: &[u8]) -> Result<SnapshotMeta, LayoutError> {
    let record: MetaRecord = parse(octets)?;
    Ok(SnapshotMeta {
        last_log_id: record.last.map(LogId::from),
        last_membership: StoredMembership::new(
            record.membership_position.map(LogId::from),
            record.membership.try_into()?,
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            identity: Identity {
                node_id: 0x0102_0304_0506_0708,
                incarnation: Some(Incarnation([9; 16])),
            },
            sealing_key: [3; 8],
        }
    }

    #[test]
    fn a_header_reads_back_as_written() {
        assert_eq!(Header::parse(&header().write()), Ok(header()));
        let fresh = Header {
            identity: Identity {
                incarnation: None,
                ..header().identity
            },
            ..header()
        };
        assert_eq!(Header::parse(&fresh.write()), Ok(fresh));
    }

    #[test]
    fn a_damaged_header_is_told_apart_from_a_foreign_and_a_newer_one() {
        let good = header().write();
        let mut damaged = good.clone();
        damaged[20] ^= 1;
        assert_eq!(Header::parse(&damaged), Err(HeaderError::Damaged));
        assert_eq!(Header::parse(&good[..30]), Err(HeaderError::Damaged));
        assert_eq!(
            Header::parse(b"SQLite format 3\0"),
            Err(HeaderError::Foreign)
        );
        let mut other = good;
        other[11] = 3;
        assert_eq!(Header::parse(&other), Err(HeaderError::Newer(3)));
        other[11] = 1;
        assert_eq!(Header::parse(&other), Err(HeaderError::Older(1)));
    }

    #[test]
    fn what_was_removed_is_still_known_after_a_restart() {
        let node = KeyServerNode {
            name: "ks-0".to_owned(),
            retired: vec![Retired {
                node_id: 7,
                name: "ks-2".to_owned(),
            }],
            ..KeyServerNode::default()
        };
        let membership = Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, node)]))
            .expect("one voter");
        let meta = SnapshotMeta {
            last_membership: StoredMembership::new(None, membership),
            ..SnapshotMeta::default()
        };
        assert_eq!(parse_meta(&write_meta(&meta)), Ok(meta));
    }

    #[test]
    fn trailing_octets_in_a_record_are_refused() {
        let vote = Vote::new(3, 4);
        let mut record = write_vote(&vote).to_vec();
        assert_eq!(parse_vote(&record), Ok(vote));
        record.push(0);
        assert!(parse_vote(&record).is_err());
    }
}
