//! The running member: one task that owns the state machine and moves its inputs and outputs.
//!
//! Order at start: drop rules first, then files, sockets, fewer privileges, device, registration. A
//! failure at any point leaves the drop rules in force.

mod enforcement;
mod journal;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gikev2::Entropy;
use gm_core::member::{FailureMode as MemberFailureMode, GroupMember, TrafficPlan};
use runtime::health::Health;
use runtime::shutdown::{Shutdown, Trigger};
use runtime::{clock, entropy};
use tokio::sync::mpsc;

use crate::config::{Config, FailureMode};
use crate::control::report::{DeviceReport, GroupReport, GuardReport, PacketReport, Report};
use crate::control::{self, Command};
use crate::credentials::{self, CredentialError};
use crate::datapath::{self, Handle, StartError, UnknownSpi};
use crate::guard::{Guard, GuardError};
use crate::ike::{Arrival, IkeError, IkeSockets};
use crate::metrics::{self, LatestReport};
use crate::network::{Network, NetworkError};
use crate::privileges;
use enforcement::Enforcement;

/// How often slow things are looked at: multicast memberships, counters, reports.
const TICK: Duration = Duration::from_secs(1);

/// How many ticks pass between two looks at the kernel's rules and addresses.
const KERNEL_CHECK_TICKS: u64 = 5;

/// A Sender-ID is replaced when it has fewer IVs left than this under any key.
const FEW_COUNTERS: u64 = 1 << 24;

/// Waiting commands of the control socket.
const COMMANDS: usize = 16;

/// How long leaving the group may take at the end.
const LEAVE_LIMIT: Duration = Duration::from_millis(500);

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

/// Options of one run.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Remove the drop rules at an orderly end.
    pub remove_guard: bool,
}

/// The operating system's random numbers.
struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        entropy::fill(out);
    }
}

/// Everything a running member has.
struct Runner {
    config: Config,
    member: GroupMember,
    ike: IkeSockets,
    network: Network,
    enforcement: Enforcement,
    data_path: Handle,
    health: Health,
    latest: LatestReport,
    started: Instant,
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
        ike_port: config.ike.port,
        key_servers: config
            .groups
            .iter()
            .flat_map(|group| group.key_servers.clone())
            .collect(),
        rekey_groups: Vec::new(),
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
    trigger: Trigger,
    shutdown: Shutdown,
) -> Result<(), RunError> {
    let settings = credentials::group_settings(&config)?;
    let ike = IkeSockets::bind(config.ike.port, config.network.mark, &guard.key_servers)?;
    let network = Network::open(&config.network, &config.interfaces, &config.tun_device).await?;
    let control = control::bind(&config.control_socket()).map_err(RunError::Endpoint)?;
    if let Err(error) = privileges::reduce() {
        tracing::warn!(%error, "going on with more privileges than needed");
    }
    let data_path = start_data_path(&config, &network).await?;
    if let Some(datagrams) = data_path.ike_datagrams() {
        ike.forward_from(datagrams);
    }
    let unknown_spis = data_path.unknown_spi_events();

    let health = Health::new();
    health.block("keys", "not registered yet");
    let latest = LatestReport::default();
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
    let enforcement = Enforcement::new(guard, plan, &interfaces, data_path.tun_index());
    let mut runner = Runner {
        config,
        member,
        ike,
        network,
        enforcement,
        data_path,
        health,
        latest,
        started: now,
    };
    runner.serve(unknown_spis, queue, shutdown).await;
    runner.end(options).await
}

async fn serve_metrics(
    listen: SocketAddr,
    health: &Health,
    registry: &Arc<prometheus_client::registry::Registry>,
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
    datapath::start(datapath::Config {
        tun_name: config.tun_device.clone(),
        link_mtu,
        mark: config.network.mark,
        raw: true,
        multicast_interface: network.first_interface_index().await?,
        ..datapath::Config::default()
    })
    .map_err(RunError::DataPath)
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

impl Runner {
    async fn serve(
        &mut self,
        mut unknown_spis: Option<mpsc::Receiver<UnknownSpi>>,
        mut commands: mpsc::Receiver<Command>,
        mut shutdown: Shutdown,
    ) {
        let mut ticks: u64 = 0;
        let mut ticker = tokio::time::interval(TICK);
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.move_outputs().await;
            let due = self.member.poll_timeout().map(|(at, _)| at);
            tokio::select! {
                () = shutdown.wait() => return,
                arrival = self.ike.receive() => self.handle_arrival(&arrival),
                Some(unknown) = receive(&mut unknown_spis) => self.handle_unknown_spi(&unknown),
                Some(command) = commands.recv() => self.handle_command(command),
                () = sleep_until(due) => {
                    self.member.handle_timeout(clock::now(), &mut SystemEntropy);
                }
                _ = ticker.tick() => {
                    ticks = ticks.wrapping_add(1);
                    self.handle_tick(ticks.is_multiple_of(KERNEL_CHECK_TICKS)).await;
                }
            }
        }
    }

    fn handle_arrival(&mut self, arrival: &Arrival) {
        self.member.handle_datagram(
            clock::now(),
            clock::since_epoch().as_secs(),
            arrival.local,
            arrival.remote,
            &arrival.payload,
            &mut SystemEntropy,
        );
    }

    fn handle_unknown_spi(&mut self, unknown: &UnknownSpi) {
        self.member.handle_unknown_spi(
            clock::now(),
            unknown.spi,
            unknown.source,
            unknown.destination,
            &mut SystemEntropy,
        );
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Status(answer) => drop(answer.send(self.report())),
            Command::Reregister {
                group_id,
                fresh,
                answer,
            } => {
                let now = clock::now();
                let mut count = 0;
                for membership in self.member.memberships_mut() {
                    if group_id.is_none_or(|group| group == membership.group_id()) {
                        membership.register_again(now, fresh);
                        count += 1;
                    }
                }
                // The administrator may have gone; the request is carried out all the same.
                let _ = answer.send(count);
            }
        }
    }

    async fn handle_tick(&mut self, look_at_kernel: bool) {
        self.enforcement.update_multicast();
        if look_at_kernel {
            self.enforcement
                .verify(&mut self.network, &self.health, self.data_path.tun_index())
                .await;
        }
        let scarce: Vec<_> = self
            .data_path
            .sa_statistics()
            .into_iter()
            .filter(|used| used.counter_left.is_some_and(|left| left < FEW_COUNTERS))
            .map(|used| used.spi)
            .collect();
        let now = clock::now();
        for membership in self.member.memberships_mut() {
            if scarce.iter().any(|spi| membership.knows(*spi)) {
                membership.handle_sender_id_exhausted(now);
            }
        }
        let report = self.report();
        self.latest.set(report);
    }

    /// Carries out everything the state machine wants, until it wants nothing more.
    async fn move_outputs(&mut self) {
        loop {
            while let Some((index, key_server)) = self.member.poll_connect() {
                self.connect(index, key_server).await;
            }
            while let Some(event) = self.member.poll_event() {
                journal::record(&event);
            }
            if self.member.take_changed() {
                self.enforce().await;
            }
            let mut sent = false;
            while let Some(transmit) = self.member.poll_transmit() {
                sent = true;
                if let Err(error) = self.ike.send(&transmit).await {
                    tracing::debug!(remote = %transmit.remote, %error, "datagram not sent");
                }
            }
            if !sent && self.member.poll_connect().is_none() {
                return;
            }
        }
    }

    async fn connect(&mut self, index: usize, key_server: SocketAddr) {
        let source = self.network.source_towards(key_server.ip()).await;
        let local_port = self.ike.local_port(key_server);
        let now = clock::now();
        let Some(membership) = self.member.memberships_mut().get_mut(index) else {
            return;
        };
        match source {
            Ok(address) => {
                let local = SocketAddr::new(address, local_port);
                membership.handle_connect(now, local, key_server, &mut SystemEntropy);
            }
            Err(error) => {
                let cause = error.to_string();
                membership.handle_unreachable(now, key_server, &cause, &mut SystemEntropy);
            }
        }
    }

    /// Brings packet path and kernel in line with the state machine.
    async fn enforce(&mut self) {
        let plan = self.member.traffic_plan();
        let rekey_groups = self.member.rekey_groups();
        self.ike
            .set_rekey_groups(&rekey_groups, self.enforcement.interfaces());
        let closing = plan.closed;
        if closing {
            self.enforcement
                .set_guard(plan.clone(), &rekey_groups, &self.health);
        }
        let data_plane = self.member.data_plane(None);
        if let Err(error) = self.data_path.install(data_plane) {
            tracing::error!(%error, "the packet path refused the new keys");
        }
        let tun = self.data_path.tun_index();
        self.enforcement
            .set_routes(&plan, &mut self.network, tun, &self.health)
            .await;
        if !closing {
            self.enforcement
                .set_guard(plan, &rekey_groups, &self.health);
        }
        let without_keys: Vec<String> = self
            .member
            .memberships()
            .iter()
            .filter(|membership| !membership.has_keys())
            .map(|membership| membership.group_id().to_string())
            .collect();
        if without_keys.is_empty() {
            self.health.unblock("keys");
        } else {
            let why = format!("no keys for group {}", without_keys.join(", "));
            self.health.block("keys", why);
        }
    }

    fn report(&self) -> Report {
        let counters = self.data_path.counters();
        let statistics = self.data_path.sa_statistics();
        let ready = self.health.ready();
        Report {
            name: self.config.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: clock::now()
                .saturating_duration_since(self.started)
                .as_secs(),
            ready: ready.is_ok(),
            not_ready: ready.err(),
            guard: GuardReport {
                installed: self.enforcement.guard_in_force(),
                closed: self.member.is_closed(),
                drops: self.enforcement.guard_drops(),
            },
            device: DeviceReport {
                name: self.data_path.tun_name().to_owned(),
                mtu: self.data_path.tun_mtu(),
            },
            packets: PacketReport::new(&counters),
            drops: counters
                .drops
                .iter()
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| (reason.label().to_owned(), *count))
                .collect(),
            groups: self
                .member
                .status(clock::now())
                .iter()
                .map(|status| GroupReport::new(status, &statistics))
                .collect(),
        }
    }

    /// Leaves the groups and takes down everything but the drop rules.
    async fn end(mut self, options: RunOptions) -> Result<(), RunError> {
        let now = clock::now();
        let mut leaving = false;
        for membership in self.member.memberships_mut() {
            leaving |= membership.leave(now, &mut SystemEntropy);
        }
        if leaving {
            let deadline = tokio::time::Instant::now() + LEAVE_LIMIT;
            self.move_outputs().await;
            while let Ok(arrival) = tokio::time::timeout_at(deadline, self.ike.receive()).await {
                self.handle_arrival(&arrival);
                if let Some(event) = self.member.poll_event() {
                    journal::record(&event);
                    break;
                }
            }
        }
        self.network.remove().await?;
        self.data_path.shutdown();
        if options.remove_guard {
            Guard::remove(&self.config.name)?;
        } else {
            tracing::info!("the drop rules stay in force; `gm-sidecar cleanup` removes them");
        }
        // The socket file is ours; a dead one would only be replaced at the next start.
        let _ = std::fs::remove_file(self.config.control_socket());
        Ok(())
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn receive<T>(channel: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match channel {
        Some(receiver) => match receiver.recv().await {
            Some(item) => Some(item),
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
