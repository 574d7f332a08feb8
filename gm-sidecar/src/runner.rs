//! The running member: one task that owns the state machine and moves its inputs and outputs.
//!
//! Order at start: drop rules first, then files, sockets, fewer privileges, device, registration. A
//! failure at any point leaves the drop rules in force.

mod enforcement;
mod journal;
mod reconfiguring;
mod start;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gikev2::Entropy;
use gm_core::DropReason;
use gm_core::data_plane::Direction;
use gm_core::member::{GroupMember, GroupSettings};
use runtime::health::Health;
use runtime::shutdown::Shutdown;
use runtime::{clock, entropy};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::control::Command;
use crate::control::access_list::access_list;
use crate::control::report::{DeviceReport, GroupReport, GuardReport, PacketReport, Report};
use crate::datapath::{Handle, UnknownSpi};
use crate::guard::Guard;
use crate::ike::{Arrival, IkeSockets};
use crate::metrics::LatestReport;
use crate::network::Network;
use enforcement::Enforcement;

pub use start::{RunError, close, run};

/// How often slow things are looked at: multicast memberships, counters, reports.
const TICK: Duration = Duration::from_secs(1);
/// Ticks for which the packet path encrypts what is left in it when flows go in clear from now on: one whole tick.
const TICKS_TO_LEAVE: u8 = 2;

/// How many ticks pass between two looks at the kernel's rules and addresses.
const KERNEL_CHECK_TICKS: u64 = 5;

/// A Sender-ID is replaced when it has fewer IVs left than this under any key.
const FEW_COUNTERS: u64 = 1 << 24;

/// How long leaving the group may take at the end.
const LEAVE_LIMIT: Duration = Duration::from_millis(500);

/// Options of one run.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Remove the drop rules at an orderly end.
    pub remove_guard: bool,
}

/// A configuration for a member that runs, with its files read.
pub struct Update {
    /// The configuration.
    pub config: Config,
    /// What it says about each group.
    pub settings: Vec<GroupSettings>,
}

/// What connects a running member with whoever configures it.
pub struct Feed {
    /// Where configurations come from.
    pub updates: mpsc::Receiver<Update>,
    /// Where the member's state goes.
    pub latest: LatestReport,
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
    /// How long packets that were on their way into the packet path when it was left are still encrypted, in ticks.
    ticks_to_leave: u8,
    health: Health,
    latest: LatestReport,
    started: Instant,
}

impl Runner {
    async fn serve(
        &mut self,
        mut unknown_spis: Option<mpsc::Receiver<UnknownSpi>>,
        mut commands: mpsc::Receiver<Command>,
        mut updates: Option<mpsc::Receiver<Update>>,
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
                Some(update) = receive(&mut updates) => self.reconfigure(update),
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
            Command::Status(answer) => {
                self.enforcement.look_at_guard();
                drop(answer.send(self.report()));
            }
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
        if self.ticks_to_leave > 0 {
            self.ticks_to_leave -= 1;
            if self.ticks_to_leave == 0 {
                self.install_data_plane();
            }
        }
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
        let counters = self.data_path.counters();
        let refused = counters
            .drops
            .iter()
            .find(|(reason, _)| *reason == DropReason::OutsideTimeWindow)
            .map_or(0, |(_, count)| *count);
        self.member
            .observe_packets(now, refused, counters.received_packets, &mut SystemEntropy);
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
            if self.member.take_changed() || self.enforcement.is_stale() {
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
        // What is to be encrypted from now on is led to the packet path once that can do it, and clear packets are stopped
        // last; what may go in clear from now on is let pass first, and leaves the packet path last. So no packet meets a
        // part that does not want it any more, or not yet.
        let loosens = self.enforcement.loosens(&plan);
        let guard_first = plan.closed || loosens;
        let tun = self.data_path.tun_index();
        if guard_first {
            self.enforcement
                .set_guard(plan.clone(), &rekey_groups, &self.health);
        }
        if loosens {
            self.enforcement
                .set_routes(&plan, &mut self.network, tun, &self.health)
                .await;
        }
        // What was led into the device before the routes changed is still encrypted for a moment.
        self.ticks_to_leave = if loosens && !plan.closed {
            TICKS_TO_LEAVE
        } else {
            0
        };
        self.install_data_plane();
        if !loosens {
            self.enforcement
                .set_routes(&plan, &mut self.network, tun, &self.health)
                .await;
        }
        if !guard_first {
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

    /// Gives the packet path what the state machine wants.
    fn install_data_plane(&self) {
        let mut data_plane = self.member.data_plane(None);
        if self.ticks_to_leave > 0 {
            for group in &mut data_plane.groups {
                group.direction = Direction::Both;
            }
        }
        if let Err(error) = self.data_path.install(data_plane) {
            tracing::error!(%error, "the packet path refused the new keys");
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
                exposed: self.member.is_exposed(),
                exposures: self.enforcement.exposures(),
                drops: self.enforcement.guard_drops(),
                bypassed: self.enforcement.bypassed(),
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
            access_list: access_list(&self.member.traffic_plan()),
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
