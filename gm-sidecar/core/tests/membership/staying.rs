//! Staying in a group: over rekeys, and when the IKE SA of the registration is gone.

use std::time::Duration;

use gikev2::exchange::datagram::NON_ESP_MARKER;
use gikev2::wire::{KeyWrapId, ProtocolId, TransformType};
use gm_core::member::{DirectionOverride, MemberEventKind, RegistrationReason};

use super::group::Extra;
use super::world::{World, member_address, server_address, settings};

/// Exchange types of RFC 9838 and RFC 7296.
const INFORMATIONAL: u8 = 37;
const GSA_AUTH: u8 = 39;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn the_sender_id_stays_in_force_over_rekeys() {
    let mut world = World::registered(1);
    for spi in [0x2000, 0x3000] {
        let activation = world.now + seconds(1);
        world.groups[0].add_tek(spi, activation, seconds(3600));
        let datagrams = world.groups[0].rekey(world.now, &[spi], &Extra::default());
        world.deliver_rekey(&datagrams);
        world.run_for(seconds(5));
        let plane = world.member.data_plane(None);
        let sa = plane.associations.iter().find(|sa| sa.spi.0 == spi);
        let sender = sa.expect("the new SA").sender_id.map(|sender| sender.0);
        assert_eq!(sender, Some(0));
    }
    assert_eq!(world.status().registrations, 1);
}

#[test]
fn a_sender_without_a_sender_id_leaves_a_new_sa_alone_and_registers_again() {
    let rekeyed = |direction| {
        let mut settings = settings(7, 1);
        settings.direction = direction;
        let mut world = World::with(vec![settings], 1);
        world.groups[0].grants_sender_ids = false;
        world.run_until_registered();
        assert_eq!(world.status().sender_id, None);
        let activation = world.now + seconds(1);
        world.groups[0].add_tek(0x2000, activation, seconds(3600));
        let datagrams = world.groups[0].rekey(world.now, &[0x2000], &Extra::default());
        world.groups[0].grants_sender_ids = true;
        world.deliver_rekey(&datagrams);
        world
    };
    let mut world = rekeyed(DirectionOverride::Bidirectional);
    assert_eq!(world.spis(), [0x1700], "not installed");
    assert!(world.has_event(|event| matches!(
        event,
        MemberEventKind::RegistrationDue {
            reason: RegistrationReason::UnusableRekey,
            ..
        }
    )));
    world.run_until_registered();
    assert_eq!(world.spis(), [0x1700, 0x2000], "with a Sender-ID it is");
    assert!(world.status().sender_id.is_some());

    // Who does not send needs none.
    let world = rekeyed(DirectionOverride::InboundOnly);
    assert_eq!(world.spis(), [0x1700, 0x2000]);
    assert_eq!(world.status().registrations, 1);
    assert_eq!(
        world.status().next_registration.map(|at| at > seconds(60)),
        Some(true)
    );
}

#[test]
fn the_marker_of_port_4500_is_outside_of_what_is_signed() {
    for port in [848, 4500] {
        let mut world = World::registered(1);
        let activation = world.now + seconds(5);
        world.groups[0].add_tek(0x2000, activation, seconds(3600));
        let datagrams = world.groups[0].rekey(world.now, &[0x2000], &Extra::default());
        let (mut local, mut remote) = (member_address(), server_address(0));
        local.set_port(port);
        remote.set_port(port);
        let marker: &[u8] = if port == 4500 { &NON_ESP_MARKER } else { &[] };
        for datagram in &datagrams {
            let (now, clock) = (world.now, world.wall_clock);
            let datagram = [marker, datagram].concat();
            world
                .member
                .handle_datagram(now, clock, local, remote, &datagram, &mut world.entropy);
        }
        assert_eq!(world.status().rekeys_accepted, 1, "port {port}");
        assert_eq!(world.spis(), [0x1700, 0x2000], "port {port}");
    }
}

#[test]
fn without_a_rekey_sa_the_member_registers_again_when_the_ike_sa_is_gone() {
    for (rekeys, registrations) in [(true, 1), (false, 2)] {
        let mut world = World::new(1);
        world.groups[0].rekeys = rekeys;
        world.run_until_registered();
        world.run_for(seconds(15));
        assert_eq!(world.status().registrations, registrations);
        let due = world.has_event(|event| {
            matches!(
                event,
                MemberEventKind::RegistrationDue {
                    reason: RegistrationReason::NoRekeySa,
                    ..
                }
            )
        });
        assert_eq!(due, !rekeys);
    }
}

#[test]
fn the_member_leaves_it_to_the_key_server_to_close_the_registration_sa() {
    let mut world = World::registered(1);
    world.run_for(seconds(60));
    assert!(world.requests.contains(&GSA_AUTH));
    assert!(!world.requests.contains(&INFORMATIONAL));
}

#[test]
fn the_capabilities_name_the_key_wrap_algorithm_and_no_spi() {
    let world = World::registered(1);
    let rekey = |proposal: &&gikev2::wire::Proposal| proposal.protocol == ProtocolId::GIKE_UPDATE;
    let proposal = world.capabilities.iter().find(rekey).expect("GIKE_UPDATE");
    let wraps: Vec<u16> = proposal
        .of_type(TransformType::KEY_WRAP)
        .map(|transform| transform.id)
        .collect();
    assert_eq!(wraps, [KeyWrapId::KW_5649_256.0]);
    assert!(world.capabilities.iter().all(|each| each.spi.is_empty()));
}
