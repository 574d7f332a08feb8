//! openraft's network over [`Peers`].

use std::future::Future;
use std::time::Duration;

use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2};

use super::connection::CallError;
use super::frame::{Answer, Request, SnapshotChunk};
use super::peers::{Lane, Peers, unexpected};
use crate::raft::types::{
    CommandOctets, KeyServerNode, NodeId, Snapshot, SnapshotOctets, Types, Vote,
};

const CHUNK: usize = 1 << 20;
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);
/// A log append waits for the follower's disk; a slow disk must not look like a lost peer.
const APPEND_TIMEOUT: Duration = Duration::from_secs(3);

/// Makes a client for each peer.
pub struct Network {
    peers: Peers,
    own: NodeId,
}

impl Network {
    /// A network of node `own` over `peers`.
    pub fn new(peers: Peers, own: NodeId) -> Self {
        Self { peers, own }
    }

    fn client(&self, target: NodeId, node: &KeyServerNode, append: Lane) -> Client {
        Client {
            peers: self.peers.clone(),
            own: self.own,
            target,
            address: node.raft_address.clone(),
            append,
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: NodeId, node: &KeyServerNode) -> Client {
        self.client(target, node, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &KeyServerNode) -> Client {
        self.client(target, node, Lane::Control)
    }
}

/// Speaks with one peer for openraft.
pub struct Client {
    peers: Peers,
    own: NodeId,
    target: NodeId,
    address: String,
    append: Lane,
}

impl Client {
    async fn call(
        &self,
        lane: Lane,
        request: Request,
        timeout: Duration,
    ) -> Result<Answer, CallError> {
        self.peers
            .call(&self.address, lane, self.target, request, timeout)
            .await
    }

    /// A peer without entries it acknowledged is treated as gone: believing it could undo a commit.
    fn rolled_back(&self) -> RPCError<Types> {
        let what = "its log lacks entries it had acknowledged: its volume was rolled back; empty its dataDirectory and let it join anew";
        tracing::warn!(peer = self.address, what, "a key server is not believed");
        RPCError::Unreachable(Unreachable::from_string(what))
    }

    fn failed(&self, action: RPCTypes, error: CallError) -> RPCError<Types> {
        match error {
            CallError::TimedOut(timeout) => RPCError::Timeout(Timeout {
                action,
                id: self.own,
                target: self.target,
                timeout,
            }),
            CallError::Closed(_) => RPCError::Network(NetworkError::new(&error)),
            // Nothing can be gained by asking again at once.
            CallError::Unreachable(_) => RPCError::Unreachable(Unreachable::new(&error)),
            CallError::Refused(ref refusal) => {
                self.peers.say_refused(&self.address, refusal);
                RPCError::Unreachable(Unreachable::new(&error))
            }
        }
    }
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = SnapshotOctets;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let timeout = match self.append {
            Lane::Log => option.hard_ttl().max(APPEND_TIMEOUT),
            Lane::Control | Lane::Snapshot | Lane::Proposals => option.soft_ttl(),
        };
        let (vote, previous) = (rpc.vote, rpc.prev_log_id.map(|id| id.index()));
        let last = rpc
            .entries
            .last()
            .map(|entry| entry.log_id.index())
            .or(previous);
        match self.call(self.append, Request::Append(rpc), timeout).await {
            Ok(Answer::Append(answer)) => {
                let (held, lacks) = match &answer {
                    AppendEntriesResponse::Success => (last, None),
                    AppendEntriesResponse::PartialSuccess(id) => (id.map(|id| id.index()), None),
                    AppendEntriesResponse::Conflict => (None, previous),
                    AppendEntriesResponse::HigherVote(_) => (None, None),
                };
                if self.peers.lost_acknowledged(self.target, vote, held, lacks) {
                    return Err(self.rolled_back());
                }
                Ok(answer)
            }
            Ok(_) => Err(self.failed(RPCTypes::AppendEntries, unexpected())),
            Err(error) => Err(self.failed(RPCTypes::AppendEntries, error)),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self
            .call(Lane::Control, Request::Vote(rpc), option.soft_ttl())
            .await
        {
            Ok(Answer::Vote(answer)) => Ok(answer),
            Ok(_) => Err(self.failed(RPCTypes::Vote, unexpected())),
            Err(error) => Err(self.failed(RPCTypes::Vote, error)),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self
            .call(Lane::Control, Request::PreVote(rpc), option.soft_ttl())
            .await
        {
            Ok(Answer::PreVote(answer)) => Ok(answer),
            Ok(_) => Err(self.failed(RPCTypes::Vote, unexpected())),
            Err(error) => Err(self.failed(RPCTypes::Vote, error)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let transfer = u64::from_be_bytes(runtime::entropy::bytes());
        let octets = snapshot.snapshot.as_slice();
        let send = async {
            let mut offset = 0;
            loop {
                let end = octets.len().min(offset + CHUNK);
                let last = end == octets.len();
                let chunk = SnapshotChunk {
                    vote,
                    meta: snapshot.meta.clone(),
                    transfer,
                    offset: offset as u64,
                    data: CommandOctets::new(octets.get(offset..end).unwrap_or_default().to_vec()),
                    last,
                };
                match self
                    .call(Lane::Snapshot, Request::Snapshot(chunk), CHUNK_TIMEOUT)
                    .await
                {
                    Ok(Answer::Snapshot(Some(answer))) if last => return Ok(answer),
                    Ok(Answer::Snapshot(None)) if !last => offset = end,
                    Ok(_) => {
                        return Err(self.failed(RPCTypes::InstallSnapshot, unexpected()).into());
                    }
                    Err(error) => {
                        return Err(self.failed(RPCTypes::InstallSnapshot, error).into());
                    }
                }
            }
        };
        tokio::select! {
            result = send => result,
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self
            .call(
                Lane::Control,
                Request::TransferLeader(request),
                option.soft_ttl(),
            )
            .await
        {
            Ok(Answer::TransferLeader(answer)) => Ok(answer),
            Ok(_) => Err(self.failed(RPCTypes::TransferLeader, unexpected())),
            Err(error) => Err(self.failed(RPCTypes::TransferLeader, error)),
        }
    }
}
