//! The group's pseudotime and the windows that are counted in it, as a member holds them.

use std::time::Duration;

use gm_core::data_plane::AntiReplay;

use super::group::Extra;
use super::world::World;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// What the key server's clock of the group says.
fn of_key_server(world: &World) -> u64 {
    let age = world.now - world.groups[0].start;
    u64::try_from(age.as_millis()).expect("a short test")
}

fn of_member(world: &World) -> u64 {
    world.status().pseudotime_ms.expect("registered")
}

// GET VPN row 39
#[test]
fn a_member_that_joins_has_the_pseudotime_of_its_key_server() {
    let mut world = World::new(1);
    world.groups[0].teks[0].window_ms = Some(5_000);
    world.groups[0].start -= seconds(86_400);
    world.run_until_registered();
    assert!(of_key_server(&world) > 86_400_000);
    assert!(of_key_server(&world).abs_diff(of_member(&world)) < 1_000);
    world.run_for(seconds(60));
    assert!(of_key_server(&world).abs_diff(of_member(&world)) < 1_000);
}

// GET VPN row 137
#[test]
fn a_wall_clock_that_is_set_back_changes_neither_pseudotime_nor_keys() {
    let mut world = World::registered(1);
    let before = of_member(&world);
    world.wall_clock -= 3_600;
    assert_eq!(of_member(&world), before);
    world.run_for(seconds(7));
    assert_eq!(of_member(&world), before + 7_000);
    let activation = world.now + seconds(5);
    world.groups[0].add_tek(0x2000, activation, seconds(3600));
    let datagrams = world.groups[0].rekey(world.now, &[0x2000], &Extra::default());
    world.deliver_rekey(&datagrams);
    assert_eq!(world.spis(), [0x1700, 0x2000]);
    assert!(world.status().rekeys_refused.is_empty());
    assert!(of_key_server(&world).abs_diff(of_member(&world)) < 1_000);
}

// GET VPN row 141
#[test]
fn each_security_association_has_its_own_protection_against_replays() {
    let mut world = World::new(1);
    let now = world.now;
    let teks = &mut world.groups[0].teks;
    teks[0].window_ms = Some(5_000);
    world.groups[0].add_tek(0x2000, now, seconds(3600));
    world.groups[0].teks[1].association = 2;
    world.run_until_registered();
    let listed: Vec<_> = world
        .status()
        .traffic_keys
        .iter()
        .map(|key| (key.association, key.anti_replay))
        .collect();
    assert_eq!(
        listed,
        [(1, AntiReplay::time(seconds(5))), (2, AntiReplay::COUNTER)]
    );
}
