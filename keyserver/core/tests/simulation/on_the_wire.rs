//! When something is sent, and when nothing is.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use keyserver_api::policy::{GroupPolicy, RekeyTransport};
use keyserver_core::server::AdminRequest;

use crate::world::{GROUP, Member, World, policy};

/// Exchange types: IKE_SA_INIT (RFC 7296), and those of a rekey and its acknowledgement.
const OPENING: u8 = 34;
const REKEY: u8 = 41;
const ACKNOWLEDGEMENT: u8 = 240;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A policy whose keys live an hour.
fn lasting() -> GroupPolicy {
    let mut policy = policy();
    policy.security_associations[0].lifetime_ms = 3_600_000;
    policy.rekey.kek_lifetime_seconds = 86_400;
    policy
}

fn rekey(world: &mut World) {
    let request = AdminRequest::Rekey {
        group: GROUP.to_owned(),
        replace: false,
        key_encryption_key: false,
    };
    world.admin(request).expect("a rekey");
}

// GET VPN row 73
#[test]
fn between_two_rekeys_key_servers_and_members_send_nothing_to_each_other() {
    let mut world = World::new(3, 140);
    world.put_policy(&lasting()).expect("accepted");
    world.join(8);
    let sent: Rc<RefCell<Vec<u8>>> = Rc::default();
    let seen = sent.clone();
    world.loses = Box::new(move |datagram| {
        seen.borrow_mut().push(datagram.payload[18]);
        false
    });
    // The registrations close themselves; after that there is nothing to say for most of an hour.
    world.advance(seconds(60));
    sent.borrow_mut().clear();
    world.member(8).online = false;
    world.advance(seconds(3_000));
    assert_eq!(*sent.borrow(), Vec::<u8>::new(), "nobody asks anybody");
    assert_eq!(world.status().members, 8, "silence alone means nothing");
    rekey(&mut world);
    world.advance(seconds(10));
    let rekeying = [REKEY, ACKNOWLEDGEMENT];
    assert!(sent.borrow().len() > 8);
    assert!(sent.borrow().iter().all(|kind| rekeying.contains(kind)));
    world.register_again(1, 0);
    world.settle();
    assert!(
        sent.borrow().contains(&OPENING),
        "the watch sees what is sent"
    );
}

/// From the first to the last of a hundred members that take a rekey in and do not acknowledge it.
fn spread(transport: RekeyTransport) -> Duration {
    let mut world = World::new(3, 141);
    let mut policy = lasting();
    policy.rekey.transport = transport;
    policy.rekey.batch_size = 1;
    world.put_policy(&policy).expect("accepted");
    for number in 1..=100 {
        let mut member = Member::numbered(number);
        member.acknowledges = false;
        world.add(member, usize::from(number) % 3);
    }
    world.settle();
    world.ask(
        0,
        AdminRequest::Rekey {
            group: GROUP.to_owned(),
            replace: false,
            key_encryption_key: false,
        },
    );
    let begun = world.now;
    let mut installed: BTreeMap<IpAddr, Instant> = BTreeMap::new();
    loop {
        world.settle();
        for member in world.members.values() {
            if !member.rekeys.is_empty() {
                installed.entry(member.ip()).or_insert(world.now);
            }
        }
        if installed.len() == world.members.len() {
            break;
        }
        assert!(world.now < begun + seconds(60), "{}", installed.len());
        world.advance(Duration::from_millis(5));
    }
    let first = installed.values().min().expect("somebody");
    let last = installed.values().max().expect("somebody");
    *last - *first
}

// GET VPN row 84
#[test]
fn a_hundred_members_install_a_multicast_rekey_at_nearly_the_same_time() {
    let multicast = RekeyTransport::Multicast {
        address: "239.1.2.3".parse().expect("an address"),
        port: 848,
        hop_limit: 8,
    };
    let at_once = spread(multicast);
    assert!(at_once < seconds(1), "{at_once:?}");
    // One after the other takes longer.
    let in_turn = spread(RekeyTransport::Unicast);
    assert!(in_turn > seconds(2), "{in_turn:?}");
}
