use std::time::Duration;

use keyserver_api::policy::{EspEncryption, RekeyTransport};
use keyserver_core::command::RekeyReason;
use keyserver_core::outcome::Refused;
use keyserver_core::server::{AdminAnswer, AdminError};

use crate::world::{GROUP, World, policy};

#[test]
fn another_cipher_comes_into_force_under_traffic_without_loss() {
    let mut world = World::new(1, 60);
    let mut policy = policy();
    world.put_policy(&policy).expect("accepted");
    world.join(3);
    world.expects_traffic = true;
    world.advance(Duration::from_secs(25));
    policy.security_associations[0].encryption = EspEncryption::Aes128Gcm;
    world.expects_traffic = false;
    world.put_policy(&policy).expect("accepted");
    let now = world.now;
    assert_eq!(world.member(1).associations(), [2], "a new association");
    assert!(
        world.member(1).outbound(now, 1).is_some(),
        "the old key is used until the new one is active"
    );
    world.advance(Duration::from_millis(1_100));
    world.expects_traffic = true;
    let now = world.now;
    let spi = world.member(1).outbound(now, 2).expect("the new key");
    assert_eq!(world.member(2).keys[&spi].material.len(), 20);
    world.advance(Duration::from_secs(100));
    assert!(
        world
            .members
            .values()
            .all(|member| member.registrations == 1)
    );
    assert!(
        world
            .member(1)
            .keys
            .values()
            .all(|key| key.association == 2)
    );
}

#[test]
fn a_longer_lifetime_alone_keeps_the_keys() {
    let mut world = World::new(1, 61);
    let mut policy = policy();
    world.put_policy(&policy).expect("accepted");
    world.join(2);
    world.expects_traffic = true;
    let before: Vec<_> = world.member(1).keys.keys().copied().collect();
    policy.security_associations[0].lifetime_ms = 40_000;
    world.put_policy(&policy).expect("accepted");
    let after: Vec<_> = world.member(1).keys.keys().copied().collect();
    assert_eq!(before, after);
    world.advance(Duration::from_secs(200));
}

// GET VPN row 19
#[test]
fn the_same_policy_again_changes_nothing() {
    let mut world = World::new(1, 62);
    world.put_policy(&policy()).expect("accepted");
    world.join(1);
    let log = world.log.len();
    assert_eq!(world.put_policy(&policy()), Ok(AdminAnswer::Done));
    assert_eq!(world.log.len(), log);
    let revision = world
        .primary()
        .state()
        .group(1234)
        .map(|group| group.policy_revision);
    assert_eq!(revision, Some(1));
}

#[test]
fn associations_come_and_go() {
    let mut world = World::new(1, 63);
    let mut policy = policy();
    world.put_policy(&policy).expect("accepted");
    world.join(2);
    let mut second = policy.security_associations[0].clone();
    second.name = "video".to_owned();
    second.order = 50;
    second.rules[0].source = "fd00::/16".parse().expect("a network");
    second.rules[0].destination = "fd00::/16".parse().expect("a network");
    policy.security_associations.push(second);
    world.put_policy(&policy).expect("accepted");
    world.advance(Duration::from_secs(2));
    assert_eq!(world.member(1).associations(), [2, 1], "in their order");
    world.expects_traffic = true;
    world.advance(Duration::from_secs(60));
    policy.security_associations.remove(0);
    world.put_policy(&policy).expect("accepted");
    world.advance(Duration::from_secs(60));
    assert_eq!(world.member(1).associations(), [2]);
    assert!(
        world
            .member(2)
            .keys
            .values()
            .all(|key| key.association == 2)
    );
}

#[test]
fn the_transport_can_change_under_traffic() {
    let mut world = World::new(1, 64);
    let mut policy = policy();
    world.put_policy(&policy).expect("accepted");
    world.join(3);
    world.expects_traffic = true;
    policy.rekey.transport = RekeyTransport::Multicast {
        address: "239.1.2.3".parse().expect("an address"),
        port: 848,
        hop_limit: 8,
    };
    world.put_policy(&policy).expect("accepted");
    world.advance(Duration::from_secs(100));
    policy.rekey.transport = RekeyTransport::Unicast;
    world.put_policy(&policy).expect("accepted");
    world.advance(Duration::from_secs(100));
    assert!(
        world
            .members
            .values()
            .all(|member| member.registrations == 1)
    );
}

#[test]
fn another_sender_id_width_begins_a_new_epoch() {
    let mut world = World::new(1, 65);
    let mut policy = policy();
    world.put_policy(&policy).expect("accepted");
    world.join(2);
    policy.sender_id_bits = 16;
    world.put_policy(&policy).expect("accepted");
    assert!(world.members.values().all(|member| member.excluded));
    world.register_again(1, 0);
    world.register_again(2, 0);
    world.settle();
    world.expects_traffic = true;
    world.advance(Duration::from_secs(60));
    let reasons: Vec<_> = world.rekeys().iter().map(|rekey| rekey.reason).collect();
    assert!(reasons.contains(&RekeyReason::Epoch));
}

#[test]
fn a_group_id_is_taken_once_and_for_ever() {
    let mut world = World::new(1, 66);
    let mut policy = policy();
    world.put_policy(&policy).expect("accepted");
    policy.name = "other".to_owned();
    assert_eq!(
        world.put_policy(&policy),
        Err(AdminError::Refused(Refused::GroupIdTaken))
    );
    policy.name = GROUP.to_owned();
    policy.group_id = 5;
    assert_eq!(
        world.put_policy(&policy),
        Err(AdminError::Refused(Refused::GroupIdImmutable))
    );
}

#[test]
fn another_signing_key_is_announced_under_the_old_one() {
    use keyserver_core::server::AdminRequest;
    let mut world = World::new(1, 67);
    world.put_policy(&policy()).expect("accepted");
    world.join(3);
    world.expects_traffic = true;
    let private_key = crate::world::ed25519_key(&mut world.entropy);
    let import = |label: &str, overwrite| AdminRequest::ImportSigningKey {
        group: GROUP.to_owned(),
        label: label.to_owned(),
        private_key: private_key.clone(),
        overwrite,
    };
    assert_eq!(
        world.admin(import("rekey", false)),
        Err(AdminError::Refused(Refused::SigningKeyConflict))
    );
    world.admin(import("rekey", true)).expect("approved");
    world.advance(Duration::from_secs(100));
    assert!(
        world
            .members
            .values()
            .all(|member| member.registrations == 1 && member.rekeys.len() >= 5)
    );
    let reasons: Vec<_> = world.rekeys().iter().map(|rekey| rekey.reason).collect();
    assert!(reasons.contains(&RekeyReason::SigningKey));
}
