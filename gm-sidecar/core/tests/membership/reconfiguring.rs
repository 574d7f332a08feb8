//! New settings for a member whose traffic flows.

use std::time::Duration;

use gikev2::Secret;
use gikev2::exchange::authentication::Credentials;
use gikev2::exchange::identity::IdentityPattern;
use gikev2::wire::{IdType, Identification};
use gm_core::data_plane::{Direction, Family};
use gm_core::member::traffic_plan::Origin;
use gm_core::member::{
    DirectionOverride, FailureMode, GroupSettings, MemberEventKind, Reconfigured,
    RegistrationReason,
};
use gm_core::spd::{AddressRange, Selector};

use super::world::{World, server_address, settings};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn flow() -> Selector {
    let any = AddressRange::any(Family::V4);
    Selector {
        protocol: Some(6),
        source_ports: 8080..=8080,
        ..Selector::between(any, any)
    }
}

fn reconfigure(world: &mut World, groups: Vec<GroupSettings>) -> Reconfigured {
    reconfigure_with(world, groups, Vec::new())
}

fn reconfigure_with(
    world: &mut World,
    groups: Vec<GroupSettings>,
    allow_clear: Vec<Selector>,
) -> Reconfigured {
    let now = world.now;
    let mut entropy = super::world::Seeded::new(99);
    world
        .member
        .reconfigure(groups, FailureMode::Closed, allow_clear, now, &mut entropy)
}

// GET VPN row 149
#[test]
fn lists_and_directions_apply_at_once_and_nobody_registers() {
    let mut world = World::registered(1);
    world.member.take_changed();
    let attempts = world.attempts.len();
    let mut new = settings(7, 1);
    new.bypass = vec![flow()];
    new.direction = DirectionOverride::InboundOnly;
    assert_eq!(
        reconfigure_with(&mut world, vec![new], vec![flow()]),
        Reconfigured::default()
    );
    assert!(world.member.take_changed());
    let plan = world.member.traffic_plan();
    assert_eq!(plan.entries[0].selector, flow());
    assert_eq!(plan.allow_clear, [flow()]);
    let plane = world.member.data_plane(None);
    assert_eq!(plane.local_bypass, [flow()]);
    assert_eq!(plane.groups[0].direction, Direction::ReceiveOnly);
    assert_eq!(world.spis(), [0x1700], "the key is still there");
    world.run_for(seconds(60));
    assert_eq!(world.attempts.len(), attempts);
}

#[test]
fn the_same_settings_again_change_nothing() {
    let mut world = World::registered(1);
    world.member.take_changed();
    assert_eq!(
        reconfigure(&mut world, vec![settings(7, 1)]),
        Reconfigured::default()
    );
    assert!(!world.member.take_changed());
}

// GET VPN row 148
#[test]
fn new_credentials_and_key_servers_wait_for_the_next_registration() {
    let mut world = World::registered(2);
    let attempts = world.attempts.len();
    let mut new = settings(7, 2);
    new.credentials = Credentials::PreSharedKey(Secret::from_slice(b"renewed, and as good as old"));
    new.key_servers.reverse();
    assert_eq!(reconfigure(&mut world, vec![new]), Reconfigured::default());
    world.run_for(seconds(60));
    assert_eq!(world.attempts.len(), attempts);
    // The IKE SA that is up serves; a fresh one begins with the new list's first.
    let now = world.now;
    world.member.memberships_mut()[0].register_again(now, true);
    world.run_for(seconds(1));
    assert_eq!(world.attempts[attempts].1, server_address(1));
}

#[test]
fn another_name_registers_again_with_keys_in_force() {
    let mut world = World::registered(1);
    let mut new = settings(7, 1);
    new.identity = Identification::fqdn("renamed.member.getvpn");
    let result = reconfigure(&mut world, vec![new]);
    assert_eq!(result.registering, [7]);
    let attempts = world.attempts.len();
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.attempts.len(), attempts + 1);
    assert!(world.has_event(|event| matches!(
        event,
        MemberEventKind::RegistrationStarted {
            reason: RegistrationReason::Reconfigured,
            ..
        }
    )));
    assert_eq!(world.spis(), [0x1700]);
    assert_eq!(world.left.len(), 1, "the old name left");
    assert!(!world.member.is_closed());
}

#[test]
fn a_key_server_that_is_not_trusted_any_more_voids_its_registration() {
    let mut world = World::registered(2);
    let mut new = settings(7, 2);
    new.key_server_identities = vec![IdentityPattern::new(IdType::FQDN, "ks-1.keyserver.getvpn")];
    let result = reconfigure(&mut world, vec![new]);
    assert_eq!(result.registering, [7]);
    world.run_until_registered();
    assert_eq!(world.status().key_server, Some(server_address(1)));
}

#[test]
fn a_group_added_later_holds_nothing_back() {
    let mut world = World::registered_with_spare_group(1, 8);
    let result = reconfigure(&mut world, vec![settings(7, 1), settings(8, 1)]);
    assert_eq!(result.added, [8]);
    assert!(world.member.take_changed());
    assert!(!world.member.is_closed(), "group 7 goes on");
    assert_eq!(world.spis(), [0x1700]);
    world.run_for(seconds(2));
    assert!(world.member.memberships()[1].is_registered());
    assert_eq!(world.spis(), [0x1700, 0x1800]);
    assert_eq!(
        world.member.memberships()[0]
            .status(world.now)
            .registrations,
        1
    );
}

#[test]
fn a_group_added_before_the_first_registration_is_waited_for_like_the_first() {
    let mut world = World::with_spare_group(1, 8);
    reconfigure(&mut world, vec![settings(7, 1), settings(8, 1)]);
    assert!(world.member.is_closed());
    world.run_for(seconds(2));
    assert!(!world.member.is_closed());
}

// GET VPN rows 12, 147
#[test]
fn a_group_not_named_any_more_is_left_with_its_keys() {
    let mut world = World::registered_with_spare_group(1, 8);
    reconfigure(&mut world, vec![settings(7, 1), settings(8, 1)]);
    world.run_for(seconds(2));
    let result = reconfigure(&mut world, vec![settings(8, 1)]);
    assert_eq!(result.removed, [7]);
    assert!(world.member.take_changed());
    assert_eq!(world.spis(), [0x1800]);
    let plane = world.member.data_plane(None);
    assert_eq!(plane.associations[0].group, 0, "groups are counted anew");
    let plan = world.member.traffic_plan();
    assert!(!plan.entries.is_empty());
    assert!(
        plan.entries
            .iter()
            .all(|entry| entry.origin == Origin::Group(8)),
        "its rules are gone"
    );
    world.run_for(seconds(1));
    assert_eq!(world.left.len(), 1);
}

#[test]
fn new_key_servers_end_a_wait_and_the_same_ones_do_not() {
    let mut world = World::new(2);
    world.servers[0].up = false;
    reconfigure(&mut world, vec![settings(7, 1)]);
    world.run_for(seconds(300));
    let attempts = world.attempts.len();
    // As often as Services change, nothing is tried earlier than it would be.
    for _ in 0..20 {
        reconfigure(&mut world, vec![settings(7, 1)]);
    }
    world.run_for(Duration::from_millis(10));
    assert_eq!(world.attempts.len(), attempts);
    let result = reconfigure(&mut world, vec![settings(7, 2)]);
    assert_eq!(result.registering, [7]);
    world.run_for(seconds(3));
    assert!(world.member.memberships()[0].is_registered());
}
