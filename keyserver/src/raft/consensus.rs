//! The running consensus of one key server: everything of this folder put together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keyserver_core::cooperation::{self, Occasion, transfer_target};
use openraft::async_runtime::WatchReceiver;
use openraft::{Config, Instant as _, SnapshotPolicy};
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::proposal::Proposer;
use super::role::{Role, watch_role};
use super::state_machine::{Application, StateMachine};
use super::steward::{InitialMember, Steward, tie_break};
use super::transport::{Network, Peers, Service, serve};
use super::types::{KeyServerNode, NodeId, Raft};
use crate::storage::Store;

/// Entries between two snapshots.
const SNAPSHOT_ENTRIES: u64 = 1000;
/// Octets of entries between two snapshots, when that is sooner.
const SNAPSHOT_OCTETS: usize = 16 << 20;
/// How often the octets are looked at.
const SNAPSHOT_CHECK: Duration = Duration::from_secs(5);
/// How many entries behind a voter may be that is asked to lead.
const CAUGHT_UP: u64 = 10;
/// Entries kept behind a snapshot, for key servers that lag a little.
const KEPT_ENTRIES: u64 = 500;

/// Times of the consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between heartbeats of the leader.
    pub heartbeat: Duration,
    /// Shortest time without a leader before an election.
    pub election_minimum: Duration,
    /// Longest; also how long a leader stays one without a majority.
    pub election_maximum: Duration,
    /// After how long a silent voter's place is given to a learner.
    pub voter_replacement: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(150),
            election_minimum: Duration::from_millis(500),
            election_maximum: Duration::from_millis(1000),
            voter_replacement: Duration::from_secs(30),
        }
    }
}

/// What a consensus is started with.
pub struct Settings {
    /// What this key server tells the others about itself.
    pub node: KeyServerNode,
    /// Where it listens for them.
    pub listen: SocketAddr,
    /// Who forms the group, in order.
    pub initial_members: Vec<InitialMember>,
    /// How it proves itself to those who connect.
    pub server_tls: Arc<ServerConfig>,
    /// How it proves itself where it connects.
    pub client_tls: Arc<ClientConfig>,
    /// Times.
    pub timing: Timing,
}

/// Why the consensus did not start.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The address is taken or not ours.
    #[error(
        "cooperative.listen {address}: {cause}; another process uses it, or it is no address of this host"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's words.
        cause: String,
    },
    /// The times contradict each other.
    #[error("timing: {0}")]
    Timing(String),
    /// The stored state cannot be taken over.
    #[error("the stored state cannot be restored: {0}")]
    Start(String),
}

/// A running node.
pub struct Consensus<A: Application> {
    raft: Raft<A>,
    peers: Peers,
    store: Store,
    role: watch::Receiver<Role>,
    waiting: Arc<watch::Sender<Option<String>>>,
    timing: Timing,
    tasks: JoinSet<()>,
}

impl<A: Application> Consensus<A> {
    /// Starts the node of `store`: listens, restores the state, and forms or joins the group.
    ///
    /// # Errors
    /// [`ConsensusError`].
    pub async fn start(
        settings: Settings,
        store: Store,
        application: A,
    ) -> Result<Self, ConsensusError> {
        let listener =
            TcpListener::bind(settings.listen)
                .await
                .map_err(|error| ConsensusError::Listen {
                    address: settings.listen,
                    cause: error.to_string(),
                })?;
        let config = configuration(&settings.timing)?;
        let peers = Peers::new(store.clone(), settings.client_tls);
        let node_id = store.node_id();
        let raft = Raft::new(
            node_id,
            Arc::new(config),
            Network::new(peers.clone(), node_id),
            store.clone(),
            StateMachine::new(application, store.clone()),
        )
        .await
        .map_err(|error| ConsensusError::Start(error.to_string()))?;
        let service = Arc::new(Service::new(
            raft.clone(),
            store.clone(),
            settings.node.clone(),
        ));
        let (roles, role) = watch::channel(Role::Joining);
        let waiting = Arc::new(watch::Sender::new(None));
        let mut tasks = JoinSet::new();
        tasks.spawn(watch_role(
            raft.clone(),
            service.leader_heard(),
            settings.timing.election_maximum,
            roles,
        ));
        tasks.spawn(serve(
            listener,
            TlsAcceptor::from(settings.server_tls),
            service,
        ));
        let steward = Steward::new(
            raft.clone(),
            store.clone(),
            peers.clone(),
            settings.node,
            settings.initial_members,
            settings.timing.voter_replacement,
            role.clone(),
            waiting.clone(),
        );
        tasks.spawn(steward.run());
        tasks.spawn(bound_log(raft.clone(), store.clone()));
        Ok(Self {
            raft,
            peers,
            store,
            role,
            waiting,
            timing: settings.timing,
            tasks,
        })
    }

    /// The library's handle, for metrics.
    pub fn raft(&self) -> &Raft<A> {
        &self.raft
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What this key server is, as it changes.
    pub fn role(&self) -> watch::Receiver<Role> {
        self.role.clone()
    }

    /// Why the group is not formed yet, as it changes.
    pub fn waiting(&self) -> watch::Receiver<Option<String>> {
        self.waiting.subscribe()
    }

    /// Gives commands to the leader, wherever it is.
    pub fn proposer(&self) -> Proposer<A> {
        Proposer::new(self.raft.clone(), self.peers.clone())
    }

    /// Hands leadership on, if this node leads.
    pub fn successor(&self) -> Handover<A> {
        Handover {
            raft: self.raft.clone(),
            timeout: self.timing.election_maximum * 3,
        }
    }

    /// Hands leadership on and stops.
    pub async fn shutdown(mut self) {
        self.successor().hand_over(None).await;
        // The task has ended already when this fails.
        let _ = self.raft.shutdown().await;
        self.peers.close();
        self.tasks.shutdown().await;
    }
}

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

impl<A: Application> Handover<A> {
    /// Hands leadership to `target`, or to the most up to date voter with the highest priority.
    ///
    /// Returns the new leader; `None` when this node did not lead, nobody could take over, or the
    /// target did not within three election timeouts.
    pub async fn hand_over(&self, target: Option<NodeId>) -> Option<NodeId> {
        let target = target.or_else(|| self.candidate())?;
        self.raft.trigger().transfer_leader(target).await.ok()?;
        self.raft
            .wait(Some(self.timeout))
            .metrics(
                |metrics| metrics.current_leader == Some(target),
                "leadership was handed over",
            )
            .await
            .ok()
            .and_then(|metrics| metrics.current_leader)
    }

    /// The reachable voter that should lead next, by priority.
    fn candidate(&self) -> Option<NodeId> {
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
        let servers: Vec<cooperation::View> = membership
            .nodes()
            .map(|(id, node)| cooperation::View {
                name: node.name.clone(),
                priority: node.priority,
                address: tie_break(node),
                voter: voters.contains(id),
                caught_up: caught_up(id),
            })
            .collect();
        let own = membership.get_node(&metrics.id)?;
        let target = transfer_target(&servers, &own.name, Occasion::StepDown)?;
        membership
            .nodes()
            .find(|(id, node)| node.name == target.name && voters.contains(id))
            .map(|(id, _)| *id)
    }
}

/// Asks for a snapshot when the log has grown by many octets, however few entries they are.
async fn bound_log<A: Application>(raft: Raft<A>, store: Store) {
    loop {
        tokio::time::sleep(SNAPSHOT_CHECK).await;
        if store.octets_since_snapshot() > SNAPSHOT_OCTETS
            && raft.trigger().snapshot().await.is_err()
        {
            return;
        }
    }
}

fn configuration(timing: &Timing) -> Result<Config, ConsensusError> {
    let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let election_maximum = milliseconds(timing.election_maximum);
    Config {
        cluster_name: "getvpn".to_owned(),
        heartbeat_interval: milliseconds(timing.heartbeat),
        election_timeout_min: milliseconds(timing.election_minimum),
        election_timeout_max: election_maximum,
        install_snapshot_timeout: 30_000,
        max_payload_entries: 64,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_ENTRIES),
        max_in_snapshot_log_to_keep: KEPT_ENTRIES,
        replication_lag_threshold: SNAPSHOT_ENTRIES + KEPT_ENTRIES,
        backoff: "50ms 100ms 200ms ..500ms".to_owned(),
        // A node that cannot win must not disturb one that leads.
        enable_pre_vote: Some(true),
        // A restarted leader is elected anew: its applied state may be behind.
        enable_leader_restore: Some(false),
        // An old leader without a majority falls silent, so that a connected majority can elect.
        quorum_loss_probe_interval: Some(election_maximum.saturating_mul(2)),
        // A log that went back is a lost volume, and that is another node.
        allow_log_reversion: Some(false),
        ..Config::default()
    }
    .validate()
    .map_err(|error| ConsensusError::Timing(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_that_keep_the_consensus_safe_are_set() {
        let config = configuration(&Timing::default()).expect("the defaults are valid");
        assert_eq!(config.enable_pre_vote, Some(true));
        assert_eq!(config.enable_leader_restore, Some(false));
        assert_eq!(config.allow_log_reversion, Some(false));
        assert!(config.quorum_loss_probe_interval >= Some(2 * config.election_timeout_max));
    }

    #[test]
    fn contradicting_times_are_refused() {
        let timing = Timing {
            election_minimum: Duration::from_millis(100),
            ..Timing::default()
        };
        assert!(matches!(
            configuration(&timing),
            Err(ConsensusError::Timing(_))
        ));
    }
}
