//! What makes a rekey, to whom it goes, and what silence means.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use keyserver_api::policy::{GroupPolicy, RekeyTransport};
use keyserver_api::status::MemberActivity;
use keyserver_core::audit::AuditEvent;
use keyserver_core::command::RekeyReason;
use keyserver_core::server::AdminRequest;

use crate::world::{GROUP, Member, World, policy};

const REKEY: u8 = 41;
const ACKNOWLEDGEMENT: u8 = 240;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn trigger(world: &mut World) {
    let request = AdminRequest::Rekey {
        group: GROUP.to_owned(),
        replace: false,
        key_encryption_key: false,
    };
    world.admin(request).expect("a rekey");
}

/// A policy whose keys live longer than any test here.
fn lasting() -> GroupPolicy {
    let mut policy = policy();
    policy.security_associations[0].lifetime_ms = 3_600_000;
    policy.rekey.kek_lifetime_seconds = 86_400;
    policy
}

fn multicast() -> RekeyTransport {
    RekeyTransport::Multicast {
        address: "239.1.2.3".parse().expect("an address"),
        port: 848,
        hop_limit: 8,
    }
}

// GET VPN row 79
#[test]
fn each_trigger_alone_makes_one_rekey_with_its_own_reason() {
    let reasons = |policy: &GroupPolicy, then: &mut dyn FnMut(&mut World)| {
        let mut world = World::new(1, 120);
        world.put_policy(policy).expect("accepted");
        world.join(2);
        let before = world.rekeys().len();
        then(&mut world);
        let all = world.rekeys();
        let new: Vec<_> = all[before..].iter().map(|rekey| rekey.reason).collect();
        assert_eq!(world.member(1).rekeys.len(), new.len(), "members are told");
        new
    };
    // A traffic key of 20 s that has a successor staged: the one after that is made once.
    let mut short = lasting();
    short.security_associations[0].lifetime_ms = 20_000;
    let wait = &mut |world: &mut World| world.advance(seconds(25));
    assert_eq!(reasons(&short, wait), [RekeyReason::TrafficKey]);
    let mut short = lasting();
    short.security_associations[0].lifetime_ms = 60_000;
    short.rekey.kek_lifetime_seconds = 60;
    let wait = &mut |world: &mut World| world.advance(seconds(52));
    assert_eq!(reasons(&short, wait), [RekeyReason::KeyEncryptionKey]);
    let change = &mut |world: &mut World| {
        let mut changed = lasting();
        changed.security_associations[0].rules[0].source = "10.0.0.0/9".parse().expect("network");
        world.put_policy(&changed).expect("accepted");
        world.advance(seconds(25));
    };
    assert_eq!(reasons(&lasting(), change), [RekeyReason::Policy]);
}

// GET VPN row 83
#[test]
fn the_number_of_multicast_rekeys_does_not_depend_on_the_number_of_members() {
    let datagrams = |members: u8| {
        let mut world = World::new(1, 121);
        let mut policy = lasting();
        policy.rekey.transport = multicast();
        world.put_policy(&policy).expect("accepted");
        world.join(members);
        let count = Rc::new(Cell::new(0));
        let counter = count.clone();
        world.loses = Box::new(move |datagram| {
            if datagram.payload.get(18) == Some(&REKEY) {
                counter.set(counter.get() + 1);
            }
            false
        });
        trigger(&mut world);
        world.advance(seconds(30));
        for number in 1..=members {
            assert_eq!(world.member(number).rekeys.len(), 1);
        }
        count.get()
    };
    let few = datagrams(2);
    assert!(few > 0);
    assert_eq!(datagrams(200), few);
}

// GET VPN row 86
#[test]
fn under_multicast_nothing_is_claimed_about_the_activity_of_a_member() {
    let activity = |world: &mut World| -> Vec<MemberActivity> {
        let rows = world.primary().members(GROUP).expect("the group");
        rows.iter().map(|row| row.activity).collect()
    };
    let mut world = World::new(1, 122);
    let mut policy = lasting();
    policy.rekey.transport = multicast();
    world.put_policy(&policy).expect("accepted");
    world.join(2);
    world.member(2).online = false;
    trigger(&mut world);
    world.advance(seconds(60));
    assert_eq!(activity(&mut world), [MemberActivity::Unknown; 2]);
    // Under unicast the same silence shows.
    policy.rekey.transport = RekeyTransport::Unicast;
    world.put_policy(&policy).expect("accepted");
    world.advance(seconds(5));
    assert_eq!(
        activity(&mut world),
        [MemberActivity::Active, MemberActivity::Silent]
    );
}

// GET VPN row 88
#[test]
fn a_lost_acknowledgement_costs_one_copy_and_the_member_applies_the_rekey_once() {
    let mut world = World::new(1, 123);
    let mut policy = lasting();
    policy.rekey.acknowledgement_timeout_ms = 10_000;
    world.put_policy(&policy).expect("accepted");
    world.join(1);
    let (rekeys, acknowledgements) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (sent, arrived) = (rekeys.clone(), acknowledgements.clone());
    let mut lost = false;
    world.loses = Box::new(move |datagram| match datagram.payload.get(18) {
        Some(&REKEY) => {
            sent.set(sent.get() + 1);
            false
        }
        Some(&ACKNOWLEDGEMENT) if !lost => {
            lost = true;
            true
        }
        Some(&ACKNOWLEDGEMENT) => {
            arrived.set(arrived.get() + 1);
            false
        }
        _ => false,
    });
    trigger(&mut world);
    world.advance(seconds(60));
    assert_eq!((rekeys.get(), acknowledgements.get()), (2, 1));
    assert_eq!(world.member(1).rekeys.len(), 1);
    let last = world.status().last_rekey.expect("a rekey");
    assert_eq!((last.acknowledged, last.complete), (Some(1), true));
}

// GET VPN row 90
#[test]
fn a_member_that_never_acknowledges_leaves_the_table_and_gets_no_more_rekeys() {
    let mut world = World::new(1, 124);
    let policy = policy();
    let threshold = usize::from(policy.rekey.eviction_threshold);
    world.put_policy(&policy).expect("accepted");
    world.join(3);
    let deaf = world.member(3).address.ip();
    let registration = world.member(3).registration_id.expect("registered");
    let pushes: Rc<RefCell<BTreeMap<u32, u32>>> = Rc::default();
    let seen = pushes.clone();
    world.loses = Box::new(move |datagram| {
        let is_push = datagram.payload.get(18) == Some(&REKEY) && datagram.remote.ip() == deaf;
        if is_push {
            let id = u32::from_be_bytes(*datagram.payload[20..].first_chunk().expect("an ID"));
            *seen.borrow_mut().entry(id).or_default() += 1;
        }
        is_push
    });
    world.advance(seconds(70));
    let rows = world.primary().members(GROUP).expect("the group");
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row.address.ip() != deaf));
    let removals = world.audit.iter().filter(|event| {
        matches!(event, AuditEvent::Removed { registration_ids, .. } if *registration_ids == [registration])
    });
    assert_eq!(removals.count(), 1, "an event tells of it");
    assert_eq!(
        pushes.borrow().len(),
        threshold,
        "as many rekeys as it may miss"
    );
    pushes.borrow_mut().clear();
    world.advance(seconds(60));
    assert!(pushes.borrow().is_empty(), "nothing is sent to it any more");
    assert!(world.member(1).rekeys.len() > 5);
}

// GET VPN row 91
#[test]
fn the_table_matches_reality_after_several_members_died() {
    let mut world = World::new(3, 125);
    world.put_policy(&policy()).expect("accepted");
    world.join(8);
    for number in 4..=8 {
        world.member(number).online = false;
    }
    world.advance(seconds(90));
    let rows = world.primary().members(GROUP).expect("the group");
    let mut addresses: Vec<IpAddr> = rows.iter().map(|row| row.address.ip()).collect();
    addresses.sort_unstable();
    let alive: Vec<IpAddr> = (1..=3).map(|number| [10, 1, number, 2].into()).collect();
    assert_eq!(addresses, alive);
    assert!(
        rows.iter()
            .all(|row| row.activity == MemberActivity::Active)
    );
}

// GET VPN row 31
#[test]
fn three_hundred_members_spread_over_three_key_servers_are_rekeyed_by_one() {
    let mut world = World::new(3, 126);
    world.put_policy(&lasting()).expect("accepted");
    for number in 1..=300 {
        world.add(Member::numbered(number), usize::from(number) % 3);
    }
    world.settle();
    let rows = world.primary().members(GROUP).expect("the group");
    let mut shares = BTreeMap::new();
    for row in &rows {
        *shares.entry(row.key_server.clone()).or_insert(0) += 1;
    }
    assert_eq!(shares.values().sum::<u32>(), 300);
    assert!(
        shares.values().all(|share| (75..=126).contains(share)),
        "{shares:?}"
    );
    trigger(&mut world);
    world.advance(seconds(10));
    assert!(
        world
            .members
            .values()
            .all(|member| member.rekeys.len() == 1)
    );
    assert_eq!(world.rekey_senders.len(), 1);
}
