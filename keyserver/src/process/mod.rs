//! The whole process: reads the configuration, starts every part, and ends them in order.

mod credentials;
mod readiness;
mod roster;
mod watched;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use runtime::exit;
use runtime::health::Health;
use runtime::shutdown::{Shutdown, Trigger};
use runtime::tls::TlsError;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::credentials::{Credentials, Renewals, Sources};
use self::watched::Watched;
use crate::admin::{self, AdminError, RunnerHandle};
use crate::config::{Config, ConfigError, Environment};
use crate::ike::{self, IkeError};
use crate::metrics::Metrics;
use crate::raft::{Consensus, ConsensusError, Settings};
use crate::runner::{Links, Runner, RunnerApplication};
use crate::storage::{SealingKey, StorageError, Store};
use crate::udp::{Sockets, UdpError};

/// Why the process ended.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// TLS credentials.
    #[error("{field}: {source}")]
    Tls {
        /// The field of the configuration.
        field: &'static str,
        /// What is wrong.
        source: TlsError,
    },
    /// Credentials of the registration protocol.
    #[error(transparent)]
    Ike(#[from] IkeError),
    /// Sockets for members.
    #[error(transparent)]
    Udp(#[from] UdpError),
    /// The admin endpoint.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The consensus.
    #[error(transparent)]
    Consensus(#[from] ConsensusError),
    /// The endpoint for probes and Prometheus.
    #[error("metrics.listen: {0}")]
    Metrics(String),
    /// The host.
    #[error("{0}")]
    Environment(String),
    /// The consensus stopped by itself.
    #[error("the consensus stopped: {0}")]
    Stopped(String),
    /// The task that owns the state ended.
    #[error("the key server's main task ended: {0}")]
    Runner(String),
}

impl ProcessError {
    /// The exit code that tells this cause.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Storage(error) => error.exit_code(),
            Self::Config(_)
            | Self::Tls { .. }
            | Self::Ike(_)
            | Self::Udp(_)
            | Self::Admin(_)
            | Self::Metrics(_)
            | Self::Environment(_)
            | Self::Consensus(ConsensusError::Listen { .. } | ConsensusError::Timing(_)) => {
                exit::USAGE
            }
            Self::Consensus(ConsensusError::Start(_)) | Self::Stopped(_) | Self::Runner(_) => {
                exit::FAILURE
            }
        }
    }

    /// The message with those of its causes, in one line.
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let words = error.to_string();
            if !text.contains(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            cause = error.source();
        }
        text
    }
}

/// Checks everything that can be checked without changing anything. Gives a summary for people.
///
/// # Errors
/// The first thing that would keep the key server from starting.
pub fn check(path: &Path) -> Result<String, ProcessError> {
    let config = Config::load(path, &Environment::of_process())?;
    SealingKey::from_file(&config.sealing_key_file)?;
    let _ = Credentials::load(&config)?;
    let members: Vec<&str> = config
        .cooperative
        .initial_members
        .iter()
        .map(|member| member.name.as_str())
        .collect();
    Ok(format!(
        "{}: configuration and credentials of key server {} are usable; key servers: {}",
        path.display(),
        config.name,
        members.join(", ")
    ))
}

/// Runs the key server of the configuration at `path` until a signal or a failure ends it.
///
/// # Errors
/// [`ProcessError`].
pub async fn run(path: &Path) -> Result<(), ProcessError> {
    let environment = Environment::of_process();
    let watched = Watched::new(vec![path.to_owned()]);
    let config = Config::load(path, &environment)?;
    tracing::info!(name = config.name, addresses = ?config.ike.addresses, version = env!("CARGO_PKG_VERSION"), "key server starts");
    let (trigger, shutdown) =
        Shutdown::on_signals().map_err(|error| ProcessError::Environment(error.to_string()))?;
    let health = Health::new();
    health.block("group", "starting");
    let (metrics, registry) = Metrics::new();
    let sources = Sources::of(&config);
    let credentials = Credentials::load(&config)?;
    sources.observe(&metrics);
    let mut tasks = JoinSet::new();
    if let Some(endpoint) = config.metrics {
        let listener = tokio::net::TcpListener::bind(endpoint.listen)
            .await
            .map_err(|error| ProcessError::Metrics(format!("{}: {error}", endpoint.listen)))?;
        let router = runtime::observability::router(health.clone(), registry);
        let mut shutdown = shutdown.clone();
        tasks.spawn(async move {
            let served = axum::serve(listener, router)
                .with_graceful_shutdown(async move { shutdown.wait().await })
                .await;
            if let Err(error) = served {
                tracing::warn!(%error, "the metrics endpoint ended");
            }
        });
    }
    let sealing = SealingKey::from_file(&config.sealing_key_file)?;
    let directory = config.data_directory.clone();
    let store = tokio::task::spawn_blocking(move || Store::open(&directory, sealing))
        .await
        .map_err(|error| ProcessError::Environment(error.to_string()))??;
    tracing::info!(node = format!("{:016x}", store.node_id()), incarnation = ?store.identity().incarnation, "store is open");
    let sockets = Sockets::bind(
        &config.ike.addresses,
        config.ike.port,
        config.ike.nat_traversal_port,
    )?;
    let admin_listener = admin::bind(config.admin.listen).await?;

    let (application, committed) = RunnerApplication::channel();
    let (questions, asked) = RunnerHandle::channel();
    let (links, linked) = tokio::sync::oneshot::channel();
    let (ike, renewed) = tokio::sync::mpsc::channel(1);
    let responder = ike::responder(credentials.ike);
    let runner = Runner::new(&config, responder, sockets, metrics.clone());
    let mut running = tokio::spawn(runner.run(committed, asked, renewed, linked));

    let (roster, current_roster) = watch::channel(config.roster());
    let (peer_server, server_tls) = watch::channel(Arc::new(credentials.peer_server));
    let (peer_client, client_tls) = watch::channel(Arc::new(credentials.peer_client));
    let (admin, admin_tls) = watch::channel(Arc::new(credentials.admin));
    let renewals = Renewals {
        peer_server,
        peer_client,
        admin,
        ike,
    };

    let failure = store.failure();
    let consensus = Consensus::start(
        Settings {
            roster: current_roster,
            listen: config.cooperative.listen,
            server_tls,
            client_tls,
            timing: config.timing,
            refused: metrics.peers_refused.clone(),
        },
        store,
        application,
    )
    .await?;
    // The runner is there: it ends only after the consensus.
    let _ = links.send(Links::new(&consensus));
    tasks.spawn(runtime::https::serve(
        admin::ENDPOINT,
        admin_listener,
        admin_tls,
        admin::router(questions),
        shutdown.clone(),
    ));
    tasks.spawn(readiness::watch(
        health.clone(),
        consensus.role(),
        consensus.waiting(),
    ));
    // These two watch files for ever; nothing waits for their end.
    let mut watchers = JoinSet::new();
    watchers.spawn(roster::follow(
        path.to_owned(),
        environment,
        watched,
        config.clone(),
        roster,
    ));
    watchers.spawn(credentials::renew(config, sources, renewals, metrics));

    let ended = tokio::select! {
        biased;
        result = until_failure(failure, &consensus, shutdown) => result,
        result = &mut running => Err(ProcessError::Runner(match result {
            Ok(()) => "without a reason".to_owned(),
            Err(error) => error.to_string(),
        })),
    };
    if let Err(error) = &ended {
        health.fail(error.to_string());
    }
    stop(consensus, trigger, tasks).await;
    running.abort();
    tracing::info!("key server ended");
    ended
}

/// Waits for the signal to end, or for what cannot be gone on from.
async fn until_failure(
    mut failure: watch::Receiver<Option<StorageError>>,
    consensus: &Consensus<RunnerApplication>,
    mut shutdown: Shutdown,
) -> Result<(), ProcessError> {
    let mut metrics = consensus.raft().metrics();
    loop {
        let running = metrics.borrow_and_update().running_state.clone();
        if let Err(fatal) = running {
            // A failed store shows here first; its own words say more.
            if let Some(error) = failure.borrow().clone() {
                return Err(error.into());
            }
            return Err(ProcessError::Stopped(fatal.to_string()));
        }
        tokio::select! {
            () = shutdown.wait() => return Ok(()),
            changed = failure.changed() => {
                if let Some(error) = failure.borrow().clone() {
                    return Err(error.into());
                }
                if changed.is_err() {
                    return Err(ProcessError::Stopped("the store's writer ended".to_owned()));
                }
            }
            changed = metrics.changed() => if changed.is_err() {
                return Err(ProcessError::Stopped("its task ended".to_owned()));
            },
        }
    }
}

/// Hands leadership on first, so that the others need not wait for a timeout.
async fn stop(consensus: Consensus<RunnerApplication>, trigger: Trigger, mut tasks: JoinSet<()>) {
    consensus.shutdown().await;
    trigger.fire();
    let finished = async { while tasks.join_next().await.is_some() {} };
    // What has not ended by then is cut off.
    let _ = tokio::time::timeout(Duration::from_secs(2), finished).await;
    tasks.shutdown().await;
}
