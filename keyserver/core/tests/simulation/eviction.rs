use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use gikev2::responder::Refusal;
use keyserver_api::identity::{IdentityKind, IdentityPattern};
use keyserver_core::command::RekeyReason;
use keyserver_core::server::{AdminError, AdminRequest};

use crate::world::{GROUP, Member, World, policy};

fn evict(world: &mut World, member: &str) -> Result<(), AdminError> {
    let request = AdminRequest::Evict {
        group: GROUP.to_owned(),
        member: member.to_owned(),
    };
    world.admin(request).map(|_| ())
}

#[test]
fn an_evicted_member_opens_nothing_new_and_the_others_lose_nothing() {
    let mut world = World::new(3, 40);
    world.put_policy(&policy()).expect("accepted");
    world.join(9);
    world.expects_traffic = true;
    world.advance(Duration::from_secs(25));
    let held: Vec<_> = world.member(5).keys.keys().copied().collect();
    evict(&mut world, "m-5.member.getvpn").expect("evicted");
    world.advance(Duration::from_secs(2));
    assert!(world.member(5).excluded);
    let now = world.now;
    let current = world.member(1).outbound(now, 1).expect("a usable key");
    assert!(
        !held.contains(&current),
        "the others send with a key it never had"
    );
    assert!(!world.member(5).opens(now, current));
    world.advance(Duration::from_secs(60));
    for number in [1, 2, 3, 4, 6, 7, 8, 9] {
        assert_eq!(world.member(number).registrations, 1);
        assert!(!world.member(number).excluded);
    }
    let stolen: Vec<_> = world.member(5).keys.keys().copied().collect();
    assert!(stolen.iter().all(|spi| held.contains(spi)));
}

#[test]
fn an_evicted_member_stays_out_until_it_is_admitted() {
    let mut world = World::new(1, 41);
    world.put_policy(&policy()).expect("accepted");
    world.join(3);
    evict(&mut world, "FQDN:m-2.member.getvpn").expect("evicted");
    world.advance(Duration::from_secs(3));
    world.register_again(2, 0);
    world.settle();
    assert_eq!(world.member(2).refusal, Some(Refusal::AuthorizationFailed));
    let request = AdminRequest::Admit {
        group: GROUP.to_owned(),
        member: "m-2.member.getvpn".to_owned(),
    };
    world.admin(request).expect("admitted");
    world.register_again(2, 0);
    world.settle();
    assert_eq!(world.member(2).registrations, 2);
    world.expects_traffic = true;
    world.advance(Duration::from_secs(60));
}

#[test]
fn one_after_the_other_can_be_evicted_to_the_last() {
    let mut world = World::new(1, 42);
    world.put_policy(&policy()).expect("accepted");
    world.join(6);
    world.expects_traffic = true;
    for number in 1..=6 {
        evict(&mut world, &format!("m-{number}.member.getvpn")).expect("evicted");
        world.advance(Duration::from_secs(5));
        assert!(world.member(number).excluded);
    }
    assert!(
        world
            .primary()
            .members(GROUP)
            .expect("the group")
            .is_empty()
    );
    world.expects_traffic = false;
    world.add(crate::world::Member::new(7), 0);
    world.settle();
    assert_eq!(world.member(7).registrations, 1);
}

#[test]
fn the_message_that_excludes_carries_no_traffic_key() {
    let mut world = World::new(1, 43);
    world.put_policy(&policy()).expect("accepted");
    world.join(3);
    evict(&mut world, "m-3.member.getvpn").expect("evicted");
    world.advance(Duration::from_secs(3));
    let rekeys = world.rekeys();
    let exclusion = rekeys
        .iter()
        .position(|rekey| rekey.reason == RekeyReason::Eviction)
        .expect("an exclusion");
    assert!(rekeys[exclusion].traffic_keys.is_empty());
    let next = &rekeys[exclusion + 1];
    assert_eq!(next.reason, RekeyReason::EvictionTrafficKeys);
    let new_sa = rekeys[exclusion].rekey_sa.as_ref().map(|sa| sa.spi);
    assert_eq!(next.message.as_ref().map(|message| message.spi), new_sa);
}

#[test]
fn a_member_that_left_cannot_follow_the_next_key_encryption_key() {
    let mut world = World::new(1, 44);
    world.put_policy(&policy()).expect("accepted");
    world.join(4);
    // Its record is removed while it still listens.
    let dead = world.member(4).address;
    world.loses = Box::new(move |datagram| datagram.local == dead);
    world.advance(Duration::from_secs(80));
    world.loses = Box::new(|_| false);
    assert_eq!(world.primary().members(GROUP).expect("the group").len(), 3);
    let request = AdminRequest::Rekey {
        group: GROUP.to_owned(),
        replace: true,
        key_encryption_key: true,
    };
    world.admin(request).expect("a rekey");
    world.advance(Duration::from_secs(2));
    let now = world.now;
    let current = world.member(1).outbound(now, 1).expect("a usable key");
    assert!(world.member(2).opens(now, current) && !world.member(4).opens(now, current));
}

#[test]
fn an_eviction_of_nobody_is_refused() {
    let mut world = World::new(1, 45);
    world.put_policy(&policy()).expect("accepted");
    world.join(1);
    assert!(matches!(
        evict(&mut world, "m-9.member.getvpn"),
        Err(AdminError::MemberNotFound { .. })
    ));
}

/// What member 2 can make of the traffic and the rekeys from before it was admitted, when the keys were changed first
/// or were not: the traffic keys of then that it holds, and whether it can follow the Rekey SA of then.
fn admitted_later(keys_change_first: bool) -> (usize, bool) {
    let mut world = World::new(1, 170);
    let mut policy = policy();
    // Nothing here ends by itself during the test.
    policy.security_associations[0].lifetime_ms = 3_600_000;
    let named = |value: &str| IdentityPattern {
        kind: IdentityKind::Fqdn,
        value: value.to_owned(),
    };
    policy.authorization.identities = vec![named("m-1.*")];
    world.put_policy(&policy).expect("accepted");
    world.add(Member::new(1), 0);
    world.add(Member::new(2), 0);
    world.settle();
    assert_eq!(world.member(1).registrations, 1);
    assert_eq!(world.member(2).registrations, 0, "not authorised yet");
    let earlier: Vec<_> = world.member(1).keys.keys().copied().collect();
    let rekeys: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let seen = rekeys.clone();
    world.loses = Box::new(move |datagram| {
        if datagram.payload[18] == 41 {
            seen.borrow_mut().push(datagram.payload.clone());
        }
        false
    });
    if keys_change_first {
        let request = AdminRequest::Rekey {
            group: GROUP.to_owned(),
            replace: true,
            key_encryption_key: true,
        };
        world.admin(request).expect("a rekey");
        // Until senders use the new keys, the old ones are in use.
        world.advance(Duration::from_secs(5));
    }
    let earlier_rekeys = rekeys.borrow().clone();
    policy.authorization.identities = vec![named("m-*")];
    world.put_policy(&policy).expect("accepted");
    world.register_again(2, 0);
    world.settle();
    assert_eq!(world.member(2).registrations, 1);
    let now = world.now;
    let spi = world
        .member(1)
        .outbound(now, 1)
        .expect("a key to send with");
    assert!(world.member(2).opens(now, spi), "it reads what is sent now");
    let held = earlier
        .iter()
        .filter(|spi| world.member(2).opens(now, **spi))
        .count();
    let receiver = world.member(2).receiver.as_ref().expect("a Rekey SA");
    let follows = match earlier_rekeys.first() {
        Some(first) => receiver.owns(first),
        None => true,
    };
    (held, follows)
}

#[test]
fn who_is_admitted_after_a_change_of_all_keys_reads_nothing_from_before() {
    assert_eq!(admitted_later(true), (0, false));
    let (held, follows) = admitted_later(false);
    assert!(held > 0 && follows, "without it, it would");
}
