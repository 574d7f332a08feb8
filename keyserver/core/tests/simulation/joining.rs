//! What a member and its key servers know of each other once it has joined.

use std::time::Duration;

use gikev2::initiator::Refusal;
use gikev2::wire::{AccessAction, IdType, Identification};
use keyserver_api::identity::{IdentityKind, IdentityPattern};
use keyserver_api::policy::{AntiReplay, EspEncryption, GroupPolicy, RekeyTransport};
use keyserver_core::audit::{AuditEvent, RefusalCause};

use crate::world::{GROUP, Member, UNIX_MS, World, policy};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A policy with a second association of IPv6, and no keys beyond the current ones.
fn two_associations() -> GroupPolicy {
    let mut policy = policy();
    policy.prestaged_keys = 0;
    policy.security_associations[0].lifetime_ms = 900_000;
    let mut second = policy.security_associations[0].clone();
    second.name = "data".to_owned();
    second.order = 200;
    second.lifetime_ms = 3_600_000;
    second.rules[0].source = "fd00::/16".parse().expect("a network");
    second.rules[0].destination = "fd00::/16".parse().expect("a network");
    policy.security_associations.push(second);
    policy
}

// GET VPN row 25
#[test]
fn who_joins_a_second_after_a_change_of_policy_gets_the_new_one_and_talks_to_all() {
    let mut world = World::new(1, 100);
    let mut policy = policy();
    world.put_policy(&policy).expect("accepted");
    world.join(2);
    world.advance(seconds(30));
    policy.security_associations[0].encryption = EspEncryption::Aes128Gcm;
    world.put_policy(&policy).expect("accepted");
    world.advance(seconds(1));
    world.add(Member::new(3), 0);
    world.settle();
    assert_eq!(world.member(3).associations(), [2], "the new association");
    assert_eq!(world.member(1).associations(), [2]);
    world.advance(Duration::from_millis(200));
    let now = world.now;
    let spi = world.member(3).outbound(now, 2).expect("a key");
    assert_eq!(world.member(1).outbound(now, 2), Some(spi));
    assert_eq!(world.member(3).keys[&spi].material.len(), 20);
    world.expects_traffic = true;
    world.advance(seconds(60));
}

// GET VPN row 26
#[test]
fn the_table_of_members_says_who_where_with_whom_and_since_when() {
    let mut world = World::new(3, 101);
    world.put_policy(&policy()).expect("accepted");
    for number in 1..=3 {
        world.add(Member::new(number), usize::from(number) - 1);
        world.advance(seconds(2));
    }
    let rows = world.primary().members(GROUP).expect("the group");
    assert_eq!(rows.len(), 3);
    for (row, number) in rows.iter().zip(1_u8..) {
        assert_eq!(row.identity, format!("FQDN:m-{number}.member.getvpn"));
        assert_eq!(row.address, Member::new(number).address);
        assert_eq!(row.key_server, format!("ks-{}", number - 1));
        let since = row.registered_unix_ms - UNIX_MS;
        let expected = u64::from(number - 1) * 2_000;
        assert!(since.abs_diff(expected) < 500, "{since} for {number}");
    }
}

// GET VPN row 27
#[test]
fn rekeys_reach_members_whose_ike_sa_is_long_gone() {
    let mut world = World::new(1, 102);
    world.put_policy(&policy()).expect("accepted");
    world.join(3);
    world.advance(seconds(60));
    for number in 1..=3 {
        assert!(world.member(number).ike_sa_closed, "m-{number}");
        world.member(number).rekeys.clear();
    }
    world.expects_traffic = true;
    let exchanges = std::rc::Rc::new(std::cell::Cell::new(0));
    let seen = exchanges.clone();
    world.loses = Box::new(move |datagram| {
        // Everything but rekeys (41) and their acknowledgements (240) is an exchange of an IKE SA.
        if !matches!(datagram.payload.get(18), Some(&(41 | 240))) {
            seen.set(seen.get() + 1);
        }
        false
    });
    world.advance(seconds(120));
    assert_eq!(exchanges.get(), 0);
    for number in 1..=3 {
        assert!(world.member(number).rekeys.len() >= 5);
        assert_eq!(world.member(number).registrations, 1);
    }
}

// GET VPN row 28
#[test]
fn all_members_hold_one_key_for_each_association_and_one_for_rekeys() {
    let mut world = World::new(3, 103);
    world.put_policy(&two_associations()).expect("accepted");
    world.join(5);
    let now = world.now;
    let rekey_sa = |world: &mut World, number| {
        let receiver = world.member(number).receiver.as_ref().expect("registered");
        receiver.current().expect("a Rekey SA")
    };
    let first = rekey_sa(&mut world, 1);
    for association in [1, 2] {
        let spi = world.member(1).outbound(now, association).expect("a key");
        let material = world.member(1).keys[&spi].material.clone();
        for number in 1..=5 {
            let member = world.member(number);
            assert_eq!(member.outbound(now, association), Some(spi));
            assert_eq!(member.keys[&spi].material, material);
        }
    }
    for number in 1..=5 {
        assert_eq!(world.member(number).keys.len(), 2);
        assert_eq!(world.member(number).rekey_sas, 1);
        assert_eq!(rekey_sa(&mut world, number), first);
    }
    // One message under that key reaches everybody.
    world.member(1).rekeys.clear();
    let request = keyserver_core::server::AdminRequest::Rekey {
        group: GROUP.to_owned(),
        replace: false,
        key_encryption_key: false,
    };
    world.admin(request).expect("a rekey");
    world.advance(seconds(2));
    for number in 1..=5 {
        assert_eq!(world.member(number).rekeys.len(), 1);
    }
}

// GET VPN rows 29, 131
#[test]
fn each_association_has_a_key_with_its_own_spi_and_lifetime() {
    let mut world = World::new(1, 104);
    world.put_policy(&two_associations()).expect("accepted");
    world.join(1);
    let now = world.now;
    let member = world.member(1);
    assert_eq!(member.keys.len(), 2, "a map by SPI");
    assert_eq!(member.rekey_sas, 1);
    let lifetime = |association| {
        let key = member
            .keys
            .values()
            .find(|key| key.association == association);
        (key.expect("a key").ends - now).as_secs()
    };
    assert!((895..=900).contains(&lifetime(1)), "{}", lifetime(1));
    assert!((3_595..=3_600).contains(&lifetime(2)), "{}", lifetime(2));
}

// GET VPN row 33
#[test]
fn members_register_by_unicast_also_where_rekeys_are_multicast() {
    let mut world = World::new(1, 105);
    let mut policy = policy();
    policy.rekey.transport = RekeyTransport::Multicast {
        address: "239.1.2.3".parse().expect("an address"),
        port: 848,
        hop_limit: 8,
    };
    world.put_policy(&policy).expect("accepted");
    let kinds = std::rc::Rc::new(std::cell::RefCell::new(std::collections::BTreeSet::new()));
    let seen = kinds.clone();
    world.loses = Box::new(move |datagram| {
        let kind = datagram.payload.get(18).copied();
        seen.borrow_mut()
            .insert((datagram.remote.ip().is_multicast(), kind == Some(41)));
        false
    });
    world.join(3);
    assert_eq!(
        kinds.take().into_iter().collect::<Vec<_>>(),
        [(false, false)],
        "a registration is exchanged with one key server"
    );
    world.expects_traffic = true;
    world.advance(seconds(60));
    // A rekey (41) goes to the group and nowhere else, and nothing else goes there.
    assert!(kinds.borrow().contains(&(true, true)));
    assert!(!kinds.borrow().contains(&(false, true)));
    assert!(!kinds.borrow().contains(&(true, false)));
}

// GET VPN row 42
#[test]
fn each_kind_of_authorization_has_its_own_filter_and_no_other() {
    let pattern = |kind, value: &str| IdentityPattern {
        kind,
        value: value.to_owned(),
    };
    let by_name = pattern(IdentityKind::Fqdn, "m-1.*");
    let by_subject = pattern(IdentityKind::DistinguishedName, "*m-1*");
    let admitted = |identities: Vec<IdentityPattern>, addresses: &[&str], member: Member| {
        let mut world = World::new(1, 106);
        let mut policy = policy();
        policy.authorization.identities = identities;
        policy.authorization.addresses = addresses
            .iter()
            .map(|network| network.parse().expect("a network"))
            .collect();
        world.put_policy(&policy).expect("accepted");
        world.add(member, 0);
        world.settle();
        world.member(1).registrations == 1
    };
    let named = || Member::new(1);
    let subject = || {
        let mut member = Member::new(1);
        member.identity = Identification {
            id_type: IdType::DER_ASN1_DN,
            data: b"m-1".to_vec(),
        };
        member
    };
    // None: whoever is authenticated.
    assert!(admitted(Vec::new(), &[], named()));
    assert!(admitted(Vec::new(), &[], subject()));
    // By certificate: subjects alone; a host name of the same text is none.
    assert!(!admitted(vec![by_subject.clone()], &[], named()));
    // By pre-shared key: host names and addresses alone.
    assert!(admitted(vec![by_name.clone()], &[], named()));
    assert!(!admitted(vec![by_name], &[], subject()));
    assert!(admitted(Vec::new(), &["10.1.1.0/24"], subject()));
    assert!(!admitted(Vec::new(), &["10.1.9.0/24"], named()));
}

// GET VPN row 59
#[test]
fn without_a_signing_key_there_are_no_keys_and_nobody_registers() {
    let mut world = World::new(3, 107);
    world.makes_signing_keys = false;
    world.put_policy(&policy()).expect("accepted");
    world.add(Member::new(1), 1);
    world.advance(seconds(60));
    let status = world.status();
    assert_eq!(status.signing_key, None);
    assert!(status.traffic_keys.is_empty());
    assert_eq!(status.rekey_sa, None);
    assert_eq!(world.member(1).refusal, Some(Refusal::RegistrationFailed));
    assert!(world.audit.iter().any(|event| matches!(
        event,
        AuditEvent::Refused {
            cause: RefusalCause::NoKeys,
            ..
        }
    )));
}

// GET VPN row 76
#[test]
fn an_added_key_server_registers_members_only_once_it_holds_the_state() {
    let mut world = World::new(3, 108);
    world.put_policy(&policy()).expect("accepted");
    world.join(2);
    let added = world.add_key_server();
    world.add(Member::new(3), added);
    world.settle();
    assert_eq!(world.member(3).refusal, Some(Refusal::InvalidGroupId));
    assert!(world.member(3).keys.is_empty());
    world.nodes[added].follows = true;
    world.advance(seconds(1));
    world.register_again(3, added);
    world.settle();
    assert_eq!(world.member(3).registrations, 1);
    world.expects_traffic = true;
    world.member(3).failures.clear();
    world.advance(seconds(60));
}

// GET VPN row 138
#[test]
fn pseudotime_stands_still_until_the_first_member_joins() {
    let mut world = World::new(1, 109);
    world.put_policy(&policy()).expect("accepted");
    world.advance(seconds(50));
    assert_eq!(world.status().pseudotime_ms, 0);
    world.add(Member::new(1), 0);
    world.settle();
    world.advance(seconds(7));
    let now = world.status().pseudotime_ms;
    assert!((7_000..7_500).contains(&now), "{now}");
}

// GET VPN row 39
#[test]
fn the_pseudotime_that_a_member_gets_is_that_of_the_key_servers() {
    let mut world = World::new(3, 110);
    let mut policy = policy();
    policy.security_associations[0].anti_replay = AntiReplay::TimeBased { window_ms: 5_000 };
    world.put_policy(&policy).expect("accepted");
    world.join(1);
    world.advance(seconds(1_234));
    world.add(Member::new(2), 2);
    world.settle();
    let (told, at) = world.member(2).pseudotime.expect("told");
    assert_eq!(at, world.now);
    let ours = world.status().pseudotime_ms;
    assert!(ours > 1_230_000);
    assert!(told.abs_diff(ours) < 1_000, "{told} and {ours}");
}

// GET VPN row 147
#[test]
fn a_member_that_leaves_is_taken_out_of_the_table() {
    let mut world = World::new(1, 111);
    world.put_policy(&policy()).expect("accepted");
    world.join(2);
    let now = world.now;
    let member = world.members.values_mut().next().expect("a member");
    let initiator = member.initiator.as_mut().expect("just registered");
    let group = Identification::group(crate::world::GROUP_ID);
    assert!(initiator.leave(now, &group, false, &mut world.entropy));
    world.advance(seconds(1));
    let rows = world.primary().members(GROUP).expect("the group");
    let names: Vec<_> = rows.iter().map(|row| row.identity.as_str()).collect();
    assert_eq!(names, ["FQDN:m-2.member.getvpn"]);
}

// GET VPN row 221
#[test]
fn an_address_and_a_host_name_are_shown_as_the_member_names_itself() {
    let mut world = World::new(1, 112);
    world.put_policy(&policy()).expect("accepted");
    let mut by_address = Member::new(1);
    by_address.identity = Identification {
        id_type: IdType::IPV4_ADDRESS,
        data: vec![10, 1, 1, 2],
    };
    world.add(by_address, 0);
    world.add(Member::new(2), 0);
    world.settle();
    let rows = world.primary().members(GROUP).expect("the group");
    let names: Vec<_> = rows.iter().map(|row| row.identity.as_str()).collect();
    assert_eq!(names, ["Address:10.1.1.2", "FQDN:m-2.member.getvpn"]);
}

// GET VPN row 117
#[test]
fn two_associations_that_change_places_change_the_key_of_what_both_match_in_one_rekey() {
    let mut world = World::new(1, 113);
    let mut policy = policy();
    policy.security_associations[0].lifetime_ms = 3_600_000;
    let mut second = policy.security_associations[0].clone();
    second.name = "narrow".to_owned();
    second.order = 200;
    second.rules[0].source = "10.1.0.0/16".parse().expect("a network");
    second.rules[0].destination = "10.1.0.0/16".parse().expect("a network");
    policy.security_associations.push(second);
    world.put_policy(&policy).expect("accepted");
    world.join(2);
    // What the first entry of the list says about traffic that both associations match.
    let key_of_overlap = |world: &mut World| {
        let now = world.now;
        let member = world.member(1);
        let AccessAction::Permit { association } = member.access_list.entries[0].action else {
            panic!("only permits");
        };
        member.outbound(now, association).expect("a key")
    };
    let before = key_of_overlap(&mut world);
    let rekeys = world.rekeys().len();
    policy.security_associations[0].order = 300;
    world.put_policy(&policy).expect("accepted");
    world.advance(seconds(10));
    assert_ne!(key_of_overlap(&mut world), before);
    assert_eq!(world.rekeys().len(), rekeys + 1);
    assert_eq!(world.member(1).rekeys.len(), 1);
}

// GET VPN row 144
#[test]
fn another_window_reaches_all_members_by_a_rekey() {
    let mut world = World::new(1, 114);
    let mut policy = policy();
    world.put_policy(&policy).expect("accepted");
    world.join(4);
    let windows = |world: &mut World| -> Vec<Option<u32>> {
        let now = world.now;
        (1..=4)
            .map(|number| {
                let member = world.member(number);
                let association = member.associations()[0];
                let spi = member.outbound(now, association).expect("a key");
                member.keys[&spi].window_ms
            })
            .collect()
    };
    assert_eq!(windows(&mut world), [Some(5_000); 4]);
    policy.security_associations[0].anti_replay = AntiReplay::TimeBased { window_ms: 10_000 };
    world.put_policy(&policy).expect("accepted");
    world.advance(seconds(5));
    assert_eq!(windows(&mut world), [Some(10_000); 4]);
    for number in 1..=4 {
        assert_eq!(world.member(number).registrations, 1);
    }
}

// GET VPN row 2
#[test]
fn the_number_of_keys_does_not_grow_with_the_number_of_members() {
    let keys = |members: u8| {
        let mut world = World::new(1, 115);
        world.put_policy(&policy()).expect("accepted");
        world.join(members);
        world.member(1).keys.len()
    };
    assert_eq!(keys(50), keys(2));
}

// GET VPN row 132
#[test]
fn the_life_of_an_ike_sa_is_its_own_whatever_the_life_of_traffic_keys() {
    for lifetime_ms in [20_000, 300_000, 3_600_000] {
        let mut world = World::new(1, 116);
        let mut policy = policy();
        policy.security_associations[0].lifetime_ms = lifetime_ms;
        world.put_policy(&policy).expect("accepted");
        world.join(1);
        world.advance(seconds(9));
        assert!(!world.member(1).ike_sa_closed, "{lifetime_ms}");
        world.advance(seconds(2));
        assert!(world.member(1).ike_sa_closed, "{lifetime_ms}");
    }
}
