//! Proposing a command from any key server.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};

use super::state_machine::Application;
use super::transport::{Answer, Applied, CallError, Lane, Peers, ProposalRefusal, Request};
use super::types::{CommandOctets, KeyServerNode, NodeId, Raft};

const PAUSE: Duration = Duration::from_millis(50);

/// Why a command has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// No primary was found; the command was not proposed.
    #[error("there is no primary: no majority of the key servers can be reached")]
    NoPrimary,
    /// The command may have been committed, or may be later. Ask again with the same command only
    /// if it carries its own identity.
    #[error("it is not known whether the command took effect: {0}")]
    Unknown(String),
}

/// Gives commands to the leader, wherever it is.
pub struct Proposer<A: Application> {
    raft: Raft<A>,
    peers: Peers,
}

impl<A: Application> Clone for Proposer<A> {
    fn clone(&self) -> Self {
        Self {
            raft: self.raft.clone(),
            peers: self.peers.clone(),
        }
    }
}

impl<A: Application> Proposer<A> {
    /// A proposer of the node that runs `raft`.
    pub fn new(raft: Raft<A>, peers: Peers) -> Self {
        Self { raft, peers }
    }

    /// Proposes `command` and waits until it is committed and applied.
    ///
    /// # Errors
    /// [`ProposeError`]: either nothing happened, or the end is unknown.
    pub async fn propose(
        &self,
        command: CommandOctets,
        timeout: Duration,
    ) -> Result<Applied, ProposeError> {
        let deadline = runtime::clock::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(runtime::clock::now());
            if left.is_zero() {
                return Err(ProposeError::NoPrimary);
            }
            if let Some(result) = self.attempt(command.clone(), left).await {
                return result;
            }
            tokio::time::sleep(PAUSE.min(left)).await;
        }
    }

    /// One try; `None` when nothing was proposed and another try may succeed.
    async fn attempt(
        &self,
        command: CommandOctets,
        left: Duration,
    ) -> Option<Result<Applied, ProposeError>> {
        if !self.raft.is_leader() {
            let (leader, node) = self.leader()?;
            return self.forward(leader, &node, command, left).await;
        }
        match tokio::time::timeout(left, self.raft.client_write(command)).await {
            Ok(Ok(written)) => Some(Ok(Applied {
                index: written.log_id.index(),
                outcome: written.data,
            })),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => None,
            Ok(Err(error)) => Some(Err(ProposeError::Unknown(error.to_string()))),
            Err(_) => Some(Err(ProposeError::Unknown(
                "no majority answered in time".to_owned(),
            ))),
        }
    }

    async fn forward(
        &self,
        leader: NodeId,
        node: &KeyServerNode,
        command: CommandOctets,
        left: Duration,
    ) -> Option<Result<Applied, ProposeError>> {
        let request = Request::Propose(command);
        let unknown = |why: String| Some(Err(ProposeError::Unknown(why)));
        match self
            .peers
            .call(&node.raft_address, Lane::Proposals, leader, request, left)
            .await
        {
            Ok(Answer::Propose(Ok(applied))) => Some(Ok(applied)),
            Ok(Answer::Propose(Err(ProposalRefusal::Unknown(why)))) => unknown(why),
            Ok(Answer::Propose(Err(ProposalRefusal::NotLeader)))
            | Err(CallError::Unreachable(_) | CallError::Refused(_)) => None,
            Ok(_) => unknown("the primary's answer is of another kind".to_owned()),
            Err(error) => unknown(error.to_string()),
        }
    }

    fn leader(&self) -> Option<(NodeId, KeyServerNode)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader?;
        let node = metrics.membership_config.get_node(&leader)?.clone();
        (leader != metrics.id).then_some((leader, node))
    }
}
