//! Two members without a network: what one seals is handed to the other.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gm_core::data_plane::{
    AntiReplay, DataPlane, Direction, Encapsulation, Family, Group, Pseudotime, SecurityAssociation,
};
use gm_core::drop_reason::{DropCounters, DropReason};
use gm_core::ip::virtio::VirtioHeader;
use gm_core::sad::{
    Algorithm, Carrier, Inbound, Installed, KeyMaterial, Outbound, Outcome, Outer, Registry, Route,
    SenderId, Sent, Spi,
};
use gm_core::spd::{Action, AddressRange, Rule, Selector};

use super::cipher::RustCrypto;

pub(crate) const LINK_MTU: u16 = 1500;

/// Everything that was sent, and every answer for the TUN.
#[derive(Default)]
pub(crate) struct Wire {
    pub(crate) trains: Vec<(Route, Vec<u8>, usize)>,
    pub(crate) replies: Vec<Vec<u8>>,
    pub(crate) answer: Option<Sent>,
}

impl Carrier for Wire {
    fn send(&mut self, route: &Route, train: &[u8], segment: usize) -> Sent {
        assert!(!train.is_empty() && segment > 0);
        self.trains.push((*route, train.to_vec(), segment));
        self.answer.unwrap_or(Sent::Yes)
    }

    fn reply(&mut self, packet: &[u8]) {
        self.replies.push(packet.to_vec());
    }
}

impl Wire {
    /// Every ESP packet by itself.
    pub(crate) fn packets(&self) -> Vec<Vec<u8>> {
        self.trains
            .iter()
            .flat_map(|(_, train, segment)| train.chunks(*segment).map(<[u8]>::to_vec))
            .collect()
    }
}

/// A member.
pub(crate) struct Member {
    pub(crate) plane: DataPlane,
    pub(crate) registry: Registry,
    pub(crate) installed: Installed,
    pub(crate) outbound: Outbound,
    pub(crate) inbound: Inbound,
    pub(crate) drops: Arc<DropCounters>,
    pub(crate) wire: Wire,
    pub(crate) now: Instant,
    generation: u64,
}

pub(crate) fn selector(first: [IpAddr; 2], last: [IpAddr; 2]) -> Selector {
    let range = |pair: [IpAddr; 2]| match pair {
        [IpAddr::V4(first), IpAddr::V4(last)] => AddressRange::V4(first, last),
        [IpAddr::V6(first), IpAddr::V6(last)] => AddressRange::V6(first, last),
        _ => unreachable!("one family"),
    };
    Selector {
        source: range(first),
        destination: range(last),
        protocol: None,
        source_ports: 0..=u16::MAX,
        destination_ports: 0..=u16::MAX,
    }
}

pub(crate) fn everything() -> Vec<Rule> {
    let all4 = [IpAddr::from([0; 4]), IpAddr::from([255; 4])];
    let all6 = [IpAddr::from([0; 16]), IpAddr::from([255; 16])];
    [all4, all6]
        .map(|all| Rule {
            selector: selector(all, all),
            action: Action::Protect { association: 1 },
        })
        .into()
}

pub(crate) fn association(
    spi: u32,
    family: Family,
    sender: u32,
    now: Instant,
) -> SecurityAssociation {
    let hour = Duration::from_secs(3600);
    SecurityAssociation {
        spi: Spi(spi),
        group: 0,
        association: 1,
        family,
        key: KeyMaterial::new(Algorithm::Aes256Gcm, &[spi as u8; 36]).expect("36 octets"),
        sender_id_bits: 24,
        sender_id: Some(SenderId(sender)),
        activate_at: now,
        stop_sending_at: now + hour,
        delete_at: now + hour,
        anti_replay: AntiReplay::COUNTER,
        encapsulation: Encapsulation::Udp,
    }
}

impl Member {
    /// A member with one SA for each version (SPIs 0x400 and 0x600) and a list that encrypts all.
    pub(crate) fn new(sender: u32, now: Instant) -> Self {
        let plane = DataPlane {
            groups: vec![Group {
                group_id: 1,
                direction: Direction::Both,
                rules: everything(),
                pseudotime: Some(Pseudotime {
                    at: now,
                    milliseconds: 1_000_000,
                }),
            }],
            associations: vec![
                Arc::new(association(0x4001, Family::V4, sender, now)),
                Arc::new(association(0x6002, Family::V6, sender, now)),
            ],
            ..DataPlane::default()
        };
        let drops = Arc::new(DropCounters::default());
        let mut member = Self {
            plane,
            registry: Registry::default(),
            installed: Installed::empty(LINK_MTU),
            outbound: Outbound::new(Arc::clone(&drops), 1),
            inbound: Inbound::new(16),
            drops,
            wire: Wire::default(),
            now,
            generation: 0,
        };
        member.install();
        member
    }

    /// Puts `plane` in force.
    pub(crate) fn install(&mut self) {
        self.generation += 1;
        self.installed = Installed::new(
            &self.plane,
            self.generation,
            LINK_MTU,
            &mut self.registry,
            &RustCrypto,
        )
        .expect("sound");
    }

    /// Changes the SAs and puts them in force.
    pub(crate) fn change(&mut self, change: impl Fn(&mut SecurityAssociation)) {
        let (now, sender) = (
            self.now,
            self.plane.associations[0]
                .sender_id
                .map_or(0, |sender| sender.0),
        );
        self.plane.associations = [(0x4001, Family::V4), (0x6002, Family::V6)]
            .map(|(spi, family)| {
                let mut sa = association(spi, family, sender, now);
                change(&mut sa);
                Arc::new(sa)
            })
            .into();
        self.install();
    }

    /// Takes a packet from the TUN and flushes.
    pub(crate) fn seal_with(&mut self, virtio: VirtioHeader, packet: &[u8]) -> Outcome {
        let mut read = virtio.write().to_vec();
        read.extend_from_slice(packet);
        let outcome = self
            .outbound
            .handle(&self.installed, self.now, &mut read, &mut self.wire);
        self.outbound.flush(self.now, &mut self.wire);
        outcome
    }

    pub(crate) fn seal(&mut self, packet: &[u8]) -> Outcome {
        self.seal_with(VirtioHeader::PLAIN, packet)
    }

    /// Takes an ESP packet from the wire; the inner packet when it may pass.
    pub(crate) fn open(&mut self, outer: &Outer, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
        let mut packet = packet.to_vec();
        let place: Range<usize> = self
            .inbound
            .handle(&self.installed, self.now, outer, &mut packet)
            .map_err(|refused| refused.reason)?;
        Ok(packet[place].to_vec())
    }
}

/// The outer header a route leads to.
pub(crate) fn outer(route: &Route) -> Outer {
    Outer {
        source: route.source,
        destination: route.destination,
        traffic_class: route.traffic_class,
        encapsulation: route.encapsulation,
    }
}
