//! What travels between key servers: a length, a version, and one message.
//!
//! Every frame carries the incarnation and both node identities, so that a frame that reaches the
//! wrong process, or one of another formation, is refused before it is understood.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::raft::types::{
    CommandOctets, Incarnation, KeyServerNode, NodeId, OutcomeOctets, SnapshotMeta, Types, Vote,
};

/// Version of this layout.
pub(crate) const VERSION: u8 = 2;
/// Longest frame accepted. Peers are authenticated before; this bounds mistakes.
const LONGEST: usize = 64 << 20;
/// A frame for whoever answers at the address.
pub(crate) const ANYONE: NodeId = 0;

/// One message with its envelope.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Frame {
    /// Formation the sender belongs to, if it belongs to one.
    pub(crate) incarnation: Option<Incarnation>,
    /// Node that sends.
    pub(crate) sender: NodeId,
    /// Node that is meant, or [`ANYONE`].
    pub(crate) target: NodeId,
    /// Joins an answer to its request within one connection.
    pub(crate) id: u64,
    /// The message.
    pub(crate) body: Body,
}

/// A request or its answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Body {
    Request(Box<Request>),
    Answer(Box<Result<Answer, Refusal>>),
}

/// What one key server asks of another.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Who are you? With a description when the sender has an empty log and wants to be taken in.
    Hello(Option<Box<KeyServerNode>>),
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    TransferLeader(TransferLeaderRequest<Types>),
    Snapshot(SnapshotChunk),
    Propose(CommandOctets),
}

/// Part of a snapshot; chunks of one transfer arrive in order on one connection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotChunk {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    pub(crate) transfer: u64,
    pub(crate) offset: u64,
    pub(crate) data: CommandOctets,
    pub(crate) last: bool,
}

/// Answer to a [`Request`] of the same name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Hello(Hello),
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    PreVote(VoteResponse<Types>),
    TransferLeader(TransferLeaderResponse<Types>),
    /// Present for the last chunk.
    Snapshot(Option<SnapshotResponse<Types>>),
    Propose(Result<Applied, ProposalRefusal>),
}

/// Who answers at an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its node identity.
    pub node_id: NodeId,
    /// What it says about itself.
    pub node: KeyServerNode,
    /// Formation it belongs to.
    pub incarnation: Option<Incarnation>,
    /// Whether it has a log.
    pub initialised: bool,
    /// Name of the key server that, by its configuration, forms the group.
    pub founder: String,
}

/// A command was committed and applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Position in the log.
    pub index: u64,
    /// What applying it gave.
    pub outcome: OutcomeOctets,
}

/// Why a forwarded command has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProposalRefusal {
    /// The node does not lead; nothing was proposed.
    NotLeader,
    /// The command may or may not be committed later.
    Unknown(String),
}

/// Why a request was not handled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// The two nodes belong to different formations.
    #[error(
        "it belongs to incarnation {0}, not to ours: the data of two formations is never mixed"
    )]
    Incarnation(Incarnation),
    /// A frame without an incarnation asks for more than hello.
    #[error("it takes nothing from a key server that belongs to no incarnation yet")]
    NoIncarnation,
    /// Another data directory answers at this address.
    #[error("node {0:016x} answers at this address; the expected one lost its volume or moved")]
    OtherNode(NodeId),
    /// The sender was removed from the group on purpose.
    #[error(
        "this key server was removed from the group; delete it, or empty its dataDirectory to let it join anew"
    )]
    Removed,
    /// Its consensus has stopped.
    #[error("its consensus has stopped: {0}")]
    Stopped(String),
    /// A snapshot chunk does not continue what came before.
    #[error("the snapshot transfer was interrupted")]
    SnapshotOrder,
    /// It cannot store to which formation it belongs.
    #[error("its store refuses: {0}")]
    Store(String),
}

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("connection failed")]
    Io(#[from] std::io::Error),
    #[error("frame of {0} octets is longer than {LONGEST}")]
    TooLong(usize),
    #[error("frame version {0}, this program knows {VERSION}")]
    Version(u8),
    #[error("frame cannot be read: {0}")]
    Layout(#[from] postcard::Error),
}

/// Encodes a frame with its length.
pub(crate) fn encode(frame: &Frame) -> Result<Zeroizing<Vec<u8>>, FrameError> {
    let body = Zeroizing::new(postcard::to_stdvec(frame)?);
    let length = body.len() + 1;
    if length > LONGEST {
        return Err(FrameError::TooLong(length));
    }
    let prefix = u32::try_from(length).map_err(|_| FrameError::TooLong(length))?;
    let mut out = Zeroizing::new(Vec::with_capacity(length + 4));
    out.extend_from_slice(&prefix.to_be_bytes());
    out.push(VERSION);
    out.extend_from_slice(&body);
    Ok(out)
}

/// Reads one frame.
pub(crate) async fn read<R: AsyncRead + Unpin>(reader: &mut R) -> Result<Frame, FrameError> {
    let length = usize::try_from(reader.read_u32().await?).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(FrameError::TooLong(length));
    }
    let mut octets = Zeroizing::new(vec![0; length]);
    reader.read_exact(&mut octets).await?;
    match octets.split_first() {
        Some((&VERSION, body)) => Ok(postcard::from_bytes(body)?),
        Some((version, _)) => Err(FrameError::Version(*version)),
        None => Err(FrameError::Version(0)),
    }
}

/// Writes one encoded frame.
pub(crate) async fn write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    octets: &[u8],
) -> Result<(), FrameError> {
    writer.write_all(octets).await?;
    writer.flush().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        Frame {
            incarnation: Some(Incarnation([3; 16])),
            sender: 1,
            target: ANYONE,
            id: 9,
            body: Body::Request(Box::new(Request::Propose(CommandOctets::new(vec![5; 40])))),
        }
    }

    #[tokio::test]
    async fn a_frame_survives_the_wire() {
        let octets = encode(&frame()).expect("encodes");
        let read = read(&mut octets.as_slice()).await.expect("decodes");
        assert_eq!(format!("{read:?}"), format!("{:?}", frame()));
    }

    #[tokio::test]
    async fn an_unknown_version_and_an_absurd_length_are_refused() {
        let mut octets = encode(&frame()).expect("encodes");
        octets[4] = 9;
        assert!(matches!(
            read(&mut octets.as_slice()).await,
            Err(FrameError::Version(9))
        ));
        octets[0] = 0xff;
        assert!(matches!(
            read(&mut octets.as_slice()).await,
            Err(FrameError::TooLong(_))
        ));
    }

    #[tokio::test]
    async fn a_truncated_frame_is_an_error_and_no_panic() {
        let octets = encode(&frame()).expect("encodes");
        for length in 0..octets.len() {
            assert!(read(&mut &octets[..length]).await.is_err());
        }
    }
}
