//! When and where a member registers, and what it is before and after.

use std::time::Duration;

use gikev2::Secret;
use gikev2::exchange::authentication::Credentials;
use gikev2::responder::Refusal;
use gm_core::member::{FailureMode, GroupMember, MemberEventKind, RegistrationReason};
use gm_core::sad::Spi;

use super::world::{World, server_address, settings};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_member_is_closed_until_a_key_server_admits_it() {
    let mut world = World::new(1);
    assert!(world.member.traffic_plan().closed);
    assert!(world.spis().is_empty());
    world.run_until_registered();
    let plan = world.member.traffic_plan();
    assert!(!plan.closed);
    assert_eq!(plan.entries.len(), 1);
    assert_eq!(world.spis(), [0x1700]);
    let status = world.status();
    assert_eq!(status.sender_id, Some(0));
    assert_eq!(status.policy_revision, Some(3));
    assert_eq!(status.key_server, Some(server_address(0)));
    assert_eq!(
        status.key_server_identity.as_deref(),
        Some("FQDN:ks-0.keyserver.getvpn")
    );
}

// GET VPN row 36
#[test]
fn a_member_that_fails_open_is_exposed_until_a_key_server_admits_it() {
    let mut world = World::new(1);
    world.member = GroupMember::new(
        vec![settings(7, 1)],
        FailureMode::Open,
        Vec::new(),
        world.now,
    );
    world.set_servers_up(false);
    world.run_for(seconds(30));
    let plan = world.member.traffic_plan();
    assert!(plan.exposed && !plan.closed && plan.entries.is_empty());
    world.set_servers_up(true);
    world.run_until_registered();
    let plan = world.member.traffic_plan();
    assert!(!plan.exposed && !plan.closed);
    assert!(!World::new(1).member.traffic_plan().exposed);
}

// GET VPN row 30
#[test]
fn key_servers_are_asked_in_order_and_the_first_that_answers_is_used() {
    let mut world = World::new(3);
    world.servers[0].up = false;
    world.servers[1].up = false;
    world.run_until_registered();
    let asked: Vec<_> = world.attempts.iter().map(|(_, server)| *server).collect();
    assert_eq!(
        asked,
        [server_address(0), server_address(1), server_address(2)]
    );
    assert_eq!(world.status().key_server, Some(server_address(2)));
    assert!(
        world.now - world.start < seconds(4),
        "two dead key servers cost {:?}",
        world.now - world.start
    );
}

#[test]
fn rounds_in_vain_are_further_and_further_apart() {
    let mut world = World::new(1);
    world.set_servers_up(false);
    world.run_for(seconds(900));
    let gaps: Vec<Duration> = world
        .attempts
        .windows(2)
        .map(|pair| pair[1].0 - pair[0].0)
        .collect();
    assert!(gaps.len() >= 8, "{gaps:?}");
    assert!(gaps[0] < seconds(12), "{gaps:?}");
    let last = gaps.last().expect("several");
    assert!(*last > seconds(30) && *last < seconds(150), "{gaps:?}");
    assert!(world.member.traffic_plan().closed, "still closed");
    world.set_servers_up(true);
    world.run_until_registered();
}

// GET VPN row 21
#[test]
fn a_wrong_pre_shared_key_is_reported_in_words() {
    let mut wrong = settings(7, 1);
    wrong.credentials =
        Credentials::PreSharedKey(Secret::from_slice(b"some other key, long enough...."));
    let mut world = World::with(vec![wrong], 1);
    world.run_for(seconds(5));
    assert!(world.has_event(|event| matches!(event,
        MemberEventKind::RegistrationFailed { cause, .. } if cause.contains("identity"))));
    assert!(world.spis().is_empty());
    assert!(world.member.traffic_plan().closed);
}

#[test]
fn who_is_not_authorised_does_not_try_the_other_key_servers_and_waits() {
    let mut world = World::new(2);
    world.servers[0].refusal = Some(Refusal::AuthorizationFailed);
    world.run_for(seconds(25));
    assert_eq!(world.attempts.len(), 1, "{:?}", world.attempts);
    assert_eq!(world.servers[1].heard, 0);
    world.servers[0].refusal = None;
    world.run_until_registered();
}

#[test]
fn a_key_server_that_cannot_register_now_is_passed_over() {
    let mut world = World::new(2);
    world.servers[0].refusal = Some(Refusal::RegistrationFailed);
    world.run_until_registered();
    assert_eq!(world.status().key_server, Some(server_address(1)));
}

// GET VPN rows 156, 159
#[test]
fn a_failed_registration_takes_nothing_away_from_a_registered_member() {
    let mut world = World::registered(1);
    world.set_servers_up(false);
    world.member.memberships_mut()[0].register_again(world.now, false);
    world.run_for(seconds(120));
    assert!(world.has_event(|event| matches!(event, MemberEventKind::RegistrationFailed { .. })));
    assert_eq!(world.spis(), [0x1700]);
    let plan = world.member.traffic_plan();
    assert!(!plan.closed);
    assert_eq!(plan.entries.len(), 1);
}

// GET VPN row 160
#[test]
fn a_fresh_registration_forgets_everything_and_closes_first() {
    let mut world = World::registered(1);
    world.set_servers_up(false);
    world.member.memberships_mut()[0].register_again(world.now, true);
    assert!(world.member.traffic_plan().closed);
    assert!(world.spis().is_empty());
    world.set_servers_up(true);
    world.run_until_registered();
    assert!(!world.member.traffic_plan().closed);
}

#[test]
fn every_registration_brings_a_new_sender_id() {
    let mut world = World::registered(1);
    assert_eq!(world.status().sender_id, Some(0));
    world.member.memberships_mut()[0].handle_sender_id_exhausted(world.now);
    world.run_until_registered();
    assert_eq!(world.status().sender_id, Some(1));
    let plane = world.member.data_plane(None);
    assert!(
        plane
            .associations
            .iter()
            .all(|sa| sa.sender_id.is_some_and(|sender| sender.0 == 1))
    );
}

#[test]
fn packets_of_unknown_sas_cause_rare_registrations() {
    let mut world = World::registered(1);
    let (here, there) = (
        "10.1.0.2".parse().expect("address"),
        "10.1.0.9".parse().expect("address"),
    );
    let forge = |world: &mut World, times: u32, apart: Duration| {
        for _ in 0..times {
            let now = world.now;
            world
                .member
                .handle_unknown_spi(now, Spi(0xbad), there, here, &mut world.entropy);
            world.run_for(apart);
        }
    };
    // Just registered: nothing could be newer.
    forge(&mut world, 5, seconds(1));
    assert_eq!(world.status().registrations, 1);
    world.run_for(seconds(20));
    forge(&mut world, 120, seconds(1));
    let registrations = world.status().registrations;
    assert!(
        (2..=5).contains(&registrations),
        "{registrations} in two minutes"
    );
    // Addresses that are none of the group's, and known SPIs, mean nothing.
    world.run_for(seconds(1000));
    let outside = "192.0.2.1".parse().expect("address");
    let now = world.now;
    world
        .member
        .handle_unknown_spi(now, Spi(0xbad), outside, here, &mut world.entropy);
    world
        .member
        .handle_unknown_spi(now, Spi(0x1700), there, here, &mut world.entropy);
    world.run_for(seconds(10));
    assert_eq!(world.status().registrations, registrations);
    assert!(world.has_event(|event| matches!(
        event,
        MemberEventKind::RegistrationDue {
            reason: RegistrationReason::UnknownSpi,
            ..
        }
    )));
}

#[test]
fn leaving_tells_the_key_server() {
    let mut world = World::registered(1);
    let now = world.now;
    let asked = world.member.memberships_mut()[0].leave(now, &mut world.entropy);
    assert!(asked, "the IKE SA is still up");
    world.run_for(seconds(1));
    assert_eq!(world.left.len(), 1);
    assert!(world.has_event(|event| *event == MemberEventKind::Left));
}

#[test]
fn behind_a_translator_the_way_to_every_key_server_is_kept_open() {
    let mut world = World::new(2);
    world.translated = Some("203.0.113.1:1".parse().expect("address"));
    world.run_until_registered();
    let registered = world.now;
    world.run_for(seconds(65));
    let to_second: Vec<_> = world
        .keep_alives
        .iter()
        .filter(|(_, server)| *server == "172.20.1.2:4500".parse().expect("address"))
        .map(|(at, _)| (*at - registered).as_secs())
        .collect();
    assert_eq!(to_second.len(), 3, "{:?}", world.keep_alives);
    assert_eq!(world.keep_alives.len(), 6);
    assert!(World::registered(1).keep_alives.is_empty());
}
