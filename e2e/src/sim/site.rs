//! A simulated machine with a member: its state machine, its packet path, and what its kernel does with packets.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gikev2::exchange::authentication::Credentials;
use gikev2::exchange::identity::IdentityPattern;
use gikev2::wire::{IdType, Identification};
use gm_core::DataPlane;
use gm_core::data_plane::Encapsulation;
use gm_core::drop_reason::{DropCounters, DropReason};
use gm_core::ip::virtio::VirtioHeader;
use gm_core::member::traffic_plan::Treatment;
use gm_core::member::{
    DirectionOverride, FailureMode, GroupMember, GroupSettings, Timing, TrafficPlan,
};
use gm_core::sad::{Carrier, Inbound, Installed, Outbound, Outcome, Outer, Registry, Route, Sent};
use gm_sidecar::datapath::Provider;

use super::policy::GROUP_ID;
use super::server;

/// MTU of every link.
const LINK_MTU: u16 = 1500;
/// Replay windows kept.
const SENDERS: usize = 256;

/// Address of a site's member, also the port of registration.
pub(super) fn address(site: usize) -> SocketAddr {
    SocketAddr::from(([10, 1, u8::try_from(site).unwrap_or(u8::MAX), 2], 848))
}

/// Name of a site's member.
pub(super) fn name(site: usize) -> String {
    format!("m-{site}.member.getvpn")
}

/// What the kernel and the packet path did with a packet of the application.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// These ESP packets go out.
    Sealed(Vec<(u8, Vec<u8>)>),
    /// It goes out as it is.
    Clear,
    /// It goes nowhere.
    HeldBack,
}

/// A machine with a member.
pub(super) struct Site {
    number: usize,
    servers: usize,
    /// Counts starts of the process.
    pub(super) life: u32,
    pub(super) member: GroupMember,
    pub(super) up: bool,
    pub(super) frozen_until: Option<Instant>,
    /// Its packet path does not see time pass, nor new keys.
    pub(super) stuck_at: Option<Instant>,
    /// Nothing of the control plane reaches it.
    pub(super) deaf: bool,
    /// ESP under an SPI that it does not know arrived: SPI, source, destination.
    pub(super) unknown: Option<(gm_core::sad::Spi, IpAddr, IpAddr)>,
    /// Packets refused for their pseudotime, and packets accepted.
    pub(super) arrived: (u64, u64),
    plan: TrafficPlan,
    installed: Installed,
    registry: Registry,
    outbound: Outbound,
    inbound: Inbound,
    drops: Arc<DropCounters>,
    generation: u64,
    provider: Provider,
}

/// Collects what the packet path sends.
#[derive(Default)]
struct Collected(Vec<(u8, Vec<u8>)>);

impl Carrier for Collected {
    fn send(&mut self, route: &Route, train: &[u8], segment: usize) -> Sent {
        let packets = train.chunks(segment.max(1));
        self.0
            .extend(packets.map(|packet| (route.traffic_class, packet.to_vec())));
        Sent::Yes
    }

    fn reply(&mut self, _: &[u8]) {}
}

impl Site {
    pub(super) fn new(number: usize, servers: usize, mode: FailureMode, now: Instant) -> Self {
        let drops = Arc::new(DropCounters::default());
        Self {
            number,
            servers,
            life: 0,
            member: member(number, servers, mode, now),
            up: true,
            frozen_until: None,
            stuck_at: None,
            deaf: false,
            unknown: None,
            arrived: (0, 0),
            plan: TrafficPlan::before_registration(mode == FailureMode::Closed, Vec::new()),
            installed: Installed::empty(LINK_MTU),
            registry: Registry::default(),
            outbound: Outbound::new(Arc::clone(&drops), 1),
            inbound: Inbound::new(SENDERS),
            drops,
            generation: 0,
            provider: Provider::choose(),
        }
    }

    /// Starts the process again: it remembers nothing.
    pub(super) fn restart(&mut self, mode: FailureMode, now: Instant) {
        let life = self.life + 1;
        *self = Self::new(self.number, self.servers, mode, now);
        self.life = life;
    }

    /// Whether it hears and acts.
    pub(super) fn acts(&self, now: Instant) -> bool {
        self.up && self.frozen_until.is_none_or(|until| until <= now)
    }

    /// Puts what the state machine wants in force; the new keys.
    pub(super) fn install(&mut self) -> DataPlane {
        let plane = self.member.data_plane(None);
        self.plan = self.member.traffic_plan();
        self.install_plane(&plane);
        plane
    }

    /// Puts keys in force.
    pub(super) fn install_plane(&mut self, plane: &DataPlane) {
        if self.stuck_at.is_some() {
            return;
        }
        self.generation += 1;
        let installed = Installed::new(
            plane,
            self.generation,
            LINK_MTU,
            &mut self.registry,
            &self.provider,
        );
        // What contradicts itself changes nothing, as in the process.
        if let Ok(installed) = installed {
            self.installed = installed;
            self.inbound.retain(&self.installed);
        }
    }

    /// Goes on as a copy of itself from before it sent anything: its counters start again.
    pub(super) fn restore_copy(&mut self) {
        self.registry = Registry::default();
        let plane = self.member.data_plane(None);
        self.install_plane(&plane);
    }

    /// The SPI it seals with.
    pub(super) fn sealing_spi(&self, now: Instant) -> Option<u32> {
        let sealing = self
            .installed
            .associations()
            .iter()
            .filter(|sa| sa.sender.is_some() && sa.seals_at(now));
        sealing.map(|sa| sa.spi.0).find(|spi| {
            let group = self.installed.by_spi(gm_core::sad::Spi(*spi)).first();
            group.is_some_and(|sa| {
                self.installed
                    .sealing(sa.group, sa.association, sa.family, now)
                    .is_some_and(|newest| newest.spi == sa.spi)
            })
        })
    }

    /// SPIs of the keys it holds.
    pub(super) fn spis(&self) -> impl Iterator<Item = u32> {
        self.installed.associations().iter().map(|sa| sa.spi.0)
    }

    /// The group's pseudotime as it estimates it, in milliseconds.
    pub(super) fn pseudotime(&self, now: Instant) -> Option<u64> {
        self.installed.pseudotime(0, now)
    }

    /// A packet of the application to another site.
    pub(super) fn send(&mut self, now: Instant, to: usize, number: u64) -> Fate {
        let packet = packet(self.number, to, number);
        if self.plan.closed {
            return Fate::HeldBack;
        }
        let (source, destination) = (address(self.number).ip(), address(to).ip());
        match treatment(&self.plan, source, destination) {
            Some(Treatment::Protect { .. }) => {}
            Some(Treatment::Clear) | None => return Fate::Clear,
        }
        let mut read = VirtioHeader::PLAIN.write().to_vec();
        read.extend_from_slice(&packet);
        let mut collected = Collected::default();
        let at = self.stuck_at.unwrap_or(now);
        let outcome = self
            .outbound
            .handle(&self.installed, at, &mut read, &mut collected);
        self.outbound.flush(at, &mut collected);
        match outcome {
            Outcome::Sealed(_) => Fate::Sealed(collected.0),
            Outcome::Dropped(DropReason::PolicyClear) => Fate::Clear,
            Outcome::Dropped(_) => Fate::HeldBack,
        }
    }

    /// An ESP packet from another site arrives: the number inside, or why it is refused.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        from: usize,
        class: u8,
        mut octets: Vec<u8>,
    ) -> Result<u64, DropReason> {
        let outer = Outer {
            source: address(from).ip(),
            destination: address(self.number).ip(),
            traffic_class: class,
            encapsulation: Encapsulation::Udp,
        };
        let place = self
            .inbound
            .handle(&self.installed, now, &outer, &mut octets)
            .map_err(|refused| {
                self.drops.add(refused.reason, 1);
                if let (DropReason::UnknownSpi, Some(spi)) = (refused.reason, refused.spi) {
                    self.unknown = Some((spi, outer.source, outer.destination));
                }
                if refused.reason == DropReason::OutsideTimeWindow {
                    self.arrived.0 += 1;
                }
                refused.reason
            })?;
        self.arrived.1 += 1;
        let inner = octets.get(place).unwrap_or_default();
        let number = inner.get(NUMBER_AT..NUMBER_AT + 8);
        let number = number.and_then(|octets| octets.try_into().ok());
        number
            .map(u64::from_be_bytes)
            .ok_or(DropReason::InnerMalformed)
    }
}

fn member(number: usize, servers: usize, mode: FailureMode, now: Instant) -> GroupMember {
    // Each prefers another key server.
    let key_servers = (0..servers)
        .map(|server| server::address((server + number) % servers))
        .collect();
    let settings = GroupSettings {
        group_id: GROUP_ID,
        key_servers,
        identity: Identification::fqdn(&name(number)),
        key_server_identities: vec![IdentityPattern::new(IdType::FQDN, "*.keyserver.getvpn")],
        credentials: Credentials::PreSharedKey(server::shared_key()),
        bypass: Vec::new(),
        direction: DirectionOverride::Inherit,
        timing: Timing {
            retry_most: Duration::from_secs(15),
            ..Timing::default()
        },
    };
    GroupMember::new(vec![settings], mode, Vec::new(), now)
}

/// What the list says of packets between two addresses.
fn treatment(plan: &TrafficPlan, source: IpAddr, destination: IpAddr) -> Option<Treatment> {
    plan.entries
        .iter()
        .find(|entry| {
            entry.selector.source.contains(source)
                && entry.selector.destination.contains(destination)
        })
        .map(|entry| entry.treatment)
}

/// Where the number is in an inner packet: behind the headers of IPv4 and UDP.
const NUMBER_AT: usize = 28;

/// A UDP datagram with a number.
fn packet(from: usize, to: usize, number: u64) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 36, 0, 0, 0x40, 0, 64, 17, 0, 0];
    for end in [from, to] {
        if let IpAddr::V4(address) = address(end).ip() {
            packet.extend(address.octets());
        }
    }
    let sum = packet
        .chunks(2)
        .map(|pair| {
            pair.iter()
                .fold(0_u32, |word, octet| word << 8 | u32::from(*octet))
        })
        .sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend([0x13, 0x88, 0x13, 0x89, 0, 16, 0, 0]);
    packet.extend(number.to_be_bytes());
    packet
}
