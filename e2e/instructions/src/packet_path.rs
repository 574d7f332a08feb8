//! The packet path between two members, without sockets: everything on, then less and less.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gm_core::data_plane::{
    AntiReplay, DataPlane, Direction, Encapsulation, Family, Group, Pseudotime, SecurityAssociation,
};
use gm_core::drop_reason::DropCounters;
use gm_core::esp::aead::ICV;
use gm_core::esp::{AeadProvider, AuthenticationFailed, KeyFingerprint, PacketAead};
use gm_core::ip::flow::{Flow, number};
use gm_core::ip::virtio::{Segmentation, VirtioHeader};
use gm_core::sad::{
    Algorithm, Carrier, Inbound, Installed, KeyMaterial, Outbound, Outcome, Outer, Registry,
    ReplayTable, Route, SenderId, Sent, Spi,
};
use gm_core::spd::{AccessList, Action, AddressRange, Rule, Selector};

use crate::Case;

const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const DESTINATION: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const LINK_MTU: u16 = 1500;
/// Payload octets of each segment of a train.
const SEGMENT: u16 = 1300;
/// Segments of a train.
const TRAIN: u16 = 16;

/// A cipher that leaves the text as it is and accepts every ICV.
pub struct NoCipher;

impl PacketAead for NoCipher {
    fn seal(&self, _: &[u8; 12], _: &[u8; 8], _: &mut [u8]) -> [u8; ICV] {
        [0; ICV]
    }

    fn open(&self, _: &[u8; 12], _: &[u8; 8], _: &mut [u8]) -> Result<(), AuthenticationFailed> {
        Ok(())
    }
}

impl AeadProvider for NoCipher {
    fn expand(&self, _: &KeyMaterial) -> Box<dyn PacketAead> {
        Box::new(Self)
    }

    fn fingerprint(&self, key: &KeyMaterial) -> KeyFingerprint {
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&key.key()[..16]);
        KeyFingerprint(fingerprint)
    }
}

/// What of the policy is in use.
#[derive(Clone, Copy)]
pub struct Features {
    /// Rules before the one that matches.
    pub rules: u32,
    /// Other SAs of the group.
    pub other_associations: u8,
    /// Replay protection.
    pub anti_replay: AntiReplay,
}

/// Everything that a group may have: 100 rules, seven SAs, a window of pseudotime and a bitmap per sender.
pub const ALL: Features = Features {
    rules: 100,
    other_associations: 6,
    anti_replay: AntiReplay::time(Duration::from_secs(5)),
};

/// One rule, one SA, no replay protection.
pub const BARE: Features = Features {
    rules: 0,
    other_associations: 0,
    anti_replay: AntiReplay::NONE,
};

fn rule(source: [Ipv4Addr; 2], destination: [Ipv4Addr; 2]) -> Rule {
    Rule {
        selector: Selector {
            source: AddressRange::V4(source[0], source[1]),
            destination: AddressRange::V4(destination[0], destination[1]),
            protocol: None,
            source_ports: 0..=u16::MAX,
            destination_ports: 0..=u16::MAX,
        },
        action: Action::Protect { association: 1 },
    }
}

/// So many rules for other networks, then one for all addresses.
fn rules(others: u32) -> Vec<Rule> {
    let all = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST];
    (0..others)
        .map(|at| {
            let network = Ipv4Addr::from(0xac10_0000 + (at << 8));
            let last = Ipv4Addr::from(0xac10_00ff + (at << 8));
            rule([network, last], [network, last])
        })
        .chain([rule(all, all)])
        .collect()
}

fn plane(features: &Features, sender: u32, now: Instant) -> DataPlane {
    let hour = Duration::from_secs(3600);
    let association = |spi: u32, key: u8, number: u16| {
        Arc::new(SecurityAssociation {
            spi: Spi(spi),
            group: 0,
            association: number,
            family: Family::V4,
            key: KeyMaterial::new(Algorithm::Aes256Gcm, &[key; 36]).expect("36 octets"),
            sender_id_bits: 24,
            sender_id: Some(SenderId(sender)),
            activate_at: now,
            stop_sending_at: now + hour,
            delete_at: now + hour,
            anti_replay: features.anti_replay,
            encapsulation: Encapsulation::Udp,
        })
    };
    DataPlane {
        groups: vec![Group {
            group_id: 1,
            direction: Direction::Both,
            rules: rules(features.rules),
            pseudotime: Some(Pseudotime {
                at: now,
                milliseconds: 1_000_000,
            }),
        }],
        associations: (0..features.other_associations)
            .map(|at| association(0x5000 + u32::from(at), at + 2, u16::from(at) + 2))
            .chain([association(0x4001, 1, 1)])
            .collect(),
        ..DataPlane::default()
    }
}

/// Takes trains and keeps nothing.
struct Nowhere;

impl Carrier for Nowhere {
    fn send(&mut self, _: &Route, train: &[u8], _: usize) -> Sent {
        black_box(train);
        Sent::Yes
    }

    fn reply(&mut self, _: &[u8]) {}
}

/// Keeps the last train.
struct Last {
    route: Option<Route>,
    octets: Vec<u8>,
    segment: usize,
}

impl Carrier for Last {
    fn send(&mut self, route: &Route, train: &[u8], segment: usize) -> Sent {
        self.route = Some(*route);
        self.octets.clear();
        self.octets.extend_from_slice(train);
        self.segment = segment;
        Sent::Yes
    }

    fn reply(&mut self, _: &[u8]) {}
}

/// What one read of the TUN gives: a TCP super-packet of [`TRAIN`] segments, or a UDP datagram of 64 octets.
fn read(train: bool) -> Vec<u8> {
    let payload = if train {
        usize::from(SEGMENT * TRAIN)
    } else {
        64
    };
    let (protocol, transport) = if train { (6, 20) } else { (17, 8) };
    let virtio = VirtioHeader {
        needs_checksum: true,
        segmentation: if train {
            Segmentation::TcpV4
        } else {
            Segmentation::None
        },
        header_length: 20 + transport,
        segment_size: if train { SEGMENT } else { 0 },
        checksum_start: 20,
        checksum_offset: if train { 16 } else { 6 },
    };
    let length = u16::try_from(20 + usize::from(transport) + payload).expect("short");
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 7, 0x40, 0, 64, protocol, 0, 0]);
    packet.extend(SOURCE.octets());
    packet.extend(DESTINATION.octets());
    let sum = packet
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    packet[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    packet.extend([0x13, 0x88, 0x13, 0x89]);
    if train {
        packet.extend([0, 0, 3, 0xe8, 0, 0, 0, 9, 0x50, 0x10, 0x20, 0, 0, 0, 0, 0]);
    } else {
        packet.extend([0, 72, 0, 0]);
    }
    packet.resize(20 + usize::from(transport) + payload, 9);
    let mut read = virtio.write().to_vec();
    read.extend(packet);
    read
}

/// The sending half of a member that reads `train` again and again from its TUN.
pub fn sealing(
    features: Features,
    train: bool,
    provider: &dyn AeadProvider,
) -> impl FnMut() + use<> {
    let now = Instant::now();
    let mut registry = Registry::default();
    let installed = Installed::new(
        &plane(&features, 1, now),
        1,
        LINK_MTU,
        &mut registry,
        provider,
    )
    .expect("sound");
    let mut outbound = Outbound::new(Arc::new(DropCounters::default()), 1);
    let master = read(train);
    let mut buffer = master.clone();
    move || {
        buffer.copy_from_slice(&master);
        let outcome = outbound.handle(&installed, now, &mut buffer, &mut Nowhere);
        assert_ne!(outcome, Outcome::Sealed(0));
        assert!(matches!(outcome, Outcome::Sealed(_)), "{outcome:?}");
        outbound.flush(now, &mut Nowhere);
    }
}

/// Both halves: what one member seals the other one opens. New packets each time, or replay would refuse them.
pub fn passing(
    features: Features,
    train: bool,
    provider: &dyn AeadProvider,
) -> impl FnMut() + use<> {
    let now = Instant::now();
    let install = |sender| {
        Installed::new(
            &plane(&features, sender, now),
            1,
            LINK_MTU,
            &mut Registry::default(),
            provider,
        )
        .expect("sound")
    };
    let (sender, receiver) = (install(1), install(2));
    let mut outbound = Outbound::new(Arc::new(DropCounters::default()), 1);
    let mut inbound = Inbound::new(16);
    let master = read(train);
    let mut buffer = master.clone();
    let mut wire = Last {
        route: None,
        octets: Vec::with_capacity(65_536),
        segment: 0,
    };
    move || {
        buffer.copy_from_slice(&master);
        outbound.handle(&sender, now, &mut buffer, &mut wire);
        outbound.flush(now, &mut wire);
        let route = wire.route.expect("sent");
        let outer = Outer {
            source: route.source,
            destination: route.destination,
            traffic_class: route.traffic_class,
            encapsulation: route.encapsulation,
        };
        for packet in wire.octets.chunks_mut(wire.segment) {
            let place = inbound.handle(&receiver, now, &outer, packet);
            assert!(place.is_ok(), "{place:?}");
        }
    }
}

fn flow(port: u16) -> Flow {
    Flow {
        source: number(IpAddr::V4(SOURCE)),
        destination: number(IpAddr::V4(DESTINATION)),
        ports: (port, 5001),
        has_ports: true,
        later_fragment: false,
        protocol: 17,
        family: Family::V4,
    }
}

/// The search of the whole access list, which only the first packet of a flow needs.
fn search(others: u32) -> Box<dyn FnMut()> {
    let rules = rules(others);
    let list = AccessList::new([], [rules.as_slice()]);
    Box::new(move || {
        black_box(list.lookup(black_box(&flow(5000))));
    })
}

/// A 64-octet datagram of a known flow under so many rules.
fn known_flow(others: u32) -> Box<dyn FnMut()> {
    Box::new(sealing(
        Features {
            rules: others,
            ..BARE
        },
        false,
        &NoCipher,
    ))
}

fn replay() -> Box<dyn FnMut()> {
    let mut table = ReplayTable::new(64);
    let mut counter = 0;
    Box::new(move || {
        counter += 1;
        assert!(table.check(Spi(1), SenderId(1), counter));
        assert!(table.accept(Spi(1), SenderId(1), counter));
    })
}

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    let packet = |name, prepare| Case {
        name,
        unit: "packet",
        units: 1,
        prepare,
    };
    let train = |name, prepare| Case {
        name,
        unit: "packet of a train",
        units: u64::from(TRAIN),
        prepare,
    };
    vec![
        train("seal-train-all-features", || {
            Box::new(sealing(ALL, true, &NoCipher))
        }),
        train("seal-train-bare", || {
            Box::new(sealing(BARE, true, &NoCipher))
        }),
        train("seal-and-open-train-all-features", || {
            Box::new(passing(ALL, true, &NoCipher))
        }),
        train("seal-and-open-train-bare", || {
            Box::new(passing(BARE, true, &NoCipher))
        }),
        packet("seal-64-all-features", || {
            Box::new(sealing(ALL, false, &NoCipher))
        }),
        packet("seal-64-bare", || Box::new(sealing(BARE, false, &NoCipher))),
        packet("seal-and-open-64-all-features", || {
            Box::new(passing(ALL, false, &NoCipher))
        }),
        packet("seal-64-of-known-flow-10-rules", || known_flow(10)),
        packet("seal-64-of-known-flow-1000-rules", || known_flow(1000)),
        packet("search-of-10-rules", || search(10)),
        packet("search-of-1000-rules", || search(1000)),
        packet("replay-check-and-accept", replay),
    ]
}
