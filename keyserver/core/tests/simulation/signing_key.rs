//! The key that signs rekeys: one for all key servers, made once, replaced only on purpose.

use std::time::Duration;

use keyserver_core::outcome::Refused;
use keyserver_core::server::{AdminError, AdminRequest};

use crate::world::{GROUP, World, policy};

/// Label and fingerprint of the group's signing key at each key server that has one.
fn at_each(world: &World) -> Vec<Option<(String, String)>> {
    let of = |node: &crate::world::Node| {
        let status = node.server.group_status(world.now, GROUP)?;
        let key = status.signing_key?;
        Some((key.label, key.fingerprint))
    };
    world.nodes.iter().map(of).collect()
}

fn assert_all_agree(world: &World) -> String {
    let keys = at_each(world);
    let (label, fingerprint) = keys[0].clone().expect("a key");
    assert!(
        keys.iter()
            .all(|key| key.as_ref() == Some(&(label.clone(), fingerprint.clone()))),
        "{keys:?}"
    );
    fingerprint
}

// GET VPN rows 194, 195, 198
#[test]
fn the_first_policy_makes_one_key_at_the_primary_and_every_key_server_holds_it() {
    let mut world = World::new(3, 90);
    assert_eq!(at_each(&world), [None, None, None]);
    world.put_policy(&policy()).expect("accepted");
    world.settle();
    assert_all_agree(&world);
    assert_eq!(world.signing_keys_made_at, [0], "the primary made it");
}

// GET VPN rows 197, 199
#[test]
fn fingerprints_converge_when_a_key_server_is_added_and_when_the_key_is_replaced() {
    let mut world = World::new(2, 91);
    world.put_policy(&policy()).expect("accepted");
    world.settle();
    let made = assert_all_agree(&world);

    let added = world.add_key_server();
    assert_eq!(at_each(&world)[added], None);
    world.nodes[added].follows = true;
    world.advance(Duration::from_secs(1));
    assert_eq!(assert_all_agree(&world), made, "the one there is");
    assert_eq!(world.signing_keys_made_at.len(), 1, "none was made for it");

    let private_key = crate::world::ed25519_key(&mut world.entropy);
    let request = AdminRequest::ImportSigningKey {
        group: GROUP.to_owned(),
        label: "another".to_owned(),
        private_key,
        overwrite: true,
    };
    world.admin(request).expect("taken");
    world.advance(Duration::from_secs(30));
    assert_ne!(assert_all_agree(&world), made);
}

// GET VPN row 200
#[test]
fn another_key_of_the_same_label_is_refused_and_changes_nothing() {
    let mut world = World::new(3, 92);
    world.put_policy(&policy()).expect("accepted");
    world.join(2);
    world.expects_traffic = true;
    let made = assert_all_agree(&world);
    let private_key = crate::world::ed25519_key(&mut world.entropy);
    let label = at_each(&world)[0].clone().expect("a key").0;
    let request = AdminRequest::ImportSigningKey {
        group: GROUP.to_owned(),
        label,
        private_key,
        overwrite: false,
    };
    assert_eq!(
        world.admin(request),
        Err(AdminError::Refused(Refused::SigningKeyConflict))
    );
    world.advance(Duration::from_secs(60));
    assert_eq!(assert_all_agree(&world), made);
}
