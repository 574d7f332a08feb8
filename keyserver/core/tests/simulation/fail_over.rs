use std::collections::BTreeMap;
use std::time::Duration;

use keyserver_core::server::AdminRequest;

use crate::world::{GROUP, World, policy};

#[test]
fn when_the_primary_dies_the_next_one_goes_on_and_nobody_registers_again() {
    let mut world = World::new(3, 50);
    world.put_policy(&policy()).expect("accepted");
    world.join(6);
    world.expects_traffic = true;
    for round in 0..20 {
        let (old, new) = (round % 3, (round + 1) % 3);
        world.kill(old);
        world.elect(Some(new));
        world.advance(Duration::from_millis(12_345));
        world.restart(old);
        world.advance(Duration::from_millis(777));
    }
    assert!(
        world
            .members
            .values()
            .all(|member| member.registrations == 1)
    );
    assert_eq!(world.rekey_senders.len(), 3);
}

#[test]
fn a_new_primary_sends_the_same_octets_to_those_that_did_not_acknowledge() {
    let mut world = World::new(2, 51);
    world.put_policy(&policy()).expect("accepted");
    world.join(3);
    world.advance(Duration::from_secs(5));
    // The first primary reaches only one member.
    let reached = world.member(1).address;
    world.loses = Box::new(move |datagram| {
        datagram.payload.get(18) == Some(&41) && datagram.remote != reached
    });
    let request = AdminRequest::Rekey {
        group: GROUP.to_owned(),
        replace: false,
        key_encryption_key: false,
    };
    world.admin(request).expect("a rekey");
    assert_eq!(world.member(1).rekeys.len(), 1);
    assert_eq!(world.member(2).rekeys.len(), 0);
    world.kill(0);
    let seen = std::rc::Rc::new(std::cell::RefCell::new(BTreeMap::new()));
    let log = seen.clone();
    world.loses = Box::new(move |datagram| {
        if datagram.payload.get(18) == Some(&41) {
            let id = datagram.payload[..24].to_vec();
            let known = log
                .borrow_mut()
                .entry(id)
                .or_insert_with(|| datagram.payload.clone())
                .clone();
            assert_eq!(known, datagram.payload, "one Message ID, one content");
        }
        false
    });
    world.elect(Some(1));
    world.advance(Duration::from_millis(300));
    let first = world.member(1).rekeys.clone();
    assert_eq!(world.member(2).rekeys, first);
    assert_eq!(world.member(3).rekeys.len(), 1);
    assert!(!seen.borrow().is_empty());
}

#[test]
fn an_eviction_half_done_is_finished_by_the_next_primary() {
    let mut world = World::new(2, 52);
    world.put_policy(&policy()).expect("accepted");
    world.join(4);
    world.expects_traffic = true;
    let group = GROUP.to_owned();
    let request = AdminRequest::Evict {
        group,
        member: "m-4.member.getvpn".to_owned(),
    };
    // Only the exclusion reaches the log, and no datagram a member.
    world.loses = Box::new(|_| true);
    world.ask(0, request);
    world.settle();
    world.kill(0);
    world.loses = Box::new(|_| false);
    world.elect(Some(1));
    // The excluded member was not told; the others do not talk to it any more.
    world.member(4).excluded = true;
    world.advance(Duration::from_secs(2));
    let now = world.now;
    let current = world.member(1).outbound(now, 1).expect("a usable key");
    assert!(world.member(2).opens(now, current) && !world.member(4).opens(now, current));
}

#[test]
fn two_that_both_think_they_lead_never_use_anything_twice() {
    let mut world = World::new(2, 53);
    world.put_policy(&policy()).expect("accepted");
    world.join(3);
    // Both are told that they are primary; both proposals reach the log.
    for node in 0..2 {
        world.tell_primary(node);
        let group = GROUP.to_owned();
        world.ask(
            node,
            AdminRequest::Rekey {
                group,
                replace: true,
                key_encryption_key: false,
            },
        );
    }
    world.advance(Duration::from_secs(2));
    let superseded = world
        .outcomes
        .iter()
        .filter(|outcome| **outcome == keyserver_core::outcome::Outcome::Superseded)
        .count();
    assert!(superseded > 0, "one of them was too late");
    crate::replication::assert_nothing_is_used_twice(&world);
}
