//! From a configuration to a running member, step by step, each failure with what to do about it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use gm_core::member::{FailureMode as MemberFailureMode, GroupMember, TrafficPlan};
use prometheus_client::registry::Registry;
use runtime::clock;
use runtime::health::Health;
use runtime::shutdown::{Shutdown, Trigger};
use tokio::sync::mpsc;

use super::enforcement::Enforcement;
use super::{Feed, RunOptions, Runner};
use crate::config::{Config, FailureMode};
use crate::control;
use crate::credentials::{self, CredentialError};
use crate::datapath::{self, Handle, StartError};
use crate::guard::{Guard, GuardError};
use crate::ike::{IkeError, IkeSockets};
use crate::metrics::{self, LatestReport};
use crate::network::{Network, NetworkError};
use crate::{privileges, services};

/// Waiting commands of the control socket.
const COMMANDS: usize = 16;

/// Why a member could not run. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Drop rules.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// Files with credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// IKE sockets.
    #[error(transparent)]
    Ike(#[from] IkeError),
    /// Routes.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Device and ESP sockets.
    #[error("{}", explain_start(.0))]
    DataPath(#[source] StartError),
    /// Control socket or metrics endpoint.
    #[error("{0}")]
    Endpoint(#[source] io::Error),
}

/// Puts the drop rules of a member that knows no policy yet in force.
///
/// # Errors
/// [`GuardError`].
pub fn close(config: &Config) -> Result<(Guard, TrafficPlan), GuardError> {
    let guard = Guard {
        member: config.name.clone(),
        interfaces: config.interfaces.clone(),
        mark: config.network.mark,
        ike_ports: vec![config.ike.port],
        key_servers: config
            .groups
            .iter()
            .flat_map(|group| group.key_servers.clone())
            .collect(),
        rekey_groups: Vec::new(),
        operator: None,
    };
    let closed = config.failure_mode == FailureMode::FailClosed;
    let plan = TrafficPlan::before_registration(closed, config.clear_before_registration());
    guard.install(&plan)?;
    Ok((guard, plan))
}

/// Runs the member behind `guard`, which holds the rules of `plan`, until shutdown.
///
/// # Errors
/// [`RunError`]; the drop rules stay in force.
pub async fn run(
    config: Config,
    (guard, plan): (Guard, TrafficPlan),
    options: RunOptions,
    feed: Option<Feed>,
    trigger: Trigger,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let settings = credentials::group_settings(&config)?;
    let key_servers = config.key_servers();
    let mut ike = IkeSockets::bind(config.ike.port, config.network.mark, &key_servers)?;
    if !config.services.is_empty() {
        services::install(&config.name, &config.services)?;
    }
    let network = Network::open(&config.network, &config.interfaces, &config.tun_device).await?;
    let control = control::bind(&config.control_socket()).map_err(RunError::Endpoint)?;
    if let Err(error) = privileges::reduce() {
        tracing::warn!(%error, "going on with more privileges than needed");
    }
    let data_path = start_data_path(&config, &network).await?;
    if let Some(datagrams) = data_path.ike_datagrams() {
        ike.share_esp_port(datagrams, data_path.ike_sender());
    }
    let unknown_spis = data_path.unknown_spi_events();

    let health = Health::new();
    health.block("keys", "not registered yet");
    let (latest, updates) = match feed {
        Some(feed) => (feed.latest, Some(feed.updates)),
        None => (LatestReport::default(), None),
    };
    let registry = Arc::new(metrics::registry(latest.clone()));
    let (commands, queue) = mpsc::channel(COMMANDS);
    let endpoint = control::serve(
        control,
        commands,
        health.clone(),
        Arc::clone(&registry),
        trigger,
        shutdown.clone(),
    );
    tokio::spawn(async move {
        if let Err(error) = endpoint.await {
            tracing::error!(%error, "the control socket ended");
        }
    });
    if let Some(metrics) = &config.metrics {
        serve_metrics(metrics.listen, &health, &registry, &shutdown).await?;
    }

    let now = clock::now();
    let member = GroupMember::new(
        settings,
        match config.failure_mode {
            FailureMode::FailClosed => MemberFailureMode::Closed,
            FailureMode::FailOpen => MemberFailureMode::Open,
        },
        config.clear_before_registration(),
        now,
    );
    let interfaces = network.interface_indices().await?;
    let mut enforcement = Enforcement::new(guard, plan, &interfaces, data_path.tun_index());
    enforcement.set_peers(ike.ports(), key_servers);
    let mut runner = Runner {
        config,
        member,
        ike,
        network,
        enforcement,
        data_path,
        ticks_to_leave: 0,
        health,
        latest,
        started: now,
    };
    runner.serve(unknown_spis, queue, updates, shutdown).await;
    runner.end(options).await
}

async fn serve_metrics(
    listen: SocketAddr,
    health: &Health,
    registry: &Arc<Registry>,
    shutdown: &Shutdown,
) -> Result<(), RunError> {
    // Bound once here so that a port in use is an error at start and not a line in a log.
    let probe = tokio::net::TcpListener::bind(listen).await;
    probe.map_err(|error| {
        let text = format!("metrics.listen: {listen}: {error}");
        RunError::Endpoint(io::Error::new(error.kind(), text))
    })?;
    let endpoint = runtime::observability::serve(
        listen,
        health.clone(),
        Arc::clone(registry),
        shutdown.clone(),
    );
    tokio::spawn(async move {
        if let Err(error) = endpoint.await {
            tracing::error!(%error, "the metrics endpoint ended");
        }
    });
    Ok(())
}

async fn start_data_path(config: &Config, network: &Network) -> Result<Handle, RunError> {
    let link_mtu = match config.mtu_bytes {
        0 => network.link_mtu().await?,
        octets => octets,
    };
    let data_path = datapath::start(datapath::Config {
        tun_name: config.tun_device.clone(),
        link_mtu,
        mark: config.network.mark,
        raw: true,
        multicast_interface: network.first_interface_index().await?,
        ..datapath::Config::default()
    })
    .map_err(RunError::DataPath)?;
    network.fit_trains(data_path.tun_index()).await;
    data_path.copy_multicast(config.multicast_copies());
    Ok(data_path)
}

/// A start error with what to do about it.
fn explain_start(error: &StartError) -> String {
    let source =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let advice = match (error, source.map(io::Error::kind)) {
        (StartError::Tun { .. }, Some(io::ErrorKind::NotFound)) => {
            "; there is no /dev/net/tun: load the module `tun`, or give the container the device"
        }
        (StartError::Tun { .. }, Some(io::ErrorKind::PermissionDenied)) => {
            "; run as root or with the capability CAP_NET_ADMIN, and with access to /dev/net/tun"
        }
        (StartError::Tun { .. }, Some(io::ErrorKind::ResourceBusy)) => {
            "; another process holds the device: is this member running already?"
        }
        (StartError::Socket { .. }, Some(io::ErrorKind::AddrInUse)) => {
            "; UDP port 4500 is in use by another process, for example an IPsec daemon: end it"
        }
        (StartError::Socket { .. }, Some(io::ErrorKind::PermissionDenied)) => {
            "; run as root or with the capabilities CAP_NET_ADMIN and CAP_NET_RAW"
        }
        _ => "",
    };
    match source {
        Some(source) => format!("{error}: {source}{advice}"),
        None => format!("{error}{advice}"),
    }
}
