//! The merged list of several groups, directions, and policies that cannot be used.

use std::time::Duration;

use gikev2::wire::{AccessList, Direction as WireDirection, EncryptionId, NotifyType, Transform};
use gm_core::data_plane::Direction;
use gm_core::member::traffic_plan::{Origin, Treatment};
use gm_core::member::{DirectionOverride, MemberEventKind};
use gm_core::spd::{AddressRange, Selector};

use super::group::{Extra, deny, permit};
use super::world::{World, settings};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn treatments(world: &World) -> Vec<(Origin, Treatment)> {
    let plan = world.member.traffic_plan();
    plan.entries
        .iter()
        .map(|entry| (entry.origin, entry.treatment))
        .collect()
}

const BOTH: Treatment = Treatment::Protect {
    outbound: true,
    inbound: true,
};
const NEITHER: Treatment = Treatment::Protect {
    outbound: false,
    inbound: false,
};

// GET VPN row 105
#[test]
fn local_bypass_comes_first_then_each_groups_list_in_order() {
    let mut first = settings(7, 1);
    let network = AddressRange::network("10.9.0.0/16".parse().expect("network"));
    first.bypass = vec![Selector::between(network, network)];
    let mut world = World::with(vec![first, settings(8, 1)], 1);
    world.groups[0].access_list = AccessList {
        entries: vec![deny([10, 1, 9, 0], 24), permit([10, 1, 0, 0], 16)],
    };
    world.run_for(seconds(2));
    assert_eq!(
        treatments(&world),
        [
            (Origin::Local, Treatment::Clear),
            (Origin::Group(7), Treatment::Clear),
            (Origin::Group(7), BOTH),
            (Origin::Group(8), BOTH),
        ]
    );
    let plane = world.member.data_plane(None);
    assert_eq!(plane.local_bypass.len(), 1);
    assert_eq!(plane.groups.len(), 2);
    let groups: Vec<usize> = plane.associations.iter().map(|sa| sa.group).collect();
    assert_eq!(groups, [0, 1]);
}

#[test]
fn a_member_of_two_groups_is_closed_until_both_admitted_it() {
    let mut world = World::with(vec![settings(7, 1), settings(8, 1)], 1);
    world.groups.remove(1);
    world.run_for(seconds(5));
    assert_eq!(world.spis(), [0x1700]);
    assert!(world.member.traffic_plan().closed);
    assert!(world.has_event(|event| matches!(event,
        MemberEventKind::RegistrationFailed { cause, .. } if cause.contains("does not know this group"))));
}

// GET VPN rows 133, 182
#[test]
fn directions_follow_the_group_unless_the_member_overrides_them() {
    let cases = [
        (
            WireDirection::Both,
            DirectionOverride::Inherit,
            Direction::Both,
            BOTH,
        ),
        (
            WireDirection::ReceiveOnly,
            DirectionOverride::Inherit,
            Direction::ReceiveOnly,
            NEITHER,
        ),
        (
            WireDirection::ReceiveOnly,
            DirectionOverride::Bidirectional,
            Direction::Both,
            BOTH,
        ),
        (
            WireDirection::Both,
            DirectionOverride::InboundOnly,
            Direction::ReceiveOnly,
            NEITHER,
        ),
        (
            WireDirection::Both,
            DirectionOverride::InboundOptional,
            Direction::Both,
            Treatment::Protect {
                outbound: true,
                inbound: false,
            },
        ),
    ];
    for (group, member, sends, treatment) in cases {
        let mut overridden = settings(7, 1);
        overridden.direction = member;
        let mut world = World::with(vec![overridden], 1);
        world.groups[0].direction = group;
        world.run_until_registered();
        assert_eq!(
            world.member.data_plane(None).groups[0].direction,
            sends,
            "{member:?}"
        );
        assert_eq!(
            treatments(&world),
            [(Origin::Group(7), treatment)],
            "{member:?}"
        );
    }
}

#[test]
fn a_rekey_can_change_list_and_direction() {
    let mut world = World::new(1);
    world.groups[0].direction = WireDirection::ReceiveOnly;
    world.run_until_registered();
    assert_eq!(treatments(&world), [(Origin::Group(7), NEITHER)]);
    assert!(world.member.take_changed());
    world.groups[0].direction = WireDirection::Both;
    world.groups[0]
        .access_list
        .entries
        .insert(0, deny([10, 1, 3, 0], 24));
    let now = world.now;
    world.groups[0].add_tek(0x2000, now + seconds(1), seconds(3600));
    let datagrams = world.groups[0].rekey(now, &[0x2000], &Extra::default());
    world.deliver_rekey(&datagrams);
    assert!(world.member.take_changed());
    assert_eq!(
        treatments(&world),
        [
            (Origin::Group(7), Treatment::Clear),
            (Origin::Group(7), BOTH)
        ]
    );
}

#[test]
fn a_policy_with_a_cipher_that_we_lack_is_reported_and_not_asked_for_again_soon() {
    let mut world = World::new(1);
    world.groups[0].teks[0].encryption = Transform::encryption(EncryptionId::AES_CBC, Some(256));
    world.run_for(seconds(3));
    assert!(world.spis().is_empty());
    assert!(world.member.traffic_plan().closed);
    assert!(world.has_event(|event| matches!(event,
        MemberEventKind::PolicyUnusable { cause } if cause.contains("not supported"))));
    assert_eq!(world.attempts.len(), 1, "asking again soon would not help");
    assert_eq!(world.left_because, [NotifyType::NO_PROPOSAL_CHOSEN]);
}

#[test]
fn a_sender_id_that_does_not_fit_is_refused() {
    let mut world = World::new(1);
    world.groups[0].sender_id_bits = 8;
    for _ in 0..256 {
        let now = world.now;
        drop(world.groups[0].grant(now));
    }
    world.run_for(seconds(3));
    assert!(world.spis().is_empty());
    assert!(world.has_event(|event| matches!(event,
        MemberEventKind::PolicyUnusable { cause } if cause.contains("Sender-ID is too wide"))));
}

#[test]
fn the_multicast_address_of_rekeys_is_known() {
    let mut world = World::new(1);
    assert!(world.member.rekey_groups().is_empty());
    world.run_until_registered();
    assert_eq!(
        world.member.rekey_groups(),
        ["239.192.0.1:848".parse().expect("address")]
    );
}
