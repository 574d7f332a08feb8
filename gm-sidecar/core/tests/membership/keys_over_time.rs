//! Roll-over, deletion, exclusion, expiry: RFC 9838 §2.4.1.4, §2.4.3, §4.4.3.1.1.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gikev2::wire::{Delete, EncryptionId, ProtocolId, RekeySpi, Spi as WireSpi, Transform};
use gm_core::data_plane::SecurityAssociation;
use gm_core::member::{KeyPhase, MemberEventKind, RegistrationReason};

use gm_core::sad::Spi;

use super::group::Extra;
use super::world::World;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn sa(world: &World, spi: u32) -> Arc<SecurityAssociation> {
    let plane = world.member.data_plane(None);
    let found = plane.associations.into_iter().find(|sa| sa.spi.0 == spi);
    found.unwrap_or_else(|| panic!("SA {spi:#x} is not there"))
}

/// Whether two instants are the same up to the milliseconds the wire can say.
fn close(one: Instant, other: Instant) -> bool {
    one.max(other) - one.min(other) <= Duration::from_millis(10)
}

/// A registered world and a rekey with a TEK that becomes active 5 s later.
fn rekeyed() -> (World, Instant) {
    let mut world = World::registered(1);
    let activation = world.now + seconds(5);
    world.groups[0].add_tek(0x2000, activation, seconds(3600));
    let datagrams = world.groups[0].rekey(world.now, &[0x2000], &Extra::default());
    world.deliver_rekey(&datagrams);
    (world, activation)
}

#[test]
fn a_new_key_is_accepted_at_once_used_from_its_activation_and_the_old_one_stays_a_while() {
    let (mut world, activation) = rekeyed();
    let (old, new) = (sa(&world, 0x1700), sa(&world, 0x2000));
    assert!(
        close(new.activate_at, activation),
        "senders change together"
    );
    assert_eq!(
        old.stop_sending_at, new.activate_at,
        "no gap and no overlap"
    );
    assert_eq!(
        old.delete_at,
        new.activate_at + seconds(2),
        "the deactivation delay"
    );
    let phases = |world: &World| -> Vec<KeyPhase> {
        world
            .status()
            .traffic_keys
            .iter()
            .map(|key| key.phase)
            .collect()
    };
    assert_eq!(phases(&world), [KeyPhase::Active, KeyPhase::Staged]);
    world.run_for(seconds(6));
    assert_eq!(phases(&world), [KeyPhase::Retiring, KeyPhase::Active]);
    world.run_for(seconds(2));
    assert_eq!(phases(&world), [KeyPhase::Active]);
    assert_eq!(world.spis(), [0x2000]);
}

#[test]
fn a_rekey_is_acknowledged_and_so_is_every_copy_which_changes_nothing() {
    let mut world = World::registered(1);
    let activation = world.now + seconds(5);
    world.groups[0].add_tek(0x2000, activation, seconds(3600));
    let datagrams = world.groups[0].rekey(world.now, &[0x2000], &Extra::default());
    world.deliver_rekey(&datagrams);
    assert_eq!(world.acknowledgements.len(), 1);
    let before = sa(&world, 0x2000).activate_at;
    world.run_for(seconds(1));
    world.deliver_rekey(&datagrams);
    assert_eq!(world.acknowledgements.len(), 2);
    assert_eq!(world.acknowledgements[0], world.acknowledgements[1]);
    assert_eq!(sa(&world, 0x2000).activate_at, before);
    let status = world.status();
    assert_eq!((status.rekeys_accepted, status.rekeys_repeated), (1, 1));
}

#[test]
fn a_rekey_that_arrives_late_takes_effect_when_it_does_elsewhere() {
    let mut world = World::registered(1);
    let activation = world.now + seconds(30);
    world.groups[0].add_tek(0x2000, activation, seconds(3600));
    let datagrams = world.groups[0].rekey(world.now, &[0x2000], &Extra::default());
    world.run_for(seconds(12));
    world.deliver_rekey(&datagrams);
    assert!(close(sa(&world, 0x2000).activate_at, activation));
    assert!(world.has_event(|event| matches!(event,
        MemberEventKind::RekeyAccepted { age, .. } if *age >= seconds(11))));
}

#[test]
fn a_staged_key_can_be_called_earlier() {
    let mut world = World::registered(1);
    let now = world.now;
    world.groups[0].add_tek(0x2000, now + seconds(1000), seconds(3600));
    let datagrams = world.groups[0].rekey(now, &[0x2000], &Extra::default());
    world.deliver_rekey(&datagrams);
    // "Rekey now": the staged key starts in a second, another one is staged.
    world.groups[0].teks[1].activation = now + seconds(1);
    world.groups[0].add_tek(0x3000, now + seconds(2000), seconds(3600));
    let datagrams = world.groups[0].rekey(now, &[0x2000, 0x3000], &Extra::default());
    world.deliver_rekey(&datagrams);
    assert!(close(sa(&world, 0x2000).activate_at, now + seconds(1)));
    assert_eq!(
        sa(&world, 0x1700).stop_sending_at,
        sa(&world, 0x2000).activate_at
    );
    assert_eq!(
        sa(&world, 0x2000).stop_sending_at,
        sa(&world, 0x3000).activate_at
    );
}

#[test]
fn replaced_keys_leave_no_gap_even_when_the_staged_one_is_deleted_too() {
    let mut world = World::registered(1);
    let now = world.now;
    world.groups[0].add_tek(0x2000, now + seconds(1000), seconds(3600));
    let datagrams = world.groups[0].rekey(now, &[0x2000], &Extra::default());
    world.deliver_rekey(&datagrams);
    world.groups[0].add_tek(0x3000, now + seconds(1), seconds(3600));
    world.groups[0].add_tek(0x4000, now + seconds(1000), seconds(3600));
    let extra = Extra {
        deletes: vec![Delete::Data {
            protocol: ProtocolId::ESP,
            spis: vec![WireSpi(0x1700), WireSpi(0x2000)],
        }],
        ..Extra::default()
    };
    let datagrams = world.groups[0].rekey(now, &[0x3000, 0x4000], &extra);
    world.deliver_rekey(&datagrams);
    assert_eq!(
        sa(&world, 0x1700).stop_sending_at,
        sa(&world, 0x3000).activate_at
    );
    assert_eq!(
        sa(&world, 0x3000).stop_sending_at,
        sa(&world, 0x4000).activate_at
    );
    world.run_for(seconds(3));
    assert_eq!(world.spis(), [0x3000, 0x4000]);
}

#[test]
fn rekeys_go_on_over_a_new_rekey_sa() {
    let mut world = World::registered(1);
    let extra = Extra {
        new_rekey_sa: true,
        ..Extra::default()
    };
    let datagrams = world.groups[0].rekey(world.now, &[], &extra);
    world.deliver_rekey(&datagrams);
    let activation = world.now + seconds(5);
    world.groups[0].add_tek(0x2000, activation, seconds(3600));
    let datagrams = world.groups[0].rekey(world.now, &[0x2000], &Extra::default());
    world.deliver_rekey(&datagrams);
    assert_eq!(world.spis(), [0x1700, 0x2000]);
    assert_eq!(world.status().registrations, 1);
}

#[test]
fn an_excluded_member_registers_again_after_a_random_delay_and_keeps_policy() {
    let mut world = World::registered(1);
    let extra = Extra {
        deletes: vec![
            Delete::Data {
                protocol: ProtocolId::ESP,
                spis: vec![WireSpi::ZERO],
            },
            Delete::Rekey(vec![RekeySpi::ZERO]),
        ],
        ..Extra::default()
    };
    let datagrams = world.groups[0].rekey(world.now, &[], &extra);
    let excluded_at = world.now;
    world.deliver_rekey(&datagrams);
    assert!(world.has_event(|event| *event == MemberEventKind::Excluded));
    let due = world.status().next_registration.expect("registers again");
    assert!(due <= seconds(3), "{due:?}");
    assert!(sa(&world, 0x1700).delete_at <= excluded_at + seconds(3));
    assert!(!world.member.traffic_plan().closed);
    // The key server starts anew with a new Rekey SA and key.
    world.groups[0].teks.clear();
    let now = world.now;
    world.groups[0].add_tek(0x5000, now, seconds(3600));
    world.run_until_registered();
    world.run_for(seconds(3));
    assert_eq!(world.spis(), [0x5000]);
    assert_eq!(world.status().sender_id, Some(1));
}

#[test]
fn without_rekeys_the_member_registers_before_its_last_key_ends_and_loses_nothing() {
    let mut world = World::registered(1);
    let end = world.groups[0].teks[0].end;
    world.groups[0].add_tek(0x2000, end - seconds(200), seconds(3600));
    world.run_for(seconds(3600 - 200));
    assert_eq!(world.status().registrations, 1, "not too early");
    world.run_for(seconds(190));
    assert_eq!(world.status().registrations, 2);
    assert!(world.has_event(|event| matches!(
        event,
        MemberEventKind::RegistrationStarted {
            reason: RegistrationReason::TrafficKeyExpiry,
            ..
        }
    )));
    assert!(sa(&world, 0x2000).activate_at <= world.now);
}

#[test]
fn packets_under_a_key_of_the_past_cause_no_registration() {
    let (mut world, _) = rekeyed();
    world.run_for(seconds(60));
    assert_eq!(world.spis(), [0x2000]);
    let (here, there) = ("10.1.0.2", "10.1.0.9");
    let address = |text: &str| text.parse().expect("address");
    for _ in 0..5 {
        world.member.handle_unknown_spi(
            world.now,
            Spi(0x1700),
            address(there),
            address(here),
            &mut world.entropy,
        );
        world.run_for(seconds(5));
    }
    assert_eq!(
        world.status().registrations,
        1,
        "an excluded member may still send"
    );
}

#[test]
fn a_rekey_sa_near_its_end_is_renewed_by_registration() {
    let mut world = World::new(1);
    world.groups[0].kek_end = world.now + seconds(600);
    world.run_until_registered();
    world.groups[0].kek_end = world.now + seconds(86_400);
    world.run_for(seconds(500));
    assert_eq!(world.status().registrations, 1);
    world.run_for(seconds(98));
    assert_eq!(world.status().registrations, 2);
}

#[test]
fn after_the_last_keys_end_nothing_is_held_and_nothing_goes_clear() {
    let mut world = World::registered(2);
    world.set_servers_up(false);
    world.run_for(seconds(3590));
    assert_eq!(world.spis(), [0x1700], "used to the end of its lifetime");
    world.run_for(seconds(30));
    assert!(world.spis().is_empty());
    assert!(world.has_event(|event| *event == MemberEventKind::KeysExpired));
    let plan = world.member.traffic_plan();
    assert!(!plan.closed);
    assert_eq!(
        plan.entries.len(),
        1,
        "the policy stays, so its traffic drops"
    );
    world.set_servers_up(true);
    let now = world.now;
    world.groups[0].add_tek(0x6000, now, seconds(3600));
    world.run_until_registered();
    assert_eq!(world.spis(), [0x6000]);
}

#[test]
fn a_registration_replaces_what_it_does_not_name() {
    let mut world = World::registered(1);
    world.groups[0].teks.clear();
    let now = world.now;
    world.groups[0].add_tek(0x7000, now, seconds(3600));
    world.member.memberships_mut()[0].register_again(now, false);
    world.run_until_registered();
    let old = sa(&world, 0x1700);
    assert!(old.stop_sending_at <= world.now, "no longer used");
    assert!(
        old.delete_at > world.now,
        "packets on their way are still accepted"
    );
    world.run_for(seconds(3));
    assert_eq!(world.spis(), [0x7000]);
}

#[test]
fn a_rekey_with_a_cipher_that_we_lack_leads_to_a_registration_and_changes_no_key() {
    let mut world = World::registered(1);
    let now = world.now;
    world.groups[0].add_tek(0x2000, now + seconds(1), seconds(3600));
    world.groups[0].teks[1].encryption = Transform::encryption(EncryptionId::AES_CBC, Some(256));
    let datagrams = world.groups[0].rekey(now, &[0x2000], &Extra::default());
    world.deliver_rekey(&datagrams);
    assert_eq!(world.spis(), [0x1700]);
    assert!(
        world
            .status()
            .next_registration
            .is_some_and(|wait| wait <= seconds(3))
    );
}
