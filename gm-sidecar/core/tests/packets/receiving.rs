//! From the wire to the TUN.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gm_core::DropReason;
use gm_core::data_plane::{AntiReplay, Encapsulation, Family, Group, Pseudotime};
use gm_core::esp::AeadProvider;
use gm_core::esp::aead::ICV;
use gm_core::sad::{Algorithm, KeyMaterial, Outer, SenderId};
use gm_core::spd::{Action, Rule};

use super::cipher::RustCrypto;
use super::packet::{Plan, V4, checksum, put};
use super::world::{Member, association, everything, outer, selector};

/// A sender, a receiver, and one sealed packet with its outer header.
struct Scene {
    sender: Member,
    receiver: Member,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            sender: Member::new(1, now),
            receiver: Member::new(2, now),
        }
    }

    fn both(change: impl Fn(&mut gm_core::data_plane::SecurityAssociation)) -> Self {
        let mut scene = Self::new();
        scene.sender.change(&change);
        scene.receiver.change(&change);
        scene
    }

    fn seal(&mut self, plan: &Plan) -> (Outer, Vec<u8>) {
        self.seal_packet(&plan.build())
    }

    fn seal_packet(&mut self, packet: &[u8]) -> (Outer, Vec<u8>) {
        self.sender.seal(packet);
        let (route, packet, _) = self.sender.wire.trains.pop().expect("sealed");
        (outer(&route), packet)
    }

    fn pass(&mut self, plan: &Plan) -> Result<Vec<u8>, DropReason> {
        let (outer, packet) = self.seal(plan);
        self.receiver.open(&outer, &packet)
    }
}

#[test]
fn a_repeated_packet_is_refused_and_one_out_of_order_is_not() {
    let mut scene = Scene::new();
    let packets: Vec<_> = (0..10).map(|_| scene.seal(&Plan::default())).collect();
    for at in [3, 1, 9, 0, 8] {
        assert!(scene.receiver.open(&packets[at].0, &packets[at].1).is_ok());
        assert_eq!(
            scene.receiver.open(&packets[at].0, &packets[at].1),
            Err(DropReason::Replayed)
        );
    }
}

#[test]
fn a_swap_of_the_data_plane_does_not_forget_what_was_received() {
    let mut scene = Scene::new();
    let (outer, packet) = scene.seal(&Plan::default());
    assert!(scene.receiver.open(&outer, &packet).is_ok());
    scene.receiver.change(|_| {});
    scene.receiver.inbound.retain(&scene.receiver.installed);
    assert_eq!(
        scene.receiver.open(&outer, &packet),
        Err(DropReason::Replayed)
    );
}

#[test]
fn a_forged_packet_does_not_move_the_window() {
    let mut scene = Scene::new();
    let (outer, mut packet) = scene.seal(&Plan::default());
    packet[12..16].copy_from_slice(&[0xff; 4]); // a counter far ahead
    assert_eq!(
        scene.receiver.open(&outer, &packet),
        Err(DropReason::AuthenticationFailed)
    );
    assert!(scene.pass(&Plan::default()).is_ok());
}

// GET VPN row 136
#[test]
fn three_senders_on_one_key_do_not_disturb_each_other() {
    let now = Instant::now();
    let mut receiver = Member::new(9, now);
    let mut senders: Vec<_> = (1..=3).map(|sender| Member::new(sender, now)).collect();
    for round in 0..100 {
        for sender in &mut senders {
            sender.seal(
                &Plan {
                    id: round,
                    ..Plan::default()
                }
                .build(),
            );
            let (route, packet, _) = sender.wire.trains.pop().expect("sealed");
            assert!(receiver.open(&outer(&route), &packet).is_ok());
        }
    }
}

// GET VPN row 143
#[test]
fn the_time_window_has_both_its_edges() {
    let window = Duration::from_millis(5000);
    let start = Instant::now();
    let ours = 1_000_000u64;
    for (theirs, expected) in [
        (ours - 5000, None),
        (ours - 5001, Some(DropReason::OutsideTimeWindow)),
        (ours + 5000, None),
        (ours + 5001, Some(DropReason::OutsideTimeWindow)),
    ] {
        let mut scene = Scene {
            sender: Member::new(1, start),
            receiver: Member::new(2, start),
        };
        let protection = AntiReplay {
            time_window: Some(window),
            sender_window: false,
        };
        scene.sender.plane.groups[0].pseudotime = Some(Pseudotime {
            at: start,
            milliseconds: theirs,
        });
        scene.sender.change(|sa| sa.anti_replay = protection);
        scene.receiver.change(|sa| sa.anti_replay = protection);
        assert_eq!(
            scene.pass(&Plan::default()).err(),
            expected,
            "sent at {theirs}"
        );
    }
}

// GET VPN row 135
#[test]
fn a_captured_packet_is_worthless_after_the_window() {
    let mut scene = Scene::both(|sa| {
        sa.anti_replay = AntiReplay {
            time_window: Some(Duration::from_secs(5)),
            sender_window: false,
        };
    });
    let (outer, packet) = scene.seal(&Plan::default());
    assert!(scene.receiver.open(&outer, &packet).is_ok());
    scene.receiver.now += Duration::from_millis(5000);
    assert!(
        scene.receiver.open(&outer, &packet).is_ok(),
        "the window alone does not see repetition"
    );
    scene.receiver.now += Duration::from_millis(1);
    assert_eq!(
        scene.receiver.open(&outer, &packet),
        Err(DropReason::OutsideTimeWindow)
    );
}

#[test]
fn the_pseudotime_header_is_there_exactly_when_the_sa_says_so() {
    for (sends, expects) in [(true, false), (false, true)] {
        let mut scene = Scene::new();
        let protection = |on| {
            if on {
                AntiReplay::time(Duration::from_secs(5))
            } else {
                AntiReplay::COUNTER
            }
        };
        scene.sender.change(|sa| sa.anti_replay = protection(sends));
        scene
            .receiver
            .change(|sa| sa.anti_replay = protection(expects));
        assert_eq!(scene.pass(&Plan::default()), Err(DropReason::DelayHeader));
    }
}

#[test]
fn outer_and_inner_addresses_must_agree() {
    let mut scene = Scene::new();
    let (outer, packet) = scene.seal(&Plan::default());
    let elsewhere = [10, 0, 0, 9].into();
    for outer in [
        Outer {
            source: elsewhere,
            ..outer
        },
        Outer {
            destination: elsewhere,
            ..outer
        },
    ] {
        // Another receiver each time: the first refusal has used the counter.
        let mut receiver = Member::new(2, scene.sender.now);
        assert_eq!(
            receiver.open(&outer, &packet),
            Err(DropReason::AddressMismatch)
        );
    }
}

#[test]
fn multicast_that_comes_by_unicast_is_taken_only_where_copies_are_made() {
    let mut scene = Scene::new();
    let stream = || {
        let mut packet = Plan::default().build();
        packet[16..20].copy_from_slice(&[239, 1, 1, 1]);
        put(&mut packet, 10, 0);
        let sum = checksum(&[&packet[..20]]);
        put(&mut packet, 10, sum);
        // A datagram without a checksum of its own.
        put(&mut packet, 26, 0);
        packet
    };
    let (outer, packet) = scene.seal_packet(&stream());
    let copy = Outer {
        destination: [10, 0, 0, 2].into(),
        ..outer
    };
    let mut receiver = Member::new(2, scene.sender.now);
    assert_eq!(
        receiver.open(&copy, &packet),
        Err(DropReason::AddressMismatch)
    );
    let mut receiver = Member::new(2, scene.sender.now);
    receiver.inbound.accept_copies(true);
    assert!(receiver.open(&copy, &packet).is_ok());
    // The same packet a second time is a repetition, whichever way it comes.
    assert_eq!(receiver.open(&outer, &packet), Err(DropReason::Replayed));
    // Its source must be the sender's all the same, and unicast stays where it was sent to.
    let (outer, packet) = scene.seal_packet(&stream());
    let foreign = Outer {
        source: [10, 0, 0, 9].into(),
        destination: copy.destination,
        ..outer
    };
    assert_eq!(
        receiver.open(&foreign, &packet),
        Err(DropReason::AddressMismatch)
    );
    let (outer, packet) = scene.seal(&Plan::default());
    let elsewhere = Outer {
        destination: [10, 0, 0, 9].into(),
        ..outer
    };
    assert_eq!(
        receiver.open(&elsewhere, &packet),
        Err(DropReason::AddressMismatch)
    );
}

#[test]
fn a_packet_its_sa_is_not_for_is_refused() {
    let mut scene = Scene::new();
    let host = [V4.0.into(), V4.0.into()];
    let peer = [V4.1.into(), V4.1.into()];
    scene.receiver.plane.groups[0].rules = vec![
        Rule {
            selector: selector(host, peer),
            action: Action::Protect { association: 2 },
        },
        everything().remove(0),
    ];
    scene.receiver.install();
    assert_eq!(
        scene.pass(&Plan::default()),
        Err(DropReason::SelectorMismatch)
    );
    scene.receiver.plane.groups[0].rules[0].action = Action::Clear;
    scene.receiver.install();
    assert_eq!(
        scene.pass(&Plan::default()),
        Err(DropReason::SelectorMismatch)
    );
    // Our own exclusions are no business of the sender's.
    scene.receiver.plane.groups[0].rules = everything();
    scene.receiver.plane.local_bypass = vec![selector(host, peer)];
    scene.receiver.install();
    assert!(scene.pass(&Plan::default()).is_ok());
}

// GET VPN row 7
#[test]
fn congestion_marks_are_carried_inwards_as_rfc_6040_says() {
    for (inner, mark, expected) in [
        (0b10, 0b11, Ok(0b11)),
        (0b01, 0b11, Ok(0b11)),
        (0b10, 0b01, Ok(0b01)),
        (0b10, 0b00, Ok(0b10)),
        (0b00, 0b10, Ok(0b00)),
        (0b00, 0b11, Err(DropReason::IllegalCongestionMark)),
    ] {
        for v6 in [false, true] {
            let mut scene = Scene::new();
            let plan = Plan {
                v6,
                class: 0xb8 | inner,
                ..Plan::default()
            };
            let (outer, packet) = scene.seal(&plan);
            let outer = Outer {
                traffic_class: mark,
                ..outer
            };
            let opened = scene.receiver.open(&outer, &packet);
            let expected = expected.map(|field| {
                Plan {
                    class: 0xb8 | field,
                    ..plan.clone()
                }
                .build()
            });
            assert_eq!(opened, expected, "inner {inner:02b}, outer {mark:02b}");
        }
    }
}

#[test]
fn keys_and_encapsulations_that_are_not_ours_are_refused_by_name() {
    let mut scene = Scene::new();
    let (outer, packet) = scene.seal(&Plan::default());
    let raw = Outer {
        encapsulation: Encapsulation::Raw,
        ..outer
    };
    assert_eq!(
        scene.receiver.open(&raw, &packet),
        Err(DropReason::WrongEncapsulation)
    );
    let (own, mine) = {
        scene.receiver.seal(&Plan::default().build());
        let (route, packet, _) = scene.receiver.wire.trains.pop().expect("sealed");
        (super::world::outer(&route), packet)
    };
    assert_eq!(scene.receiver.open(&own, &mine), Err(DropReason::OwnPacket));
    scene.receiver.now += Duration::from_secs(3600);
    assert_eq!(
        scene.receiver.open(&outer, &packet),
        Err(DropReason::SecurityAssociationExpired)
    );
    scene.receiver.plane.associations.clear();
    scene.receiver.install();
    assert_eq!(
        scene.receiver.open(&outer, &packet),
        Err(DropReason::UnknownSpi)
    );
    assert_eq!(
        scene.receiver.open(&outer, &packet[..32]),
        Err(DropReason::EspMalformed)
    );
}

#[test]
fn groups_with_one_spi_are_told_apart_by_addresses() {
    let now = Instant::now();
    let mut sender = Member::new(1, now);
    sender.seal(&Plan::default().build());
    let (route, packet, _) = sender.wire.trains.pop().expect("sealed");

    let mut receiver = Member::new(2, now);
    let ours = receiver.plane.groups[0].clone();
    let other = [[172, 16, 0, 0].into(), [172, 16, 255, 255].into()];
    let foreign = Group {
        rules: vec![Rule {
            selector: selector(other, other),
            action: Action::Protect { association: 1 },
        }],
        ..ours.clone()
    };
    // The same SPI, another key, in a group that comes first.
    let mut colliding = association(0x4001, Family::V4, 2, now);
    colliding.key = KeyMaterial::new(Algorithm::Aes256Gcm, &[0x77; 36]).expect("36 octets");
    let mut own = association(0x4001, Family::V4, 2, now);
    own.group = 1;
    receiver.plane.groups = vec![foreign, ours];
    receiver.plane.associations = vec![Arc::new(colliding), Arc::new(own)];
    receiver.install();
    assert_eq!(
        receiver.open(&outer(&route), &packet),
        Ok(Plan::default().build())
    );
}

/// Seals any text under the receiver's key, as only a faulty member could.
fn forge(receiver: &Member, text: &[u8]) -> (Outer, Vec<u8>) {
    let sa = &receiver.plane.associations[0];
    let mut packet = sa.spi.0.to_be_bytes().to_vec();
    packet.extend([0, 0, 0, 1]);
    packet.extend(
        gm_core::esp::iv::IvFormat::new(24)
            .expect("24 bits")
            .write(SenderId(5), 1),
    );
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&sa.key.salt());
    nonce[4..].copy_from_slice(&packet[8..16]);
    let associated: [u8; 8] = *packet.first_chunk().expect("eight octets");
    let mut text = text.to_vec();
    let icv: [u8; ICV] = RustCrypto
        .expand(&sa.key)
        .seal(&nonce, &associated, &mut text);
    packet.extend(text);
    packet.extend(icv);
    let outer = Outer {
        source: V4.0.into(),
        destination: V4.1.into(),
        traffic_class: 0,
        encapsulation: Encapsulation::Udp,
    };
    (outer, packet)
}

#[test]
fn trailers_of_a_faulty_member_are_refused_by_name() {
    let inner = Plan::default().build(); // 33 octets
    let with = |tail: &[u8]| [&inner[..], tail].concat();
    let cases = [
        (with(&[1, 1, 4]), None),
        (with(&[1, 2, 3, 4, 5, 5, 4]), None), // more padding than needed
        (with(&[2, 1, 4]), Some(DropReason::BadPadding)),
        (with(&[1, 200, 4]), Some(DropReason::BadPadding)),
        (with(&[1, 1, 59]), Some(DropReason::Dummy)),
        (with(&[1, 1, 41]), Some(DropReason::UnexpectedNextHeader)),
        (with(&[1, 1, 17]), Some(DropReason::UnexpectedNextHeader)),
        (with(&[1, 1, 253]), Some(DropReason::DelayHeader)),
        (vec![0, 0, 0, 4], Some(DropReason::InnerMalformed)),
        (
            [&inner[..30], &[0, 4]].concat(),
            Some(DropReason::InnerMalformed),
        ),
    ];
    for (text, expected) in cases {
        let mut receiver = Member::new(2, Instant::now());
        let (outer, packet) = forge(&receiver, &text);
        assert_eq!(
            receiver.open(&outer, &packet).err(),
            expected,
            "{:02x?}",
            &text[text.len() - 3..]
        );
    }
}

#[test]
fn traffic_flow_padding_behind_the_inner_packet_is_cut_off() {
    let mut receiver = Member::new(2, Instant::now());
    let inner = Plan::default().build();
    let (outer, packet) = forge(&receiver, &[&inner[..], &[0x5a; 64], &[1, 1, 4]].concat());
    assert_eq!(receiver.open(&outer, &packet), Ok(inner));
}
