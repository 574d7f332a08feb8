//! Handing leadership to another key server.

use std::time::Duration;

use keyserver_core::cooperation::{self, Occasion, transfer_target};
use openraft::async_runtime::WatchReceiver;
use openraft::{ChangeMembers, Instant as _};

use super::state_machine::Application;
use super::steward::tie_break;
use super::types::{KeyServerNode, NodeId, Raft};

/// How many entries behind a key server may be that is asked to lead.
const CAUGHT_UP: u64 = 10;

/// Transfers leadership.
pub struct Handover<A: Application> {
    raft: Raft<A>,
    timeout: Duration,
}

impl<A: Application> Clone for Handover<A> {
    fn clone(&self) -> Self {
        Self {
            raft: self.raft.clone(),
            timeout: self.timeout,
        }
    }
}

/// Who leads next.
struct Candidate {
    id: NodeId,
    /// Whether it has to get the vote of this node first: with two key servers only one votes.
    needs_vote: bool,
}

impl<A: Application> Handover<A> {
    /// Hands leadership on from the node of `raft`, within `timeout`.
    pub(super) fn new(raft: Raft<A>, timeout: Duration) -> Self {
        Self { raft, timeout }
    }

    /// Hands leadership to the most up to date voter with the highest priority, or to a learner
    /// when this node alone votes, and waits until it leads.
    ///
    /// Returns the new leader; `None` when this node did not lead, nobody could take over, or
    /// nobody did within three of the longest election timeouts.
    pub async fn hand_over(&self) -> Option<KeyServerNode> {
        let candidate = self.candidate()?;
        tokio::time::timeout(self.timeout, self.transfer(candidate))
            .await
            .ok()
            .flatten()
    }

    async fn transfer(&self, candidate: Candidate) -> Option<KeyServerNode> {
        let Candidate { id, needs_vote } = candidate;
        if needs_vote {
            let voters = ChangeMembers::ReplaceAllVoters([id].into());
            if let Err(error) = self.raft.change_membership(voters, true).await {
                tracing::info!(%error, "the vote could not be handed to the other key server");
                return None;
            }
        }
        self.raft.trigger().transfer_leader(id).await.ok()?;
        let metrics = self
            .raft
            .wait(None)
            .metrics(
                |metrics| {
                    metrics
                        .current_leader
                        .is_some_and(|leader| leader != metrics.id)
                },
                "leadership was handed over",
            )
            .await
            .ok()?;
        let leader = metrics.current_leader?;
        metrics.membership_config.get_node(&leader).cloned()
    }

    /// The reachable key server that should lead next, by priority.
    fn candidate(&self) -> Option<Candidate> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let last = metrics.last_log_index.unwrap_or(0);
        let replication = metrics.replication.as_ref()?;
        let heartbeats = metrics.heartbeat.as_ref()?;
        let membership = &metrics.membership_config;
        let voters: Vec<NodeId> = membership.voter_ids().collect();
        let caught_up = |id: &NodeId| {
            let matched = replication
                .get(id)
                .copied()
                .flatten()
                .map_or(0, |it| it.index());
            let heard = heartbeats.get(id).cloned().flatten();
            matched.saturating_add(CAUGHT_UP) >= last
                && heard.is_some_and(|at| at.elapsed() < self.timeout)
        };
        let needs_vote = voters == [metrics.id];
        let servers: Vec<cooperation::View> = membership
            .nodes()
            .map(|(id, node)| cooperation::View {
                name: node.name.clone(),
                priority: node.priority,
                address: tie_break(node),
                voter: needs_vote || voters.contains(id),
                caught_up: caught_up(id),
            })
            .collect();
        let own = membership.get_node(&metrics.id)?;
        let target = transfer_target(&servers, &own.name, Occasion::StepDown)?;
        membership
            .nodes()
            .find(|(id, node)| {
                node.name == target.name && (needs_vote || voters.contains(id)) && caught_up(id)
            })
            .map(|(id, _)| Candidate {
                id: *id,
                needs_vote,
            })
    }
}
