//! Who is primary, as far as this key server can prove it.
//!
//! "I lead" in openraft's metrics is no proof. A node counts as primary only after a majority
//! confirmed its leadership and everything committed before was applied here, and only as long as
//! a majority keeps answering.

use std::fmt;
use std::time::{Duration, Instant};

use openraft::async_runtime::WatchReceiver;
use openraft::{Instant as _, ReadPolicy};
use tokio::sync::watch;

use super::state_machine::Application;
use super::types::{KeyServerNode, Raft};

/// What this key server is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Belongs to no formation yet, or has not caught up since its start.
    Joining,
    /// The only one that mints keys.
    Primary {
        /// Term of its leadership.
        term: u64,
        /// Everything up to this log position was applied here when it became primary.
        index: u64,
    },
    /// Serves with what is committed.
    Replica {
        /// The primary; absent when none was heard within the election timeout.
        primary: Option<KeyServerNode>,
    },
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joining => formatter.write_str("joining"),
            Self::Primary { term, .. } => write!(formatter, "primary of term {term}"),
            Self::Replica {
                primary: Some(primary),
            } => write!(formatter, "replica of {}", primary.name),
            Self::Replica { primary: None } => formatter.write_str("replica without a primary"),
        }
    }
}

/// Follows the consensus and publishes the role until `roles` has no receiver or the node stops.
pub(super) async fn watch_role<A: Application>(
    raft: Raft<A>,
    leader_heard: watch::Receiver<Option<Instant>>,
    lease: Duration,
    roles: watch::Sender<Role>,
) {
    let mut metrics = raft.metrics();
    let mut confirmed: Option<(u64, u64)> = None;
    let mut recovered = false;
    loop {
        let (leads, term, acknowledged, running, empty) = {
            let metrics = metrics.borrow_and_update();
            (
                metrics.state.is_leader(),
                metrics.current_term,
                metrics.last_quorum_acked.as_ref().map(|at| at.elapsed()),
                metrics.running_state.is_ok(),
                metrics.last_log_index.is_none(),
            )
        };
        if !running {
            roles.send_if_modified(|role| set(role, Role::Joining));
            return;
        }
        let alone = raft.voter_ids().count() == 1;
        let role = if leads {
            if confirmed.is_none_or(|(of, _)| of != term) {
                confirmed = confirm(&raft, lease).await.map(|index| (term, index));
            }
            // Proposals are refused by the consensus itself once the lease is over; this only decides
            // when to say so, and a busy host is not a lost majority.
            let held = alone || acknowledged.is_some_and(|ago| ago < lease * 2);
            match confirmed {
                Some((term, index)) if held => Role::Primary { term, index },
                _ => {
                    confirmed = None;
                    Role::Replica { primary: None }
                }
            }
        } else {
            confirmed = None;
            // A node that has just started may be behind what it had shown before. Asking the consensus whether it has
            // begun would change its metrics, and this loop would never rest.
            if !recovered && !empty {
                recovered = raft.wait_for_recovery(Some(lease)).await.is_ok();
            }
            if recovered {
                Role::Replica {
                    primary: heard(&leader_heard, lease).then(|| leader(&raft)).flatten(),
                }
            } else {
                Role::Joining
            }
        };
        recovered |= confirmed.is_some();
        roles.send_if_modified(|current| set(current, role));
        // The lease can end without any change of the metrics.
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { return; },
            () = tokio::time::sleep(lease / 4) => {}
            () = roles.closed() => return,
        }
    }
}

fn set(current: &mut Role, new: Role) -> bool {
    let differs = *current != new;
    if differs {
        tracing::info!(from = %current, to = %new, "role");
        *current = new;
    }
    differs
}

fn heard(leader_heard: &watch::Receiver<Option<Instant>>, lease: Duration) -> bool {
    leader_heard
        .borrow()
        .is_some_and(|at| runtime::clock::now().duration_since(at) < lease * 2)
}

fn leader<A: Application>(raft: &Raft<A>) -> Option<KeyServerNode> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let leader = metrics.current_leader?;
    metrics.membership_config.get_node(&leader).cloned()
}

/// Proves leadership by a majority and waits until all that was committed is applied.
async fn confirm<A: Application>(raft: &Raft<A>, lease: Duration) -> Option<u64> {
    let proof = raft.ensure_linearizable(ReadPolicy::ReadIndex);
    match tokio::time::timeout(lease, proof).await {
        Ok(Ok(read)) => Some(read.index()),
        _ => None,
    }
}
