//! Long rekeys: cut into fragments when everybody can take them, and only then (RFC 9838 §2.4.1.2).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use keyserver_api::policy::{GroupPolicy, RekeyTransport};
use keyserver_core::command::{Action, Command};
use keyserver_core::outcome::Outcome;
use keyserver_core::server::AdminRequest;

use crate::world::{GROUP, Member, World, policy};

/// Exchange type of GSA_REKEY, and the types of whole and cut encrypted payloads.
const REKEY: u8 = 41;
const WHOLE: u8 = 46;
const FRAGMENT: u8 = 53;

/// Fragments of the key servers of these worlds, in octets.
const FRAGMENT_SIZE: usize = 1_200;

/// A policy whose rekeys are longer than one fragment.
fn long(transport: RekeyTransport) -> GroupPolicy {
    let mut policy = policy();
    policy.rekey.transport = transport;
    let first = policy.security_associations[0].clone();
    for number in 1..=8_u8 {
        let mut association = first.clone();
        association.name = format!("voice-{number}");
        association.order = 200 + u16::from(number);
        let network = format!("10.{number}.0.0/16").parse().expect("a network");
        (
            association.rules[0].source,
            association.rules[0].destination,
        ) = (network, network);
        policy.security_associations.push(association);
    }
    policy
}

fn transports() -> [RekeyTransport; 2] {
    let multicast = RekeyTransport::Multicast {
        address: "239.1.2.3".parse().expect("an address"),
        port: 848,
        hop_limit: 8,
    };
    [multicast, RekeyTransport::Unicast]
}

/// Three members, the last of which negotiates fragmentation or not.
fn members(world: &mut World, fragmentation: bool) {
    for number in 1..=3 {
        let mut member = Member::new(number);
        member.fragmentation = fragmentation || number < 3;
        world.add(member, 0);
    }
    world.settle();
}

/// Payload types and lengths of the rekeys that are sent from now on.
fn watch(world: &mut World) -> Rc<RefCell<Vec<(u8, usize)>>> {
    let sent: Rc<RefCell<Vec<(u8, usize)>>> = Rc::default();
    let seen = sent.clone();
    world.loses = Box::new(move |datagram| {
        let octets = &datagram.payload;
        if octets[18] == REKEY {
            seen.borrow_mut().push((octets[16], octets.len()));
        }
        false
    });
    sent
}

fn rekey(world: &mut World) {
    let request = AdminRequest::Rekey {
        group: GROUP.to_owned(),
        replace: true,
        key_encryption_key: false,
    };
    world.admin(request).expect("a rekey");
    world.advance(Duration::from_secs(5));
}

#[test]
fn a_rekey_is_cut_only_when_every_member_negotiated_fragmentation() {
    for transport in transports() {
        for fragmentation in [true, false] {
            let mut world = World::new(1, 160);
            world
                .put_policy(&long(transport.clone()))
                .expect("accepted");
            members(&mut world, fragmentation);
            let sent = watch(&mut world);
            rekey(&mut world);
            let sent = sent.borrow();
            assert!(sent.len() > 1);
            if fragmentation {
                let cut =
                    |(kind, length): &(u8, usize)| *kind == FRAGMENT && *length <= FRAGMENT_SIZE;
                assert!(sent.iter().all(cut), "{sent:?}");
            } else {
                let whole =
                    |(kind, length): &(u8, usize)| *kind == WHOLE && *length > FRAGMENT_SIZE;
                assert!(sent.iter().all(whole), "{sent:?}");
            }
            for number in 1..=3 {
                assert_eq!(world.member(number).rekeys.len(), 1, "{transport:?}");
            }
            assert_eq!(world.status().members, 3);
        }
    }
}

/// The one that cannot take fragments leaves, and the next rekey is cut again.
#[test]
fn once_the_last_member_without_fragmentation_is_gone_rekeys_are_cut_again() {
    let mut world = World::new(1, 161);
    world
        .put_policy(&long(RekeyTransport::Unicast))
        .expect("accepted");
    members(&mut world, false);
    let request = AdminRequest::Evict {
        group: GROUP.to_owned(),
        member: "FQDN:m-3.member.getvpn".to_owned(),
    };
    world.admin(request).expect("an eviction");
    world.advance(Duration::from_secs(10));
    let sent = watch(&mut world);
    rekey(&mut world);
    assert!(!sent.borrow().is_empty());
    assert!(sent.borrow().iter().all(|(kind, _)| *kind == FRAGMENT));
}

/// A rekey was planned with fragments, and somebody who cannot take them registered before it was committed.
#[test]
fn a_cut_rekey_that_is_committed_too_late_is_planned_again() {
    let mut world = World::new(1, 162);
    world
        .put_policy(&long(RekeyTransport::Unicast))
        .expect("accepted");
    members(&mut world, true);
    rekey(&mut world);
    let cut = world.rekeys().pop().expect("a rekey");
    assert!(cut.message.as_ref().is_some_and(|message| message.is_cut()));
    let mut late = Member::new(4);
    late.fragmentation = false;
    world.add(late, 0);
    world.settle();
    // As if it had been planned just now.
    let state = world.primary().state().clone();
    let group = state.group(crate::world::GROUP_ID).expect("the group");
    let mut again = cut;
    again.expected.generation = group.generation;
    again.expected.spis_allocated = state.spis().allocated();
    let sa = group.rekey_sa.as_ref().expect("keys");
    if let Some(message) = &mut again.message {
        (message.spi, message.message_id) = (sa.spi, sa.next_message_id);
    }
    let command = Command {
        key: keyserver_core::command::CommandKey([0x77; 16]),
        time: state.time(),
        unix_ms: world.unix_ms(),
        proposer: "ks-0".to_owned(),
        action: Action::Rekey(Box::new(again)),
    };
    assert_eq!(world.commit(&command), Outcome::Superseded);
}
