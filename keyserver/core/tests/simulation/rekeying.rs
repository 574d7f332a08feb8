use std::time::Duration;

use keyserver_api::policy::RekeyTransport;
use keyserver_core::command::RekeyReason;
use keyserver_core::server::AdminRequest;

use crate::world::{GROUP, World, policy};

fn rekey(world: &mut World, replace: bool) {
    let request = AdminRequest::Rekey {
        group: GROUP.to_owned(),
        replace,
        key_encryption_key: false,
    };
    world.admin(request).expect("a rekey");
}

// GET VPN row 80
#[test]
fn over_twenty_key_lives_everybody_always_opens_what_everybody_sends() {
    for prestaged in 0..=3 {
        let mut world = World::new(3, 20 + u64::from(prestaged));
        let mut policy = policy();
        policy.prestaged_keys = prestaged;
        world.put_policy(&policy).expect("accepted");
        world.join(4);
        world.expects_traffic = true;
        world.advance(Duration::from_secs(20 * 20));
        for number in 1..=4 {
            assert!(
                world.member(number).rekeys.len() >= 20,
                "{:?}",
                world.member(number).rekeys
            );
            assert_eq!(world.member(number).registrations, 1);
        }
        assert_eq!(world.rekey_senders.len(), 1, "only the primary rekeys");
        let status = world.status();
        assert_eq!(status.traffic_keys.len(), world.member(1).keys.len());
    }
}

// GET VPN row 82
#[test]
fn a_lossy_network_delays_rekeys_but_loses_no_key() {
    let mut world = World::new(1, 30);
    world.put_policy(&policy()).expect("accepted");
    world.join(5);
    world.expects_traffic = true;
    let mut count = 0_u32;
    world.loses = Box::new(move |_| {
        count = count.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        count >> 24 < 77
    });
    world.advance(Duration::from_secs(200));
    let silent: u32 = world
        .primary()
        .members(GROUP)
        .expect("the group")
        .iter()
        .map(|row| row.missed_rekeys)
        .sum();
    assert_eq!(silent, 0);
}

#[test]
fn triggered_rekeys_under_traffic_lose_nothing_however_fast_they_follow() {
    let mut world = World::new(1, 31);
    world.put_policy(&policy()).expect("accepted");
    world.join(3);
    world.expects_traffic = true;
    for _ in 0..50 {
        let now = world.now;
        let before = world.member(1).outbound(now, 1);
        rekey(&mut world, false);
        world.advance(Duration::from_millis(1_500));
        let now = world.now;
        assert_ne!(
            world.member(1).outbound(now, 1),
            before,
            "the staged key became current"
        );
    }
    for _ in 0..50 {
        rekey(&mut world, false);
        world.advance(Duration::from_millis(100));
    }
    assert!(
        world.member(1).keys.len() < 80,
        "superseded keys are deleted: {}",
        world.member(1).keys.len()
    );
    world.advance(Duration::from_secs(60));
    assert!(world.member(1).keys.len() <= 3);
}

#[test]
fn replacing_deletes_every_old_key_without_loss() {
    let mut world = World::new(1, 32);
    world.put_policy(&policy()).expect("accepted");
    world.join(3);
    world.expects_traffic = true;
    let old: Vec<_> = world.member(2).keys.keys().copied().collect();
    rekey(&mut world, true);
    world.advance(Duration::from_secs(5));
    assert!(world.member(2).keys.keys().all(|spi| !old.contains(spi)));
    assert_eq!(world.member(2).keys.len(), 2);
}

// GET VPN row 58
#[test]
fn the_key_encryption_key_is_replaced_before_its_end() {
    let mut world = World::new(1, 33);
    let mut policy = policy();
    policy.rekey.kek_lifetime_seconds = 300;
    world.put_policy(&policy).expect("accepted");
    world.join(3);
    world.expects_traffic = true;
    let spi = |world: &mut World| {
        world
            .primary()
            .state()
            .group(1234)
            .and_then(|g| g.rekey_sa.as_ref().map(|sa| sa.spi))
    };
    let before = spi(&mut world);
    world.advance(Duration::from_secs(280));
    assert_eq!(spi(&mut world), before, "not long before its end");
    world.advance(Duration::from_secs(15));
    assert_ne!(spi(&mut world), before);
    world.advance(Duration::from_secs(1_200));
    assert!(
        world
            .members
            .values()
            .all(|member| member.registrations == 1)
    );
    let replaced = world
        .rekeys()
        .iter()
        .filter(|rekey| rekey.reason == RekeyReason::KeyEncryptionKey)
        .count();
    assert!((4..=6).contains(&replaced), "{replaced}");
}

#[test]
fn multicast_sends_the_configured_copies_to_the_group_address() {
    let mut world = World::new(1, 34);
    let mut policy = policy();
    policy.rekey.transport = RekeyTransport::Multicast {
        address: "239.1.2.3".parse().expect("an address"),
        port: 848,
        hop_limit: 8,
    };
    policy.rekey.retransmit_attempts = 2;
    world.put_policy(&policy).expect("accepted");
    world.join(3);
    world.expects_traffic = true;
    let copies = std::rc::Rc::new(std::cell::Cell::new(0));
    let counter = copies.clone();
    world.loses = Box::new(move |datagram| {
        if datagram.remote.ip().is_multicast() {
            counter.set(counter.get() + 1);
            // The first copy of each rekey is lost.
            return counter.get() % 3 == 1;
        }
        false
    });
    world.advance(Duration::from_secs(200));
    let rekeys = world.rekeys().len() - 1;
    assert_eq!(copies.get(), 3 * rekeys);
    assert_eq!(
        world
            .primary()
            .multicast_hop_limit("239.1.2.3".parse().expect("an address")),
        Some(8)
    );
}

#[test]
fn members_that_stay_silent_are_forgotten_after_the_threshold() {
    let mut world = World::new(1, 35);
    world.put_policy(&policy()).expect("accepted");
    world.join(3);
    world.member(3).online = false;
    world.advance(Duration::from_secs(30));
    assert_eq!(world.primary().members(GROUP).expect("the group").len(), 3);
    world.advance(Duration::from_secs(40));
    assert_eq!(world.primary().members(GROUP).expect("the group").len(), 2);
}

#[test]
fn a_group_without_key_servers_goes_on_until_its_prestaged_key_ends() {
    let mut world = World::new(1, 36);
    world.put_policy(&policy()).expect("accepted");
    world.join(2);
    world.expects_traffic = true;
    world.advance(Duration::from_secs(40));
    world.kill(0);
    world.advance(Duration::from_secs(17));
    world.expects_traffic = false;
    world.advance(Duration::from_secs(60));
    let now = world.now;
    assert_eq!(
        world.member(1).outbound(now, 1),
        None,
        "nothing is sent with an ended key"
    );
    world.restart(0);
    world.expects_traffic = true;
    world.register_again(1, 0);
    world.register_again(2, 0);
    world.expects_traffic = false;
    world.settle();
    world.expects_traffic = true;
    world.advance(Duration::from_secs(40));
}
