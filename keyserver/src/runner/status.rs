//! What the key server tells about itself and the others.

use std::time::{Duration, Instant};

use keyserver_api::status::{PeerStatus, ServerRole, ServerStatus};
use keyserver_core::server::KeyServer;
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;

use super::{Links, RunnerApplication};
use crate::raft::Role;
use crate::raft::types::Raft;

/// A peer that acknowledged nothing for so long counts as not reachable.
const REACHABLE: Duration = Duration::from_secs(3);

/// Admin address of the primary, when it is another key server and known.
pub(super) fn primary_admin_address(role: &Role) -> Option<String> {
    match role {
        Role::Replica {
            primary: Some(primary),
        } => Some(primary.admin_address.clone()),
        Role::Replica { primary: None } | Role::Primary { .. } | Role::Joining => None,
    }
}

/// Term, and how many known entries are not applied yet.
pub(super) fn progress(raft: &Raft<RunnerApplication>) -> (u64, u64) {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let applied = metrics.last_applied.map_or(0, |id| id.index());
    let known = metrics.last_log_index.unwrap_or(0);
    (metrics.current_term, known.saturating_sub(applied))
}

/// Voting key servers by whether the primary reaches them: `(reachable, unreachable)`. Only the primary knows.
pub(super) fn voters(links: &Links) -> Option<(usize, usize)> {
    if !matches!(*links.role.borrow(), Role::Primary { .. }) {
        return None;
    }
    let metrics = links.raft.metrics();
    let metrics = metrics.borrow_watched();
    let heard = metrics.heartbeat.as_ref()?;
    let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
    let reachable = voters
        .iter()
        .filter(|id| {
            **id == metrics.id
                || heard
                    .get(id)
                    .cloned()
                    .flatten()
                    .is_some_and(|at| at.elapsed() < REACHABLE)
        })
        .count();
    Some((reachable, voters.len().saturating_sub(reachable)))
}

/// The status of this key server.
pub(super) fn server(
    core: &KeyServer,
    links: &Links,
    name: &str,
    started: Instant,
    now: Instant,
) -> ServerStatus {
    let role = links.role.borrow().clone();
    let (role, primary, primary_admin_address) = match role {
        Role::Primary { .. } => (ServerRole::Primary, Some(name.to_owned()), None),
        Role::Replica {
            primary: Some(primary),
        } => (
            ServerRole::Secondary,
            Some(primary.name),
            Some(primary.admin_address),
        ),
        Role::Replica { primary: None } | Role::Joining => (ServerRole::NoQuorum, None, None),
    };
    let metrics = links.raft.metrics();
    let metrics = metrics.borrow_watched();
    let leads = role == ServerRole::Primary;
    let own_address = metrics
        .membership_config
        .get_node(&metrics.id)
        .map(|node| node.admin_address.clone());
    let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
    let mut peers: Vec<PeerStatus> = metrics
        .membership_config
        .nodes()
        .map(|(id, node)| {
            let own = *id == metrics.id;
            let acknowledged = metrics
                .heartbeat
                .as_ref()
                .and_then(|it| it.get(id).cloned().flatten());
            let matched = metrics
                .replication
                .as_ref()
                .and_then(|it| it.get(id).copied().flatten());
            let last = metrics.last_log_index.unwrap_or(0);
            PeerStatus {
                name: node.name.clone(),
                address: node.raft_address.clone(),
                priority: node.priority,
                voter: voters.contains(id),
                primary: primary.as_deref() == Some(&node.name),
                reachable: leads
                    .then(|| own || acknowledged.is_some_and(|at| at.elapsed() < REACHABLE)),
                lag: leads.then(|| {
                    if own {
                        0
                    } else {
                        last.saturating_sub(matched.map_or(0, |id| id.index()))
                    }
                }),
            }
        })
        .collect();
    peers.sort_by(|a, b| a.name.cmp(&b.name));
    ServerStatus {
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role,
        primary_admin_address: if leads {
            own_address
        } else {
            primary_admin_address
        },
        primary,
        term: metrics.current_term,
        applied_index: metrics.last_applied.map_or(0, |id| id.index()),
        peers,
        groups: core
            .group_names()
            .iter()
            .filter_map(|group| core.group_status(now, group))
            .collect(),
        uptime_seconds: now.duration_since(started).as_secs(),
    }
}
