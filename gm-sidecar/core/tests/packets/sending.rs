//! From the TUN to the wire.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gm_core::DropReason;
use gm_core::data_plane::{AntiReplay, Direction, Family};
use gm_core::ip::virtio::VirtioHeader;
use gm_core::sad::{MOST_SEGMENTS, Outcome};
use gm_core::spd::{Action, Rule};

use super::packet::{Plan, V4};
use super::segments::{plain_cut, super_packet};
use super::world::{Member, association, outer, selector};

pub(crate) fn member() -> Member {
    Member::new(1, Instant::now())
}

/// What a second member makes of everything the first one sent.
pub(crate) fn received(from: &Member) -> Vec<Vec<u8>> {
    let mut receiver = Member::new(2, from.now);
    receiver.plane.associations = from
        .plane
        .associations
        .iter()
        .map(|sa| Arc::new(association(sa.spi.0, sa.family, 2, from.now)))
        .collect();
    let protection = from.plane.associations[0].anti_replay;
    let encapsulation = from.plane.associations[0].encapsulation;
    receiver.change(|sa| (sa.anti_replay, sa.encapsulation) = (protection, encapsulation));
    from.wire
        .trains
        .iter()
        .flat_map(|(route, train, segment)| {
            train.chunks(*segment).map(|packet| (outer(route), packet))
        })
        .map(|(outer, packet)| receiver.open(&outer, packet).expect("passes"))
        .collect()
}

#[test]
fn a_super_packet_leaves_as_one_train_of_equal_packets() {
    for v6 in [false, true] {
        let mut member = member();
        let plan = Plan {
            v6,
            tcp: true,
            payload: vec![9; 20_000],
            ..Plan::default()
        };
        let (virtio, packet) = super_packet(&plan, 1300);
        assert_eq!(member.seal_with(virtio, &packet), Outcome::Sealed(16));
        assert_eq!(member.wire.trains.len(), 1);
        assert_eq!(received(&member), plain_cut(&plan, 1300));
    }
}

#[test]
fn a_train_ends_at_the_most_segments_and_octets_a_datagram_may_have() {
    let mut member = member();
    for (size, count) in [(100, 640), (1300, 48)] {
        member.wire.trains.clear();
        let plan = Plan {
            tcp: true,
            payload: vec![9; size * count],
            ..Plan::default()
        };
        let (virtio, packet) = super_packet(&plan, size);
        assert_eq!(member.seal_with(virtio, &packet), Outcome::Sealed(count));
        for (_, train, segment) in &member.wire.trains {
            assert!(train.len() <= 65_507 && train.len().div_ceil(*segment) <= MOST_SEGMENTS);
        }
        assert_eq!(member.wire.packets().len(), count);
    }
}

#[test]
fn interleaved_destinations_still_leave_in_trains_and_in_order() {
    let mut member = member();
    let mut sent: Vec<Vec<u8>> = Vec::new();
    for round in 0..10u16 {
        for host in 0..12u8 {
            let mut packet = Plan {
                id: round,
                payload: vec![host; 64],
                ..Plan::default()
            }
            .build();
            packet[19] = 2 + host;
            sent.push(packet.clone());
            let mut read = VirtioHeader::PLAIN.write().to_vec();
            read.extend(packet);
            member
                .outbound
                .handle(&member.installed, member.now, &mut read, &mut member.wire);
        }
    }
    member.outbound.flush(member.now, &mut member.wire);
    let arrived = received(&member);
    for host in 0..12 {
        let of = |packets: &[Vec<u8>]| -> Vec<Vec<u8>> {
            packets
                .iter()
                .filter(|packet| packet[19] == 2 + host)
                .cloned()
                .collect()
        };
        assert_eq!(of(&arrived), of(&sent), "host {host}");
    }
    assert_eq!(arrived.len(), sent.len());

    // With fewer destinations than open trains each has one train.
    member.wire.trains.clear();
    for at in 0..60u8 {
        let mut packet = Plan {
            payload: vec![0; 64],
            ..Plan::default()
        }
        .build();
        packet[19] = 2 + at % 6;
        let mut read = VirtioHeader::PLAIN.write().to_vec();
        read.extend(packet);
        member
            .outbound
            .handle(&member.installed, member.now, &mut read, &mut member.wire);
    }
    member.outbound.flush(member.now, &mut member.wire);
    assert_eq!(member.wire.trains.len(), 6);
}

/// The counter says when a packet was sealed; a receiver's window looks back only so far.
#[test]
fn no_packet_waits_while_thousands_are_sent() {
    let mut member = member();
    let lonely = {
        let mut packet = Plan::default().build();
        packet[19] = 99;
        packet
    };
    let (virtio, busy) = super_packet(
        &Plan {
            tcp: true,
            payload: vec![0; 60_000],
            ..Plan::default()
        },
        1000,
    );
    for (virtio, packet) in std::iter::once((VirtioHeader::PLAIN, lonely))
        .chain(std::iter::repeat_n((virtio, busy), 60))
    {
        let mut read = virtio.write().to_vec();
        read.extend(packet);
        member
            .outbound
            .handle(&member.installed, member.now, &mut read, &mut member.wire);
    }
    member.outbound.flush(member.now, &mut member.wire);
    let mut highest = 0;
    for packet in member.wire.packets() {
        let counter = u32::from_be_bytes(*packet[4..].first_chunk().expect("a number"));
        assert!(counter + 600 > highest, "{counter} after {highest}");
        highest = highest.max(counter);
    }
    assert_eq!(highest, 3601);
}

// GET VPN row 7
#[test]
fn outer_addresses_service_and_hop_limit_are_those_of_the_inner_packet() {
    let mut member = member();
    for class in [0x00, 0xb8, 0x01, 0x02, 0x03, 0xbb] {
        member.seal(
            &Plan {
                class,
                ..Plan::default()
            }
            .build(),
        );
        let (route, ..) = member.wire.trains.pop().expect("sealed");
        assert_eq!(
            (route.source, route.destination),
            (V4.0.into(), V4.1.into())
        );
        assert_eq!((route.traffic_class, route.hop_limit), (class, 64));
    }
}

#[test]
fn no_counter_repeats_over_swaps_of_the_data_plane() {
    let mut member = member();
    let mut seen = BTreeSet::new();
    for round in 0..50 {
        for length in 0..round % 7 {
            member.seal(
                &Plan {
                    payload: vec![0; length],
                    ..Plan::default()
                }
                .build(),
            );
        }
        let (virtio, packet) = super_packet(
            &Plan {
                tcp: true,
                payload: vec![0; 3000],
                ..Plan::default()
            },
            500,
        );
        member.seal_with(virtio, &packet);
        member.change(|_| {}); // new SA objects, the same keys
    }
    for packet in member.wire.packets() {
        assert!(seen.insert(packet[8..16].to_vec()), "an IV repeats");
    }
    assert!(seen.len() > 300);
}

#[test]
fn drops_name_their_cause() {
    let packet = Plan::default().build();
    let case = |prepare: &dyn Fn(&mut Member), reason: DropReason| {
        let mut member = member();
        prepare(&mut member);
        assert_eq!(member.seal(&packet), Outcome::Dropped(reason));
        assert_eq!(member.drops.get(reason), 1);
        assert!(member.wire.trains.is_empty());
    };
    case(
        &|member| {
            member.plane.groups[0].rules.clear();
            member.install();
        },
        DropReason::NoPolicy,
    );
    case(
        &|member| {
            let all = [[0; 4].into(), [255; 4].into()];
            member.plane.groups[0].rules.insert(
                0,
                Rule {
                    selector: selector(all, all),
                    action: Action::Clear,
                },
            );
            member.install();
        },
        DropReason::PolicyClear,
    );
    case(
        &|member| {
            let all = [[0; 4].into(), [255; 4].into()];
            member.plane.local_bypass.push(selector(all, all));
            member.install();
        },
        DropReason::PolicyClear,
    );
    case(
        &|member| {
            member.plane.groups[0].direction = Direction::ReceiveOnly;
            member.install();
        },
        DropReason::ReceiveOnly,
    );
    case(
        &|member| member.change(|sa| sa.sender_id = None),
        DropReason::NoSecurityAssociation,
    );
    case(
        &|member| {
            member.plane.groups[0].pseudotime = None;
            member.change(|sa| sa.anti_replay = AntiReplay::time(Duration::from_secs(1)));
        },
        DropReason::NoPseudotime,
    );
}

#[test]
fn a_staged_key_is_used_from_its_activation_and_none_after_the_last_ends() {
    let mut member = member();
    let start = member.now;
    let second = Duration::from_secs(1);
    let mut old = association(0x4001, Family::V4, 1, start);
    old.stop_sending_at = start + 10 * second;
    let mut staged = association(0x4003, Family::V4, 1, start);
    staged.activate_at = start + 5 * second;
    staged.stop_sending_at = start + 20 * second;
    member.plane.associations = vec![Arc::new(staged), Arc::new(old)];
    member.install();
    let packet = Plan::default().build();
    let mut spi_at = |after: Duration| {
        member.now = start + after;
        member.wire.trains.clear();
        match member.seal(&packet) {
            Outcome::Sealed(_) => {
                u32::from_be_bytes(*member.wire.packets()[0].first_chunk().expect("an SPI"))
            }
            Outcome::Dropped(reason) => {
                assert_eq!(reason, DropReason::NoSecurityAssociation);
                0
            }
        }
    };
    let nearly = Duration::from_nanos(1);
    assert_eq!(spi_at(Duration::ZERO), 0x4001);
    assert_eq!(spi_at(5 * second - nearly), 0x4001);
    assert_eq!(spi_at(5 * second), 0x4003);
    assert_eq!(spi_at(20 * second - nearly), 0x4003);
    assert_eq!(spi_at(20 * second), 0);
}

#[test]
fn a_counter_that_ends_stops_the_sender() {
    let mut member = member();
    member.change(|sa| sa.sender_id_bits = 32);
    // 2^32 - 1 numbers; all but the last handful are taken by somebody else.
    let counter = &member
        .installed
        .sealing(0, 1, Family::V4, member.now)
        .expect("an SA")
        .sender;
    let (_, counter) = counter.as_ref().expect("ours");
    counter
        .reserve(usize::try_from(counter.left()).expect("64 bits") - 2)
        .expect("left");
    let packet = Plan::default().build();
    assert_eq!(member.seal(&packet), Outcome::Sealed(1));
    assert_eq!(member.seal(&packet), Outcome::Sealed(1));
    for _ in 0..3 {
        assert_eq!(
            member.seal(&packet),
            Outcome::Dropped(DropReason::CounterExhausted)
        );
    }
}
