//! Several groups, several receivers: which SA carries what, and who can open it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gm_core::DropReason;
use gm_core::data_plane::{AntiReplay, Family, Group};
use gm_core::esp::AeadProvider;
use gm_core::esp::open::{Envelope, open};
use gm_core::sad::{Algorithm, KeyMaterial, Outcome};
use gm_core::spd::{Action, Rule};

use super::cipher::RustCrypto;
use super::packet::{Plan, V4, checksum, put};
use super::world::{Member, association, outer, selector};

/// A rule for datagrams to one port between the hosts of every plan.
fn to_port(port: u16, association: u16) -> Rule {
    let mut selector = selector([V4.0.into(), V4.0.into()], [V4.1.into(), V4.1.into()]);
    selector.protocol = Some(17);
    selector.destination_ports = port..=port;
    Rule {
        selector,
        action: Action::Protect { association },
    }
}

fn datagram_to(port: u16) -> Vec<u8> {
    Plan {
        ports: (5000, port),
        ..Plan::default()
    }
    .build()
}

/// The SPI of the only packet that was sent.
fn sent_under(member: &mut Member) -> u32 {
    let packets = member.wire.packets();
    member.wire.trains.clear();
    assert_eq!(packets.len(), 1);
    u32::from_be_bytes(*packets[0].first_chunk().expect("an SPI"))
}

// GET VPN row 12
#[test]
fn each_flow_of_a_member_of_two_groups_uses_the_sa_of_its_own_group() {
    let now = Instant::now();
    let mut member = Member::new(1, now);
    let base = member.plane.groups[0].clone();
    let group = |group_id, port| Group {
        group_id,
        rules: vec![to_port(port, 1)],
        ..base.clone()
    };
    let of_group = |spi, group| {
        let mut sa = association(spi, Family::V4, 1, now);
        sa.group = group;
        Arc::new(sa)
    };
    member.plane.groups = vec![group(1, 5001), group(2, 6001)];
    member.plane.associations = vec![of_group(0x1001, 0), of_group(0x2002, 1)];
    member.install();
    for (port, spi) in [(5001, 0x1001), (6001, 0x2002), (5001, 0x1001)] {
        assert_eq!(member.seal(&datagram_to(port)), Outcome::Sealed(1));
        assert_eq!(sent_under(&mut member), spi, "port {port}");
    }
    // Without the first group the second one goes on with the SA it had.
    member.plane.groups.remove(0);
    member.plane.associations = vec![of_group(0x2002, 0)];
    member.install();
    assert_eq!(member.seal(&datagram_to(6001)), Outcome::Sealed(1));
    assert_eq!(sent_under(&mut member), 0x2002);
    assert_eq!(
        member.seal(&datagram_to(5001)),
        Outcome::Dropped(DropReason::NoPolicy)
    );
}

// GET VPN row 116
#[test]
fn each_list_of_a_group_uses_its_own_cipher() {
    let now = Instant::now();
    let mut member = Member::new(1, now);
    member.plane.groups[0].rules = vec![to_port(5001, 1), to_port(6001, 2)];
    let strong = Arc::new(association(0x1001, Family::V4, 1, now));
    let mut quick = association(0x2002, Family::V4, 1, now);
    quick.association = 2;
    quick.key = KeyMaterial::new(Algorithm::Aes128Gcm, &[9; 20]).expect("20 octets");
    let quick = Arc::new(quick);
    member.plane.associations = vec![Arc::clone(&strong), Arc::clone(&quick)];
    member.install();
    for (port, spi, key) in [(5001, 0x1001, &strong.key), (6001, 0x2002, &quick.key)] {
        let plain = datagram_to(port);
        assert_eq!(member.seal(&plain), Outcome::Sealed(1));
        let mut packet = member.wire.packets().remove(0);
        assert_eq!(sent_under(&mut member), spi);
        let envelope = Envelope::parse(&packet).expect("an ESP packet");
        let cipher = RustCrypto.expand(key);
        let opened = open(
            cipher.as_ref(),
            key.salt(),
            &envelope,
            Family::V4,
            false,
            &mut packet,
        )
        .expect("under the list's own cipher");
        assert_eq!(packet[opened.inner], plain);
    }
}

// GET VPN row 3
#[test]
fn whoever_the_route_leads_to_can_open_the_next_packet() {
    let now = Instant::now();
    let mut sender = Member::new(1, now);
    let (mut first, mut second) = (Member::new(2, now), Member::new(3, now));
    let packet = Plan::default().build();
    let mut deliver = |receiver: &mut Member| {
        sender.seal(&packet);
        let (route, sealed, _) = sender.wire.trains.pop().expect("sealed");
        receiver.open(&outer(&route), &sealed)
    };
    assert_eq!(deliver(&mut first), Ok(packet.clone()));
    // The route moves: nothing was agreed with the second one, and nothing is.
    assert_eq!(deliver(&mut second), Ok(packet.clone()));
    assert_eq!(deliver(&mut first), Ok(packet.clone()));
}

// GET VPN row 9
#[test]
fn a_multicast_packet_is_encrypted_once_however_many_receive_it() {
    let now = Instant::now();
    let mut sender = Member::new(1, now);
    let mut receivers: Vec<Member> = (2..22).map(|number| Member::new(number, now)).collect();
    for id in 0..1000 {
        let mut packet = Plan {
            id,
            ..Plan::default()
        }
        .build();
        packet[16..20].copy_from_slice(&[239, 1, 1, 1]);
        put(&mut packet, 10, 0);
        let sum = checksum(&[&packet[..20]]);
        put(&mut packet, 10, sum);
        // No checksum of the datagram (RFC 768): its address was changed above.
        put(&mut packet, 26, 0);
        assert_eq!(sender.seal(&packet), Outcome::Sealed(1));
        let (route, sealed, _) = sender.wire.trains.last().cloned().expect("sealed");
        assert_eq!(route.destination, std::net::IpAddr::from([239, 1, 1, 1]));
        for receiver in &mut receivers {
            assert_eq!(receiver.open(&outer(&route), &sealed), Ok(packet.clone()));
        }
    }
    assert_eq!(sender.wire.packets().len(), 1000);
}

// GET VPN row 142
#[test]
fn the_stamp_of_packets_grows_with_the_pseudotime() {
    let mut member = Member::new(1, Instant::now());
    member.change(|sa| sa.anti_replay = AntiReplay::time(Duration::from_secs(5)));
    let sa = Arc::clone(&member.plane.associations[0]);
    let mut stamps = Vec::new();
    for after in [0, 1, 250, 1_000, 60_000] {
        member.now += Duration::from_millis(after);
        member.seal(&Plan::default().build());
        let (_, mut packet, _) = member.wire.trains.pop().expect("sealed");
        let envelope = Envelope::parse(&packet).expect("an ESP packet");
        let cipher = RustCrypto.expand(&sa.key);
        let opened = open(
            cipher.as_ref(),
            sa.key.salt(),
            &envelope,
            Family::V4,
            true,
            &mut packet,
        )
        .expect("ours");
        stamps.push(opened.pseudotime.expect("a stamp"));
    }
    assert_eq!(
        stamps,
        [1_000_000, 1_000_001, 1_000_251, 1_001_251, 1_061_251]
    );
}
