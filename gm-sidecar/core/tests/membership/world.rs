//! One member, several key servers, a link between them and a clock that jumps from event to event.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gikev2::crypto::digest::sha256;
use gikev2::exchange::authentication::{Credentials, PreSharedKeys};
use gikev2::exchange::identity::IdentityPattern;
use gikev2::responder::{self, Refusal, Responder};
use gikev2::wire::{IdType, Identification, NotifyType, Proposal};
use gikev2::{Entropy, Secret, Transmit};
use gm_core::member::{
    DirectionOverride, FailureMode, GroupMember, GroupSettings, MemberEvent, MemberEventKind,
    MembershipStatus, Timing,
};

use super::group::Group;

const MEMBER: &str = "m-1.member.getvpn";
const KEY: &[u8] = b"a pre-shared key for the tests..";
/// A datagram's way through the network.
const DELAY: Duration = Duration::from_millis(5);

/// Random octets from a counter.
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let block = sha256(&[&self.0.to_be_bytes()]);
            self.0 += 1;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

struct OneKey {
    identity: Identification,
    key: Secret,
}

impl PreSharedKeys for OneKey {
    fn key(&self, identity: &Identification) -> Option<&Secret> {
        (identity == &self.identity).then_some(&self.key)
    }
}

/// A key server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Off: it neither hears nor speaks.
    pub(crate) up: bool,
    pub(crate) refusal: Option<Refusal>,
    /// Datagrams that reached it while it was up.
    pub(crate) heard: u32,
    responder: Responder,
}

struct Flight {
    to_server: bool,
    source: SocketAddr,
    destination: SocketAddr,
    payload: Vec<u8>,
}

/// The world.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    /// The member's wall clock, in seconds of UNIX time.
    pub(crate) wall_clock: u64,
    pub(crate) entropy: Seeded,
    pub(crate) member: GroupMember,
    pub(crate) servers: Vec<Server>,
    pub(crate) groups: Vec<Group>,
    pub(crate) events: Vec<MemberEventKind>,
    /// When each attempt began, and where.
    pub(crate) attempts: Vec<(Instant, SocketAddr)>,
    /// Members who said that they leave.
    pub(crate) left: Vec<Identification>,
    /// Why, by notification.
    pub(crate) left_because: Vec<NotifyType>,
    /// The member's address as the key servers see it, when a translator is in between.
    pub(crate) translated: Option<SocketAddr>,
    /// Where keep-alives went, and when.
    pub(crate) keep_alives: Vec<(Instant, SocketAddr)>,
    /// Exchange types of the requests that the member sent outside port 4500.
    pub(crate) requests: Vec<u8>,
    /// The capabilities (SAg) in the last registration.
    pub(crate) capabilities: Vec<Proposal>,
    /// The IKE SA of the last registration at the first key server.
    ike_sa: Option<responder::IkeSaHandle>,
    /// Rekeys over the IKE SA that the member confirmed.
    pub(crate) confirmed_inband: u32,
    /// Acknowledgements of rekeys, as sent.
    pub(crate) acknowledgements: Vec<Vec<u8>>,
    in_flight: BTreeMap<(Instant, u64), Flight>,
    serial: u64,
}

pub(crate) fn member_address() -> SocketAddr {
    SocketAddr::from(([10, 1, 0, 2], 848))
}

pub(crate) fn server_address(index: u8) -> SocketAddr {
    SocketAddr::from(([172, 20, index, 2], 848))
}

/// The settings of one group with `servers` key servers.
pub(crate) fn settings(group_id: u32, servers: u8) -> GroupSettings {
    GroupSettings {
        group_id,
        key_servers: (0..servers).map(server_address).collect(),
        identity: Identification::fqdn(MEMBER),
        key_server_identities: vec![IdentityPattern::new(IdType::FQDN, "*.keyserver.getvpn")],
        credentials: Credentials::PreSharedKey(Secret::from_slice(KEY)),
        bypass: Vec::new(),
        direction: DirectionOverride::Inherit,
        timing: Timing::default(),
    }
}

impl World {
    /// A member of group 7 that fails closed, and `servers` key servers; the group has one TEK of
    /// an hour in use.
    pub(crate) fn new(servers: u8) -> Self {
        Self::with(vec![settings(7, servers)], servers)
    }

    /// A member with these settings.
    pub(crate) fn with(settings: Vec<GroupSettings>, servers: u8) -> Self {
        let now = Instant::now();
        let mut entropy = Seeded(1);
        let groups = settings
            .iter()
            .map(|settings| {
                let mut group = Group::new(settings.group_id, now);
                let spi = 0x1000 + settings.group_id * 0x100;
                group.add_tek(spi, now, Duration::from_secs(3600));
                group
            })
            .collect();
        let servers = (0..servers)
            .map(|index| {
                let name = format!("ks-{index}.keyserver.getvpn");
                let mut config = responder::Config::new(Identification::fqdn(&name));
                config.pre_shared_keys = Some(Box::new(OneKey {
                    identity: Identification::fqdn(MEMBER),
                    key: Secret::from_slice(KEY),
                }));
                Server {
                    address: server_address(index),
                    up: true,
                    refusal: None,
                    heard: 0,
                    responder: Responder::new(config, now, &mut entropy),
                }
            })
            .collect();
        Self {
            now,
            start: now,
            wall_clock: 1_782_864_000,
            entropy,
            member: GroupMember::new(settings, FailureMode::Closed, Vec::new(), now),
            servers,
            groups,
            events: Vec::new(),
            attempts: Vec::new(),
            left: Vec::new(),
            left_because: Vec::new(),
            translated: None,
            keep_alives: Vec::new(),
            requests: Vec::new(),
            capabilities: Vec::new(),
            ike_sa: None,
            confirmed_inband: 0,
            acknowledgements: Vec::new(),
            in_flight: BTreeMap::new(),
            serial: 0,
        }
    }

    /// A world whose member has just registered.
    pub(crate) fn registered(servers: u8) -> Self {
        let mut world = Self::new(servers);
        world.run_until_registered();
        world
    }

    /// A world whose key servers also know a group that the member does not.
    pub(crate) fn with_spare_group(servers: u8, group_id: u32) -> Self {
        let mut world = Self::new(servers);
        let mut group = Group::new(group_id, world.now);
        group.add_tek(
            0x1000 + group_id * 0x100,
            world.now,
            Duration::from_secs(3600),
        );
        world.groups.push(group);
        world
    }

    /// As [`World::with_spare_group`], with the member just registered.
    pub(crate) fn registered_with_spare_group(servers: u8, group_id: u32) -> Self {
        let mut world = Self::with_spare_group(servers, group_id);
        world.run_until_registered();
        world
    }

    pub(crate) fn run_until_registered(&mut self) {
        let before = self.status().registrations;
        for _ in 0..6000 {
            self.run_for(Duration::from_millis(100));
            if self.status().registrations > before {
                return;
            }
        }
        panic!("no registration within ten minutes: {:?}", self.events);
    }

    /// State of the first group.
    pub(crate) fn status(&self) -> MembershipStatus {
        self.member.status(self.now).remove(0)
    }

    /// SPIs that the packet path holds.
    pub(crate) fn spis(&self) -> Vec<u32> {
        let plane = self.member.data_plane(None);
        plane.associations.iter().map(|sa| sa.spi.0).collect()
    }

    pub(crate) fn set_servers_up(&mut self, up: bool) {
        self.servers.iter_mut().for_each(|server| server.up = up);
    }

    pub(crate) fn has_event(&self, wanted: impl Fn(&MemberEventKind) -> bool) -> bool {
        self.events.iter().any(wanted)
    }

    /// Hands datagrams of a rekey to the member as if the first key server had sent them.
    pub(crate) fn deliver_rekey(&mut self, datagrams: &[Vec<u8>]) {
        for datagram in datagrams {
            self.member.handle_datagram(
                self.now,
                self.wall_clock,
                member_address(),
                server_address(0),
                datagram,
                &mut self.entropy,
            );
        }
        self.collect();
    }

    /// Lets the first key server rekey the member over its IKE SA.
    pub(crate) fn rekey_inband(&mut self, rekey: &responder::InbandRekey) {
        let ike_sa = self.ike_sa.expect("a registration");
        self.servers[0]
            .responder
            .rekey_inband(self.now, ike_sa, rekey, &mut self.entropy)
            .expect("an IKE SA that is up");
        self.run_for(4 * DELAY);
    }

    /// Lets the world run for `time`.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.collect();
            let flight = self.in_flight.keys().next().map(|(due, _)| *due);
            let member = self.member.poll_timeout().map(|(due, _)| due);
            let servers = self
                .servers
                .iter()
                .filter_map(|server| server.responder.poll_timeout())
                .map(|(due, _)| due);
            let next = servers.chain(flight).chain(member).min();
            let Some(next) = next.filter(|next| *next <= end) else {
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
            for server in &mut self.servers {
                server.responder.handle_timeout(self.now, &mut self.entropy);
            }
            self.member.handle_timeout(self.now, &mut self.entropy);
        }
    }

    fn collect(&mut self) {
        loop {
            while let Some((index, remote)) = self.member.poll_connect() {
                self.attempts.push((self.now, remote));
                let membership = &mut self.member.memberships_mut()[index];
                membership.handle_connect(self.now, member_address(), remote, &mut self.entropy);
            }
            while let Some(MemberEvent { kind, .. }) = self.member.poll_event() {
                self.events.push(kind);
            }
            let mut quiet = true;
            while let Some(transmit) = self.member.poll_transmit() {
                quiet = false;
                if transmit.payload == [0xff] {
                    self.keep_alives.push((self.now, transmit.remote));
                }
                if let (Some(exchange), Some(flags)) =
                    (transmit.payload.get(18), transmit.payload.get(19))
                    && flags & 0x20 == 0
                {
                    self.requests.push(*exchange);
                }
                if transmit.payload.get(18) == Some(&240) {
                    self.acknowledgements.push(transmit.payload.clone());
                }
                self.fly(true, transmit);
            }
            for index in 0..self.servers.len() {
                while let Some(event) = self.servers[index].responder.poll_event() {
                    quiet = false;
                    self.decide(index, event);
                }
                while let Some(transmit) = self.servers[index].responder.poll_transmit() {
                    quiet = false;
                    if self.servers[index].up {
                        self.fly(false, transmit);
                    }
                }
            }
            if quiet && self.member.poll_connect().is_none() {
                return;
            }
        }
    }

    fn decide(&mut self, index: usize, event: responder::Event) {
        match event {
            responder::Event::Registration { handle, request } => {
                self.ike_sa = (index == 0).then(|| handle.ike_sa());
                self.capabilities = request.capabilities.clone().unwrap_or_default();
                let server = &mut self.servers[index];
                let entropy = &mut self.entropy;
                let group = self
                    .groups
                    .iter_mut()
                    .find(|group| Identification::group(group.id) == request.group);
                let answered = match (server.refusal, group) {
                    (Some(refusal), _) => {
                        server.responder.refuse(self.now, handle, refusal, entropy)
                    }
                    (None, Some(group)) => {
                        let grant = group.grant(self.now);
                        server.responder.accept(self.now, handle, grant, entropy)
                    }
                    (None, None) => {
                        let refusal = Refusal::InvalidGroupId;
                        server.responder.refuse(self.now, handle, refusal, entropy)
                    }
                };
                answered.expect("an open request");
            }
            responder::Event::Left {
                identity, reason, ..
            } => {
                self.left.push(identity);
                self.left_because.push(reason);
            }
            responder::Event::InbandRekeyed { .. } => self.confirmed_inband += 1,
            _ => {}
        }
    }

    fn fly(&mut self, to_server: bool, transmit: Transmit) {
        self.serial += 1;
        let flight = Flight {
            to_server,
            source: transmit.local,
            destination: transmit.remote,
            payload: transmit.payload,
        };
        self.in_flight
            .insert((self.now + DELAY, self.serial), flight);
    }

    fn deliver(&mut self, flight: Flight) {
        let (mut local, mut remote) = (flight.destination, flight.source);
        if let Some(translated) = self.translated {
            if flight.to_server {
                remote.set_ip(translated.ip());
            } else {
                local.set_ip(member_address().ip());
            }
        }
        if !flight.to_server {
            self.member.handle_datagram(
                self.now,
                self.wall_clock,
                local,
                remote,
                &flight.payload,
                &mut self.entropy,
            );
            return;
        }
        let server = self
            .servers
            .iter_mut()
            .find(|server| server.address.ip() == local.ip());
        if let Some(server) = server.filter(|server| server.up) {
            server.heard += 1;
            server.responder.handle_datagram(
                self.now,
                0,
                local,
                remote,
                &flight.payload,
                &mut self.entropy,
            );
        }
    }
}
