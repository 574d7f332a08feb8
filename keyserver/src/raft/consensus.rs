//! The running consensus of one key server: everything of this folder put together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, SnapshotPolicy};
use prometheus_client::metrics::counter::Counter;
use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::handover::Handover;
use super::proposal::Proposer;
use super::removal::Remover;
use super::role::{Role, watch_role};
use super::roster::Roster;
use super::state_machine::{Application, StateMachine};
use super::steward::Steward;
use super::transport::{Network, Peers, Service, serve};
use super::types::Raft;
use crate::storage::Store;

/// Entries between two snapshots.
const SNAPSHOT_ENTRIES: u64 = 1000;
/// Octets of entries between two snapshots, when that is sooner.
const SNAPSHOT_OCTETS: usize = 16 << 20;
/// How often the octets are looked at.
const SNAPSHOT_CHECK: Duration = Duration::from_secs(5);
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
    /// What its configuration says about it and the others, as it changes.
    pub roster: watch::Receiver<Roster>,
    /// Where it listens for them.
    pub listen: SocketAddr,
    /// How it proves itself to those who connect, as it changes.
    pub server_tls: watch::Receiver<Arc<ServerConfig>>,
    /// How it proves itself where it connects, as it changes.
    pub client_tls: watch::Receiver<Arc<ClientConfig>>,
    /// Times.
    pub timing: Timing,
    /// Counts connections and messages that are not of a key server of this group.
    pub refused: Counter,
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
    remover: Remover,
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
            settings.roster.clone(),
            settings.refused,
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
        let (remover, removals) = Remover::channel();
        let steward = Steward::new(
            raft.clone(),
            store.clone(),
            peers.clone(),
            settings.roster,
            settings.timing.voter_replacement,
            role.clone(),
            waiting.clone(),
            service.callers(),
            removals,
        );
        tasks.spawn(serve(listener, settings.server_tls, service));
        tasks.spawn(steward.run());
        tasks.spawn(bound_log(raft.clone(), store.clone()));
        Ok(Self {
            raft,
            peers,
            store,
            role,
            waiting,
            remover,
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

    /// What this key server waits for while there is no primary it works with, as it changes.
    pub fn waiting(&self) -> watch::Receiver<Option<String>> {
        self.waiting.subscribe()
    }

    /// Gives commands to the leader, wherever it is.
    pub fn proposer(&self) -> Proposer<A> {
        Proposer::new(self.raft.clone(), self.peers.clone())
    }

    /// Hands leadership on, if this node leads.
    pub fn successor(&self) -> Handover<A> {
        Handover::new(self.raft.clone(), self.timing.election_maximum * 3)
    }

    /// Removes key servers from the group, if this node leads.
    pub fn remover(&self) -> Remover {
        self.remover.clone()
    }

    /// Hands leadership on and stops.
    pub async fn shutdown(mut self) {
        self.successor().hand_over().await;
        // The task has ended already when this fails.
        let _ = self.raft.shutdown().await;
        self.peers.close();
        self.tasks.shutdown().await;
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
