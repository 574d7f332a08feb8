//! Both ends in one virtual world: a link that loses, repeats, reorders and cuts off, a clock that jumps from event
//! to event, and random octets from a seed. Nothing here sleeps.

pub(crate) mod grants;
pub(crate) mod group;
pub(crate) mod pki;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gikev2::crypto::digest::sha256;
use gikev2::exchange::authentication::{Credentials, PreSharedKeys};
use gikev2::exchange::identity::IdentityPattern;
use gikev2::initiator::{self, Initiator, Purpose, RegistrationParameters};
use gikev2::responder::{self, Grant, Refusal, RegistrationHandle, RegistrationRequest, Responder};
use gikev2::wire::{IdType, Identification};
use gikev2::{Entropy, Secret, Transmit};

/// 2026-07-01 00:00 UTC; the certificates of [`pki`] are valid around it.
pub(crate) const UNIX_TIME: u64 = 1_782_864_000;

/// The group everybody registers to.
pub(crate) const GROUP: u32 = 1234;

/// Random octets from a seed; the same seed gives the same world.
pub(crate) struct Seeded {
    seed: u64,
    counter: u64,
}

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, counter: 0 }
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let mut octets = [0; 8];
        self.fill(&mut octets);
        u64::from_be_bytes(octets) % bound
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let block = sha256(&[&self.seed.to_be_bytes(), &self.counter.to_be_bytes()]);
            self.counter += 1;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

/// How the link treats datagrams.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) loss_percent: u64,
    pub(crate) duplicate_percent: u64,
    /// Each datagram takes between 5 ms and this much longer.
    pub(crate) jitter: Duration,
    /// Longest UDP payload that gets through.
    pub(crate) longest: usize,
    /// A NAT in front of the member: the address and port the key server sees for each port of the member.
    pub(crate) nat: Option<fn(SocketAddr) -> SocketAddr>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            loss_percent: 0,
            duplicate_percent: 0,
            jitter: Duration::ZERO,
            longest: 65_000,
            nat: None,
        }
    }
}

/// One shared secret for every member whose name ends in the right domain.
pub(crate) struct OnePreSharedKey {
    pub(crate) identity: Identification,
    pub(crate) key: Secret,
}

impl PreSharedKeys for OnePreSharedKey {
    fn key(&self, identity: &Identification) -> Option<&Secret> {
        (identity == &self.identity).then_some(&self.key)
    }
}

pub(crate) fn member_identity() -> Identification {
    Identification::fqdn("m-1.member.getvpn")
}

pub(crate) fn server_identity() -> Identification {
    Identification::fqdn("ks-0.keyserver.getvpn")
}

pub(crate) fn any_key_server() -> Vec<IdentityPattern> {
    vec![IdentityPattern::new(IdType::FQDN, "*.keyserver.getvpn")]
}

pub(crate) fn shared_key() -> Secret {
    Secret::from_slice(b"correct horse battery staple 0001")
}

pub(crate) fn registration_parameters() -> RegistrationParameters {
    RegistrationParameters {
        group: Identification::group(GROUP),
        capabilities: Vec::new(),
        sender_ids: Some(1),
        acknowledges: true,
    }
}

/// A member that uses a pre-shared key.
pub(crate) fn member_config() -> initiator::Config {
    initiator::Config::new(
        member_identity(),
        Credentials::PreSharedKey(shared_key()),
        any_key_server(),
        Purpose::Registration(registration_parameters()),
    )
}

/// A key server that knows that member.
pub(crate) fn server_config() -> responder::Config {
    let mut config = responder::Config::new(server_identity());
    config.pre_shared_keys = Some(Box::new(OnePreSharedKey {
        identity: member_identity(),
        key: shared_key(),
    }));
    config
}

pub(crate) fn member_address() -> SocketAddr {
    SocketAddr::from(([10, 1, 0, 2], 848))
}

pub(crate) fn server_address() -> SocketAddr {
    SocketAddr::from(([172, 20, 0, 2], 848))
}

/// What the owner of the responder does with a registration.
pub(crate) enum Decision {
    Accept(Box<Grant>),
    Refuse(Refusal),
    /// The test answers later.
    Wait,
}

impl Decision {
    pub(crate) fn accept(grant: Grant) -> Self {
        Self::Accept(Box::new(grant))
    }
}

/// A datagram as it appeared on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) to_server: bool,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) payload: Vec<u8>,
}

struct Flight {
    to_server: bool,
    source: SocketAddr,
    destination: SocketAddr,
    payload: Vec<u8>,
}

/// One member and one key server.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) unix_time: u64,
    pub(crate) entropy: Seeded,
    pub(crate) link: Link,
    pub(crate) member: Initiator,
    pub(crate) server: Responder,
    pub(crate) member_events: Vec<initiator::Event>,
    pub(crate) server_events: Vec<responder::Event>,
    pub(crate) open_registrations: Vec<(RegistrationHandle, Box<RegistrationRequest>)>,
    pub(crate) decide: Box<dyn FnMut(&RegistrationRequest) -> Decision>,
    /// Every datagram sent, before the link did anything to it.
    pub(crate) wire: Vec<Sighting>,
    in_flight: BTreeMap<(Instant, u64), Flight>,
    serial: u64,
}

impl Pair {
    pub(crate) fn new(member: initiator::Config, server: responder::Config) -> Self {
        Self::with_seed(member, server, 1)
    }

    pub(crate) fn with_seed(
        member: initiator::Config,
        server: responder::Config,
        seed: u64,
    ) -> Self {
        let now = Instant::now();
        let mut entropy = Seeded::new(seed);
        let server = Responder::new(server, now, &mut entropy);
        let member = Initiator::new(
            member,
            member_address(),
            server_address(),
            now,
            &mut entropy,
        );
        Self {
            now,
            unix_time: UNIX_TIME,
            entropy,
            link: Link::default(),
            member,
            server,
            member_events: Vec::new(),
            server_events: Vec::new(),
            open_registrations: Vec::new(),
            decide: Box::new(|_| Decision::accept(grants::plain())),
            wire: Vec::new(),
            in_flight: BTreeMap::new(),
            serial: 0,
        }
    }

    /// Lets the world run for `time`.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.collect();
            let flight = self.in_flight.keys().next().map(|(due, _)| *due);
            let server = self.server.poll_timeout().map(|(due, _)| due);
            let member = self.member.poll_timeout().map(|(due, _)| due);
            let Some(next) = [flight, server, member]
                .into_iter()
                .flatten()
                .min()
                .filter(|next| *next <= end)
            else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.in_flight.first_entry()
                && entry.key().0 <= self.now
            {
                let flight = entry.remove();
                self.deliver(flight);
                self.collect();
            }
            self.server.handle_timeout(self.now, &mut self.entropy);
            self.member.handle_timeout(self.now, &mut self.entropy);
        }
    }

    /// Runs until the member has an event that ends a registration, and returns it.
    pub(crate) fn outcome(&mut self) -> initiator::Event {
        for _ in 0..600 {
            self.run_for(Duration::from_millis(100));
            if !self.member_events.is_empty() {
                return self.member_events.remove(0);
            }
        }
        panic!("no event of the member within a minute");
    }

    /// Runs to a successful registration.
    pub(crate) fn registered(&mut self) -> Box<initiator::Registration> {
        match self.outcome() {
            initiator::Event::Registered(registration) => registration,
            other => panic!(
                "not registered: {other:?}, server saw {:?}",
                self.server_events
            ),
        }
    }

    /// The reasons the key server gave for refusing something.
    pub(crate) fn rejections(&self) -> Vec<&responder::RejectReason> {
        self.server_events
            .iter()
            .filter_map(|event| match event {
                responder::Event::Rejected { reason, .. } => Some(reason),
                _ => None,
            })
            .collect()
    }

    /// Hands a datagram to the key server as if it had come from `source`.
    pub(crate) fn inject_to_server(&mut self, source: SocketAddr, payload: &[u8]) {
        let local = server_address();
        self.server.handle_datagram(
            self.now,
            self.unix_time,
            local,
            source,
            payload,
            &mut self.entropy,
        );
    }

    /// Hands a datagram to the member as if it had come from the key server.
    pub(crate) fn inject_to_member(&mut self, payload: &[u8]) {
        let (local, remote) = self.member.addresses();
        self.member.handle_datagram(
            self.now,
            self.unix_time,
            local,
            remote,
            payload,
            &mut self.entropy,
        );
    }

    /// Takes what both ends have to say, and puts datagrams on the link.
    pub(crate) fn collect(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(transmit) = self.member.poll_transmit() {
                quiet = false;
                self.send(true, transmit);
            }
            while let Some(transmit) = self.server.poll_transmit() {
                quiet = false;
                self.send(false, transmit);
            }
            while let Some(event) = self.member.poll_event() {
                self.member_events.push(event);
            }
            while let Some(event) = self.server.poll_event() {
                quiet = false;
                if let responder::Event::Registration { handle, request } = event {
                    match (self.decide)(&request) {
                        Decision::Accept(grant) => {
                            self.server
                                .accept(self.now, handle, *grant, &mut self.entropy)
                                .expect("an open request");
                        }
                        Decision::Refuse(refusal) => {
                            self.server
                                .refuse(self.now, handle, refusal, &mut self.entropy)
                                .expect("an open request");
                        }
                        Decision::Wait => {}
                    }
                    self.open_registrations.push((handle, request));
                } else {
                    self.server_events.push(event);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn send(&mut self, to_server: bool, transmit: Transmit) {
        let Transmit {
            local,
            remote,
            payload,
        } = transmit;
        self.wire.push(Sighting {
            to_server,
            local,
            remote,
            payload: payload.clone(),
        });
        if payload.len() > self.link.longest || self.entropy.below(100) < self.link.loss_percent {
            return;
        }
        let copies = if self.entropy.below(100) < self.link.duplicate_percent {
            2
        } else {
            1
        };
        let (mut source, mut destination) = (local, remote);
        if let Some(nat) = self.link.nat {
            if to_server {
                source = nat(source);
            } else {
                let inside = [848, 4500].map(|port| SocketAddr::new(member_address().ip(), port));
                destination = inside
                    .into_iter()
                    .find(|inside| nat(*inside) == destination)
                    .expect("a mapping");
            }
        }
        let arrives = if to_server {
            server_address().ip()
        } else {
            member_address().ip()
        };
        if destination.ip() != arrives {
            return;
        }
        for _ in 0..copies {
            let jitter = self.link.jitter.as_micros() as u64;
            let delay = Duration::from_micros(5_000 + self.entropy.below(jitter + 1));
            self.serial += 1;
            let flight = Flight {
                to_server,
                source,
                destination,
                payload: payload.clone(),
            };
            self.in_flight
                .insert((self.now + delay, self.serial), flight);
        }
    }

    fn deliver(&mut self, flight: Flight) {
        let Flight {
            to_server,
            source,
            destination,
            payload,
        } = flight;
        let (now, unix_time, entropy) = (self.now, self.unix_time, &mut self.entropy);
        if to_server {
            self.server
                .handle_datagram(now, unix_time, destination, source, &payload, entropy);
        } else {
            self.member
                .handle_datagram(now, unix_time, destination, source, &payload, entropy);
        }
    }
}
