//! Packets that do not fit their path.

use std::time::Duration;

use gm_core::DropReason;
use gm_core::data_plane::{AntiReplay, Encapsulation};
use gm_core::sad::{Outcome, Sent};

use super::packet::Plan;
use super::segments::super_packet;
use super::sending::{member, received};
use super::world::LINK_MTU;

#[test]
fn a_large_packet_is_fragmented_before_it_is_sealed_unless_it_forbids_it() {
    for (encapsulation, protection) in [
        (Encapsulation::Udp, AntiReplay::COUNTER),
        (Encapsulation::Raw, AntiReplay::time(Duration::from_secs(5))),
    ] {
        let mut member = member();
        member.change(|sa| (sa.encapsulation, sa.anti_replay) = (encapsulation, protection));
        let plan = Plan {
            dont_fragment: false,
            payload: vec![3; 4000],
            ..Plan::default()
        };
        assert_eq!(member.seal(&plan.build()), Outcome::Sealed(3));
        let around = 20
            + if encapsulation == Encapsulation::Udp {
                8
            } else {
                0
            };
        assert!(
            member
                .wire
                .packets()
                .iter()
                .all(|packet| packet.len() + around <= usize::from(LINK_MTU))
        );
        let fragments = received(&member);
        let payload: Vec<u8> = fragments
            .iter()
            .flat_map(|fragment| fragment[20..].to_vec())
            .collect();
        assert_eq!(payload, plan.build()[20..]);

        let forbidden = Plan {
            dont_fragment: true,
            ..plan
        }
        .build();
        assert_eq!(
            member.seal(&forbidden),
            Outcome::Dropped(DropReason::TooBig)
        );
        let reply = &member.wire.replies[0];
        assert_eq!(
            (reply[9], &reply[20..22]),
            (1, &[3, 4][..]),
            "ICMP, fragmentation needed"
        );
        let largest = usize::from(u16::from_be_bytes([reply[26], reply[27]]));
        let fits = Plan {
            payload: vec![3; largest - 28],
            ..Plan::default()
        }
        .build();
        assert_eq!(
            member.seal(&fits),
            Outcome::Sealed(1),
            "the size it named passes"
        );
        let one_more = Plan {
            payload: vec![3; largest - 27],
            ..Plan::default()
        }
        .build();
        assert_eq!(
            member.seal(&one_more),
            Outcome::Dropped(DropReason::TooBig),
            "and is the largest"
        );
    }
}

#[test]
fn ipv6_packets_of_the_least_size_every_link_carries_always_pass() {
    let mut member = member();
    member.wire.answer = Some(Sent::TooBig(1300));
    let packet = Plan {
        v6: true,
        payload: vec![1; 1280 - 48],
        ..Plan::default()
    }
    .build();
    member.seal(&packet);
    member.wire.answer = None;
    member.wire.trains.clear();
    assert_eq!(member.seal(&packet), Outcome::Sealed(1));
    assert!(member.wire.trains[0].0.in_fragments);
    let larger = Plan {
        v6: true,
        payload: vec![1; 1281 - 48],
        ..Plan::default()
    }
    .build();
    assert_eq!(member.seal(&larger), Outcome::Dropped(DropReason::TooBig));
    assert_eq!(member.wire.replies[0][44..48], 1280u32.to_be_bytes());
}

#[test]
fn a_path_that_refuses_a_train_is_remembered_and_its_segments_become_smaller() {
    let mut member = member();
    let plan = Plan {
        tcp: true,
        payload: vec![9; 10_000],
        ..Plan::default()
    };
    let (virtio, packet) = super_packet(&plan, 1380);
    member.wire.answer = Some(Sent::TooBig(1000));
    member.seal_with(virtio, &packet);
    assert_eq!(member.drops.get(DropReason::TooBig), 8);
    member.wire.answer = None;
    member.wire.trains.clear();
    member.seal_with(virtio, &packet);
    assert!(
        member
            .wire
            .packets()
            .iter()
            .all(|packet| packet.len() + 28 <= 1000)
    );
    let payload: Vec<u8> = received(&member)
        .iter()
        .flat_map(|segment| segment[40..].to_vec())
        .collect();
    assert_eq!(payload, plan.payload);
}

#[test]
fn datagrams_of_a_super_packet_that_do_not_fit_are_fragmented_one_by_one() {
    let mut member = member();
    let plan = Plan {
        dont_fragment: false,
        payload: vec![4; 6000],
        ..Plan::default()
    };
    let (virtio, packet) = super_packet(&plan, 2000);
    assert_eq!(member.seal_with(virtio, &packet), Outcome::Sealed(6));
    assert_eq!(received(&member).len(), 6);
}

#[test]
fn answers_about_size_are_rare() {
    let mut member = member();
    let packet = Plan {
        payload: vec![3; 2000],
        ..Plan::default()
    }
    .build();
    for _ in 0..1000 {
        member.seal(&packet);
    }
    assert_eq!(member.wire.replies.len(), 100);
    member.now += Duration::from_secs(1);
    member.seal(&packet);
    assert_eq!(member.wire.replies.len(), 101);
}

#[test]
fn the_segment_size_of_a_new_connection_is_lowered() {
    let mut member = member();
    let plan = Plan {
        tcp: true,
        flags: 0x02,
        options: vec![2, 4, 0x05, 0xb4],
        payload: Vec::new(),
        ..Plan::default()
    };
    member.seal(&plan.build());
    let largest = usize::from(member.installed.inner_mtu());
    let mut expected = plan;
    // The IPv4 SA alone decides for an IPv4 connection.
    let fits = 1500 - 20 - 8 - 16 - 16 - 2;
    assert!(fits >= largest);
    expected.options[2..].copy_from_slice(&(fits as u16 - 40).to_be_bytes());
    assert_eq!(received(&member), [expected.build()]);
}
