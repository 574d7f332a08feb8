//! A simulated machine with a key server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gikev2::exchange::authentication::PreSharedKeys;
use gikev2::wire::Identification;
use gikev2::{Entropy, Secret};
use keyserver_core::command::Command;
use keyserver_core::outcome::Outcome;
use keyserver_core::secret::SecretBytes;
use keyserver_core::server::{Config, KeyServer};
use keyserver_core::state::State;

/// 2026-07-01 00:00 UTC.
const UNIX_MS: u64 = 1_782_864_000_000;

/// One key for every member: who is authorised is the group's decision.
struct AnyMember(Secret);

impl PreSharedKeys for AnyMember {
    fn key(&self, _: &Identification) -> Option<&Secret> {
        Some(&self.0)
    }
}

/// The key.
pub(super) fn shared_key() -> Secret {
    Secret::from_slice(b"a pre-shared key of the simulation")
}

/// Address of a key server.
pub(super) fn address(server: usize) -> SocketAddr {
    SocketAddr::from(([172, 20, u8::try_from(server).unwrap_or(u8::MAX), 2], 848))
}

/// A machine with a key server.
pub(super) struct Server {
    number: usize,
    pub(super) core: KeyServer,
    pub(super) up: bool,
    /// Frozen until then: it neither hears nor acts.
    pub(super) frozen_until: Option<Instant>,
    /// Entries applied.
    pub(super) applied: usize,
    /// The last snapshot on disk, and how many entries it holds.
    snapshot: (usize, Vec<u8>),
    /// Milliseconds its wall clock is ahead.
    pub(super) clock_ahead: u64,
    start: Instant,
}

impl Server {
    pub(super) fn new(number: usize, start: Instant, entropy: &mut dyn Entropy) -> Self {
        Self {
            number,
            core: key_server(number, State::new(), start, UNIX_MS, entropy),
            up: true,
            frozen_until: None,
            applied: 0,
            snapshot: (0, Vec::new()),
            clock_ahead: 0,
            start,
        }
    }

    /// Its wall clock, in milliseconds.
    pub(super) fn unix_ms(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.start).as_millis();
        UNIX_MS + self.clock_ahead + u64::try_from(elapsed).unwrap_or(0)
    }

    /// Whether it hears and acts.
    pub(super) fn acts(&self, now: Instant) -> bool {
        self.up && self.frozen_until.is_none_or(|until| until <= now)
    }

    /// Applies the next entry.
    pub(super) fn apply(
        &mut self,
        now: Instant,
        command: &Command,
        entropy: &mut dyn Entropy,
    ) -> Outcome {
        self.applied += 1;
        let index = u64::try_from(self.applied).unwrap_or(u64::MAX);
        self.core.handle_committed(now, index, command, entropy)
    }

    /// Writes a snapshot.
    pub(super) fn save(&mut self) {
        if let Ok(octets) = self.core.snapshot() {
            self.snapshot = (self.applied, octets);
        }
    }

    /// Entries in the last snapshot.
    pub(super) fn saved(&self) -> usize {
        self.snapshot.0
    }

    /// Starts again with what its disk holds; entries after the snapshot are applied once more.
    pub(super) fn restart(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let (applied, octets) = &self.snapshot;
        let state = match octets.as_slice() {
            [] => State::new(),
            octets => State::decode(octets).expect("a snapshot can be read"),
        };
        self.applied = *applied;
        self.core = key_server(self.number, state, now, self.unix_ms(now), entropy);
        self.up = true;
        self.frozen_until = None;
    }

    /// Starts with an empty disk.
    pub(super) fn lose_disk(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.snapshot = (0, Vec::new());
        self.restart(now, entropy);
    }

    /// The moment at which replicated time is `time`, counted from the command just applied.
    pub(super) fn instant_of(
        &self,
        now: Instant,
        time: keyserver_core::log_time::LogTime,
    ) -> Instant {
        now + Duration::from_millis(time.millis_since(self.core.state().time()))
    }
}

fn key_server(
    number: usize,
    state: State,
    now: Instant,
    unix_ms: u64,
    entropy: &mut dyn Entropy,
) -> KeyServer {
    let identity = Identification::fqdn(&format!("ks-{number}.keyserver.getvpn"));
    let mut responder = gikev2::responder::Config::new(identity);
    responder.pre_shared_keys = Some(Box::new(AnyMember(shared_key())));
    let config = Config {
        name: format!("ks-{number}"),
        addresses: vec![address(number).ip()],
        port: 848,
        fragment_size: 1_200,
        responder,
    };
    KeyServer::new(config, state, now, unix_ms, entropy)
}

/// PKCS#8 DER of a new Ed25519 key (RFC 8410 §7).
pub(super) fn ed25519_key(entropy: &mut dyn Entropy) -> SecretBytes {
    const HEAD: [u8; 16] = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    let mut octets = HEAD.to_vec();
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    octets.extend_from_slice(&seed);
    SecretBytes::new(octets)
}
