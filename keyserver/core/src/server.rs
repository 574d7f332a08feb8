//! One key server: IKE towards members, commands towards the log, and everything between them.
//!
//! Events go in through `handle_*`, what is to be done comes out through `poll_*`. Nothing whose content depends on
//! a key, an SPI, a Sender-ID or a Message ID leaves before the command that fixes it is committed: a registration
//! is answered and a rekey sent only by [`KeyServer::handle_committed`] and what follows it.

mod admin;
mod changes;
mod deliveries;
mod ike;
mod proposals;
mod status;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use gikev2::responder::Responder;
use gikev2::{Entropy, Transmit};

pub use self::admin::{AdminAnswer, AdminError, AdminRequest, AdminTicket};
pub use self::proposals::Proposal;
pub use self::status::SigningKeyView;

use self::admin::AdminDesk;
use self::changes::GroupWork;
use self::ike::Registrations;
use self::proposals::Proposals;
use crate::audit::AuditEvent;
use crate::command::{Action, Command};
use crate::error::CodecError;
use crate::log_time::{LogClock, LogTime, TICK_INTERVAL};
use crate::outcome::Outcome;
use crate::state::State;

/// What a key server has to know about itself.
pub struct Config {
    /// Its name, unique among the cooperative key servers.
    pub name: String,
    /// Its own addresses; rekeys leave from the first of the receiver's family.
    pub addresses: Vec<IpAddr>,
    /// UDP port of G-IKEv2, usually 848.
    pub port: u16,
    /// Most octets of one GSA_REKEY datagram.
    pub fragment_size: usize,
    /// The IKE end.
    pub responder: gikev2::responder::Config,
}

/// Place of this key server among the others, as the consensus says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads: it plans and delivers rekeys.
    Primary,
    /// Another one leads.
    Secondary {
        /// Its name, when it is known.
        primary: Option<String>,
    },
    /// Nobody leads that this one could reach: nothing is granted.
    NoQuorum,
}

/// A key server.
pub struct KeyServer {
    own: OwnAddress,
    responder: Responder,
    state: State,
    clock: LogClock,
    unix: UnixClock,
    role: Role,
    term: u64,
    applied_index: u64,
    applied_at: Instant,
    /// Who proposed the last command that was applied since this key server first knew its role.
    last_proposer: Option<String>,
    proposals: Proposals,
    registrations: Registrations,
    desk: AdminDesk,
    work: BTreeMap<u32, GroupWork>,
    acknowledged_at: BTreeMap<u64, u64>,
    transmits: VecDeque<Transmit>,
    audit: VecDeque<AuditEvent>,
}

/// Who and where this key server is.
struct OwnAddress {
    name: String,
    addresses: Vec<IpAddr>,
    port: u16,
    fragment_size: usize,
}

/// The wall clock, carried on by the monotonic clock between readings.
#[derive(Clone, Copy)]
struct UnixClock {
    read_at: Instant,
    unix_ms: u64,
}

impl UnixClock {
    fn read(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.read_at).as_millis();
        self.unix_ms
            .saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }
}

impl KeyServer {
    /// A key server that goes on from `state`: empty, or read from a snapshot. `unix_ms` is the wall clock in
    /// milliseconds.
    pub fn new(
        config: Config,
        state: State,
        now: Instant,
        unix_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Self {
        let Config {
            name,
            addresses,
            port,
            fragment_size,
            responder,
        } = config;
        Self {
            own: OwnAddress {
                name,
                addresses,
                port,
                fragment_size,
            },
            responder: Responder::new(responder, now, entropy),
            clock: LogClock::new(now, unix_ms, state.time(), state.unix_ms()),
            unix: UnixClock {
                read_at: now,
                unix_ms,
            },
            state,
            role: Role::NoQuorum,
            term: 0,
            applied_index: 0,
            applied_at: now,
            last_proposer: None,
            proposals: Proposals::default(),
            registrations: Registrations::default(),
            desk: AdminDesk::default(),
            work: BTreeMap::new(),
            acknowledged_at: BTreeMap::new(),
            transmits: VecDeque::new(),
            audit: VecDeque::new(),
        }
    }

    /// The replicated state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The role last told.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Replicated time as this key server estimates it.
    pub fn log_time(&self, now: Instant) -> LogTime {
        self.clock.read(now)
    }

    /// The octets of a snapshot of the replicated state. They contain keys.
    ///
    /// # Errors
    /// [`CodecError::Encode`].
    pub fn snapshot(&self) -> Result<Vec<u8>, CodecError> {
        self.state.encode()
    }

    /// Replaces the replicated state by a snapshot that was taken after `index`.
    ///
    /// # Errors
    /// [`CodecError`]; nothing changed then.
    pub fn restore(&mut self, now: Instant, index: u64, snapshot: &[u8]) -> Result<(), CodecError> {
        self.state = State::decode(snapshot)?;
        self.applied_index = index;
        self.clock = LogClock::new(
            now,
            self.unix.read(now),
            self.state.time(),
            self.state.unix_ms(),
        );
        if self.role != Role::NoQuorum {
            // The role is known: what comes now is no replay of the disk.
            self.clock.change_primary();
        }
        self.forget_volatile(now);
        Ok(())
    }

    /// Takes in a command that was committed at `index`. Commands must come in the order of the log, each once.
    pub fn handle_committed(
        &mut self,
        now: Instant,
        index: u64,
        command: &Command,
        entropy: &mut dyn Entropy,
    ) -> Outcome {
        let repeated = self.state.outcome_of(&command.key).is_some();
        let outcome = self.state.apply(command);
        self.applied_index = index;
        self.applied_at = now;
        // A command of an earlier primary, or of another secondary, may be old.
        let follows = matches!(&self.role, Role::Secondary { primary: Some(primary) }
            if *primary == command.proposer);
        let age_ms = self.unix.read(now).checked_sub(command.unix_ms);
        self.clock.observe(now, self.state.time(), follows, age_ms);
        self.last_proposer = (!self.clock.is_starting()).then(|| command.proposer.clone());
        let own = self.proposals.settle(&command.key);
        if !repeated || own {
            self.follow_up(now, command, &outcome, !repeated, entropy);
        }
        self.advance(now, entropy);
        outcome
    }

    /// Takes in what the consensus says about this key server's role.
    pub fn handle_role(&mut self, now: Instant, role: Role, term: u64, entropy: &mut dyn Entropy) {
        self.term = term;
        if role == self.role {
            return;
        }
        let was_primary = self.role == Role::Primary;
        self.role = role;
        self.clock.change_primary();
        // Its first command may have come before the news that it leads.
        let heard = match &self.role {
            Role::Secondary {
                primary: Some(primary),
            } => {
                self.last_proposer.as_ref() == Some(primary)
                    && now.saturating_duration_since(self.applied_at) < TICK_INTERVAL
            }
            _ => false,
        };
        if heard {
            self.clock.follow(now);
        }
        if was_primary {
            self.work.clear();
            self.desk.fail_all(&AdminError::NotPrimary);
        }
        match self.role {
            Role::Primary => {
                self.resume_deliveries(now);
                // The others count by the clock of the primary: the sooner they hear of it the better.
                if !self.proposals.has_tick() {
                    self.propose(now, Action::Tick, entropy);
                }
            }
            Role::Secondary { .. } => {}
            Role::NoQuorum => self.refuse_waiting(now, entropy),
        }
        self.proposals.retry_all(now);
        self.advance(now, entropy);
    }

    /// Takes new credentials for members: registrations from now on use them.
    pub fn handle_credentials(&mut self, credentials: gikev2::responder::Credentials) {
        self.responder.set_credentials(credentials);
    }

    /// Takes in a datagram that arrived at `local` from `remote`. `unix_ms` is the wall clock in milliseconds; it
    /// decides whether certificates are valid.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        unix_ms: u64,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
        entropy: &mut dyn Entropy,
    ) {
        self.unix = UnixClock {
            read_at: now,
            unix_ms,
        };
        if self.handle_acknowledgement(now, local, remote, datagram) {
            self.advance(now, entropy);
            return;
        }
        self.responder
            .handle_datagram(now, unix_ms / 1_000, local, remote, datagram, entropy);
        self.handle_ike_events(now, entropy);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.responder.handle_timeout(now, entropy);
        self.handle_ike_events(now, entropy);
        self.expire_registrations(now, entropy);
        self.proposals.handle_timeout(now);
        self.advance(now, entropy);
    }

    /// A proposal was refused or lost, or its fate is unknown: it is proposed again under the same name.
    pub fn handle_proposal_failed(&mut self, now: Instant, proposal: &crate::command::CommandKey) {
        self.proposals.failed(now, proposal);
    }

    /// The next command to be committed. Polled when time has passed since the last event, too.
    ///
    /// A key server that has not heard of its primary yet does not know the time well enough to write it into a
    /// command: it waits for the primary's first one, which comes at once.
    pub fn poll_proposal(&mut self) -> Option<Proposal> {
        match self.role {
            Role::Secondary { .. } if !self.clock.follows() => None,
            Role::Secondary { .. } => {
                let time = self.clock.follower(self.applied_at);
                self.proposals.poll(Some(time))
            }
            Role::Primary | Role::NoQuorum => self.proposals.poll(None),
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits
            .pop_front()
            .or_else(|| self.responder.poll_transmit())
    }

    /// The next thing for the audit trail, or to be done by the process.
    pub fn poll_audit(&mut self) -> Option<AuditEvent> {
        self.audit.pop_front()
    }

    /// When [`Self::handle_timeout`] is due, and why.
    pub fn poll_timeout(&self, now: Instant) -> Option<(Instant, &'static str)> {
        let ticks = self.role == Role::Primary && !self.proposals.has_tick();
        let tick = ticks.then(|| (self.applied_at + TICK_INTERVAL, "tick"));
        [
            self.responder.poll_timeout(),
            self.proposals.poll_timeout().map(|due| (due, "proposal")),
            self.registrations
                .poll_timeout()
                .map(|due| (due, "registration")),
            self.next_change(now).map(|due| (due, "rekey")),
            self.next_delivery().map(|due| (due, "delivery")),
            tick,
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(due, _)| *due)
    }

    /// Everything that may have become possible.
    fn advance(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        if self.role != Role::Primary {
            return;
        }
        self.start_changes(now, entropy);
        self.deliver(now, entropy);
        self.tick(now, entropy);
    }

    /// Lets the others know the time when nothing else did.
    fn tick(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        if now >= self.applied_at + TICK_INTERVAL && !self.proposals.has_tick() {
            self.propose(now, Action::Tick, entropy);
        }
    }

    /// Proposes an action; its name.
    fn propose(
        &mut self,
        now: Instant,
        action: Action,
        entropy: &mut dyn Entropy,
    ) -> crate::command::CommandKey {
        let mut key = [0; 16];
        entropy.fill(&mut key);
        let key = crate::command::CommandKey(key);
        let command = Command {
            key,
            time: self.group_time(now),
            unix_ms: self.unix.read(now),
            proposer: self.own.name.clone(),
            action,
        };
        self.proposals.add(now, command);
        key
    }

    /// Replicated time, as this key server may tell it.
    fn group_time(&self, now: Instant) -> LogTime {
        match self.role {
            Role::Primary => self.clock.read(now),
            Role::Secondary { .. } | Role::NoQuorum => self.clock.follower(now),
        }
    }

    fn forget_volatile(&mut self, now: Instant) {
        self.work.clear();
        if self.role == Role::Primary {
            self.resume_deliveries(now);
        }
    }

    fn group_name(&self, group_id: u32) -> String {
        self.state
            .group(group_id)
            .map_or_else(|| group_id.to_string(), |group| group.policy.name.clone())
    }

    /// The primary's own address for a datagram to `remote`, and the port members know.
    fn source_for(&self, remote: SocketAddr, port: u16) -> Option<SocketAddr> {
        let address = self
            .own
            .addresses
            .iter()
            .find(|address| address.is_ipv4() == remote.is_ipv4())?;
        Some(SocketAddr::new(*address, port))
    }
}
