//! Rekeys over the IKE SA (GSA_INBAND_REKEY): they take effect as those that come by GSA_REKEY.

use std::time::Duration;

use gikev2::responder::InbandRekey;
use gikev2::wire::{Delete, ProtocolId, Spi};
use gm_core::member::{MemberEventKind, RegistrationReason};

use super::group::Extra;
use super::world::World;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn registered(rekeys: bool) -> World {
    let mut world = World::new(1);
    world.groups[0].rekeys = rekeys;
    world.run_until_registered();
    world
}

#[test]
fn keys_that_come_over_the_ike_sa_are_used_as_those_of_a_rekey() {
    for rekeys in [true, false] {
        let mut world = registered(rekeys);
        let now = world.now;
        world.groups[0].add_tek(0x2000, now + seconds(1), seconds(3600));
        let rekey = world.groups[0].inband(now, &[0x2000], false);
        world.rekey_inband(&rekey);
        assert_eq!(world.confirmed_inband, 1);
        assert_eq!(world.status().rekeys_accepted, 1);
        assert_eq!(world.spis(), [0x1700, 0x2000], "accepted at once");
        let deletion = InbandRekey::Deletes(vec![Delete::Data {
            protocol: ProtocolId::ESP,
            spis: vec![Spi(0x1700)],
        }]);
        world.rekey_inband(&deletion);
        assert_eq!(world.spis(), [0x1700, 0x2000], "not before DTD");
        world.run_for(seconds(3));
        assert_eq!(world.spis(), [0x2000]);
        assert_eq!(world.status().registrations, 1);
    }
}

#[test]
fn a_rekey_sa_that_comes_over_the_ike_sa_takes_over() {
    let mut world = registered(true);
    let now = world.now;
    let rekey = world.groups[0].inband(now, &[], true);
    world.rekey_inband(&rekey);
    assert!(world.has_event(|event| matches!(
        event,
        MemberEventKind::RekeyAccepted {
            new_rekey_sa: true,
            ..
        }
    )));
    // What follows comes over the new one, signed by the same key.
    world.groups[0].add_tek(0x2000, now + seconds(1), seconds(3600));
    let datagrams = world.groups[0].rekey(world.now, &[0x2000], &Extra::default());
    world.deliver_rekey(&datagrams);
    assert_eq!(world.spis(), [0x1700, 0x2000]);
}

#[test]
fn an_inband_rekey_that_cannot_be_used_leads_to_a_registration() {
    let mut world = registered(false);
    let now = world.now;
    // Nobody ever told this member who signs the messages of a Rekey SA.
    let rekey = world.groups[0].inband(now, &[0x1700], true);
    world.rekey_inband(&rekey);
    assert_eq!(world.confirmed_inband, 1, "it was taken as a request");
    assert_eq!(world.status().rekeys_accepted, 0);
    assert!(world.has_event(|event| matches!(
        event,
        MemberEventKind::RegistrationDue {
            reason: RegistrationReason::UnusableRekey,
            ..
        }
    )));
}

#[test]
fn an_exclusion_over_the_ike_sa_leads_to_a_registration() {
    let mut world = registered(true);
    let out = InbandRekey::Deletes(vec![Delete::all_data(), Delete::exclusion()]);
    world.rekey_inband(&out);
    assert!(world.has_event(|event| *event == MemberEventKind::Excluded));
    world.run_until_registered();
    assert_eq!(world.status().registrations, 2);
}
