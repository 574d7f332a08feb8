//! Rekeys that are not what they should be: nothing changes, and the cause is counted.

use std::time::Duration;

use gm_core::member::MemberEventKind;

use super::group::Extra;
use super::world::World;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A registered world, and a rekey with a TEK that becomes active 5 s later.
fn world_with_rekey() -> (World, Vec<Vec<u8>>) {
    let mut world = World::registered(1);
    let activation = world.now + seconds(5);
    world.groups[0].add_tek(0x2000, activation, seconds(3600));
    let datagrams = world.groups[0].rekey(world.now, &[0x2000], &Extra::default());
    (world, datagrams)
}

fn refused(world: &World, label: &str) -> u64 {
    let refused = world.status().rekeys_refused;
    refused.get(label).copied().unwrap_or(0)
}

// GET VPN row 38
#[test]
fn a_rekey_signed_by_another_key_is_dropped_and_counted() {
    let mut world = World::registered(1);
    world.groups[0].sign_with_another_key();
    let activation = world.now + seconds(5);
    world.groups[0].add_tek(0x2000, activation, seconds(3600));
    let datagrams = world.groups[0].rekey(world.now, &[0x2000], &Extra::default());
    world.deliver_rekey(&datagrams);
    assert_eq!(refused(&world, "signature"), 1);
    assert_eq!(world.spis(), [0x1700]);
    assert!(world.acknowledgements.is_empty());
    assert_eq!(world.status().rekeys_accepted, 0);
}

// GET VPN row 81
#[test]
fn a_rekey_with_any_bit_flipped_is_refused_and_the_keys_stay() {
    let (mut world, datagrams) = world_with_rekey();
    let [datagram] = datagrams.as_slice() else {
        panic!("one datagram");
    };
    // Outside the first 16 octets, which are the SPI that leads to the group at all.
    for at in 17..datagram.len() {
        let mut spoilt = datagram.clone();
        spoilt[at] ^= 1 << (at % 8);
        world.deliver_rekey(&[spoilt]);
        assert_eq!(world.spis(), [0x1700], "octet {at}");
    }
    assert_eq!(world.status().rekeys_accepted, 0);
    assert!(refused(&world, "integrity") > 100);
    world.deliver_rekey(&datagrams);
    assert_eq!(world.spis(), [0x1700, 0x2000], "the intact one is accepted");
}

// GET VPN row 95
#[test]
fn a_captured_rekey_sent_again_later_is_refused_with_both_numbers() {
    let (mut world, first) = world_with_rekey();
    world.deliver_rekey(&first);
    let activation = world.now + seconds(10);
    world.groups[0].add_tek(0x3000, activation, seconds(3600));
    let second = world.groups[0].rekey(world.now, &[0x3000], &Extra::default());
    world.deliver_rekey(&second);
    world.events.clear();
    world.deliver_rekey(&first);
    let causes: Vec<_> = world
        .events
        .iter()
        .filter_map(|event| match event {
            MemberEventKind::RekeyRefused { label, cause } => Some((*label, cause.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(
        causes,
        [("replayed", "replayed: Message ID 0, 2 or more expected")]
    );
    assert_eq!(refused(&world, "replayed"), 1);
    assert_eq!(world.spis(), [0x1700, 0x2000, 0x3000]);
}
