//! Excluding members with the key tree (RFC 9838 §3.2): who can follow, who cannot, and what it costs.

use std::collections::BTreeMap;
use std::time::Instant;

use gikev2::crypto::signature::{PrivateKey, Signer};
use gikev2::keys::tree::WorkingKeyPath;
use gikev2::keys::wrap;
use gikev2::rekey::RekeyError;
use gikev2::rekey::key_tree::{
    DEPTH, ExclusionKeys, KeyTree, KeyTreeError, LEAVES, Position, TreeNode,
};
use gikev2::rekey::receiver::{Received, Receiver};
use gikev2::rekey::sender::{self, KeyUpdate, NewRekeyKey, RekeyMessage};
use gikev2::responder::{RekeyKey, RekeyKeyGrant};
use gikev2::wire::{Delete, GroupSecurityAssociation, SaPolicy, Spi, WrappedKey};
use gikev2::{Entropy, Secret};
use proptest::prelude::*;

use crate::support::grants;
use crate::support::group::{
    SECOND_REKEY_SPI, accepted, ed25519_private_key, new_data_sa, rekey_sa_keys,
};
use crate::support::{Decision, Pair, Seeded, member_config, server_config};

/// Registers a new member at `leaf` over a whole IKE SA.
fn join(tree: &mut KeyTree, leaf: u32, signer: &PrivateKey) -> (Instant, Receiver) {
    let mut entropy = Seeded::new(u64::from(leaf) + 1000);
    let change = tree.plan_join(leaf, &mut entropy).expect("a free leaf");
    tree.apply(&change).expect("a fresh plan");
    let keys = tree
        .registration_keys(leaf, &grants::rekey_material())
        .expect("a member");
    let (algorithm, auth_key) = (
        signer.algorithm().algorithm_identifier(),
        signer.public_key_spki().to_vec(),
    );
    let mut pair = Pair::with_seed(member_config(), server_config(), u64::from(leaf) + 1);
    let mut keys = Some(keys);
    pair.decide = Box::new(move |_| {
        let keys = keys.take().expect("one registration");
        let mut grant = grants::signed_by(algorithm, auth_key.clone());
        grant.keys.rekey = Some(RekeyKeyGrant {
            spi: grants::REKEY_SPI,
            key: RekeyKey::Wrapped(keys.sa_key),
        });
        grant.keys.wrap_keys = keys.wrap_keys;
        grant.keys.plain_wrap_keys = vec![(keys.leaf_key_id, keys.leaf_key)];
        Decision::accept(grant)
    });
    let mut registration = pair.registered();
    let material = &registration.rekey.as_ref().expect("a Rekey SA").1;
    assert!(
        material == &grants::rekey_material(),
        "found through the key tree"
    );
    assert_eq!(
        registration.working_key_path.key_ids().count(),
        usize::from(DEPTH)
    );
    let receiver = Receiver::from_registration(pair.now, &mut registration)
        .expect("usable")
        .expect("a Rekey SA");
    (pair.now, receiver)
}

/// Message 1 of an eviction: a new Rekey SA for those who stay, over the old one.
fn eviction(keys: ExclusionKeys, signer: &dyn Signer) -> Vec<Vec<u8>> {
    let gsa = GroupSecurityAssociation {
        policies: vec![SaPolicy::Rekey(grants::rekey_policy(
            SECOND_REKEY_SPI,
            None,
        ))],
        group_wide: Some(grants::group_wide(false)),
    };
    let message = RekeyMessage {
        spi: grants::REKEY_SPI,
        message_id: 0,
        gsa: Some(&gsa),
        keys: KeyUpdate {
            rekey: Some((SECOND_REKEY_SPI, NewRekeyKey::Wrapped(keys.sa_keys))),
            wrap_keys: keys.wrap_keys,
            ..KeyUpdate::default()
        },
        deletes: &[],
        notifies: &[],
    };
    sender::build(
        &message,
        &rekey_sa_keys(&grants::rekey_material()),
        signer,
        None,
    )
    .expect("a message")
}

#[test]
fn evicted_member_cannot_open_the_next_generation_and_the_others_can() {
    let signer = ed25519_private_key();
    let mut tree = KeyTree::new();
    // Neighbours of the evicted, members of other subtrees near and far.
    let leaves = [0, 1, 2, 4, 17, 300, 16_383];
    let mut members: BTreeMap<u32, (Instant, Receiver)> = leaves
        .into_iter()
        .map(|leaf| (leaf, join(&mut tree, leaf, &signer)))
        .collect();

    let mut entropy = Seeded::new(5);
    let evicted = [1, 300];
    let change = tree
        .plan_exclusion(&evicted, &mut entropy)
        .expect("members");
    tree.apply(&change).expect("a fresh plan");
    let new_material = Secret::random(68, &mut entropy);
    let first = eviction(
        tree.exclusion_keys(&change, &new_material).expect("keys"),
        &signer,
    );

    // Message 2, over the new Rekey SA: new TEKs, everything old deleted.
    let spi = Spi(0xc0ff_ee07);
    let gsa = new_data_sa(spi);
    let key = Secret::random(36, &mut entropy);
    let message = RekeyMessage {
        spi: SECOND_REKEY_SPI,
        message_id: 0,
        gsa: Some(&gsa),
        keys: KeyUpdate {
            data: vec![(spi, &key)],
            ..KeyUpdate::default()
        },
        deletes: &[Delete::all_data()],
        notifies: &[],
    };
    let second =
        sender::build(&message, &rekey_sa_keys(&new_material), &signer, None).expect("a message");

    for (leaf, (now, receiver)) in &mut members {
        if evicted.contains(leaf) {
            assert_eq!(
                receiver.handle(*now, &first[0]).err(),
                Some(RekeyError::Excluded(SECOND_REKEY_SPI))
            );
            assert_eq!(
                receiver.handle(*now, &second[0]).err(),
                Some(RekeyError::UnknownSpi { announced: false })
            );
            continue;
        }
        let message = accepted(receiver, *now, &first);
        assert_eq!(message.new_rekey, Some(SECOND_REKEY_SPI), "leaf {leaf}");
        assert!(message.acknowledgement.is_some());
        let message = accepted(receiver, *now, &second);
        assert!(
            message.data[0].1 == key && message.deletes.all_data,
            "leaf {leaf}"
        );
        assert!(matches!(
            receiver.handle(*now, &second[0]),
            Ok(Received::Duplicate { .. })
        ));
    }
}

/// Everything an excluded member ever knew, used on everything that is sent afterwards.
#[test]
fn no_old_key_of_the_evicted_unwraps_anything() {
    let mut entropy = Seeded::new(8);
    let mut tree = KeyTree::new();
    for leaf in 0..40 {
        let change = tree.plan_join(leaf, &mut entropy).expect("free");
        tree.apply(&change).expect("fresh");
    }
    let material = Secret::random(68, &mut entropy);
    let own = tree.registration_keys(7, &material).expect("a member");
    let mut known = vec![(own.leaf_key_id, own.leaf_key)];
    for wrapped in own.wrap_keys.iter().rev() {
        let key = known
            .iter()
            .find(|(key_id, _)| *key_id == wrapped.kwk_id)
            .map(|(_, key)| key.duplicate());
        let key = wrap::unwrap(&key.expect("the key below"), &wrapped.encrypted).expect("unwraps");
        known.push((wrapped.key_id, key));
    }
    let change = tree.plan_exclusion(&[7], &mut entropy).expect("a member");
    tree.apply(&change).expect("fresh");
    let keys = tree
        .exclusion_keys(&change, &Secret::random(68, &mut entropy))
        .expect("keys");
    let sent: Vec<&WrappedKey> = keys.sa_keys.iter().chain(&keys.wrap_keys).collect();
    assert!(!sent.is_empty());
    for wrapped in sent {
        for (key_id, key) in &known {
            assert_ne!(wrapped.kwk_id, *key_id);
            assert!(wrap::unwrap(key, &wrapped.encrypted).is_err());
        }
    }
}

#[test]
fn an_eviction_from_a_full_neighbourhood_costs_four_keys_a_level() {
    let mut entropy = Seeded::new(9);
    let mut tree = KeyTree::new();
    for leaf in 0..64 {
        let change = tree.plan_join(leaf, &mut entropy).expect("free");
        tree.apply(&change).expect("fresh");
    }
    let change = tree.plan_exclusion(&[10], &mut entropy).expect("a member");
    tree.apply(&change).expect("fresh");
    let keys = tree
        .exclusion_keys(&change, &Secret::random(68, &mut entropy))
        .expect("keys");
    // Three siblings at the leaves, four at the two full levels above, one each where the tree is a chain.
    assert_eq!(keys.wrap_keys.len(), 3 + 4 + 4 + 3);
    assert_eq!(keys.sa_keys.len(), 1);
}

#[test]
fn the_last_member_takes_its_branch_along_and_leaves_are_reused() {
    let mut entropy = Seeded::new(10);
    let mut tree = KeyTree::new();
    for leaf in [0, 1, 5000] {
        let change = tree.plan_join(leaf, &mut entropy).expect("free");
        tree.apply(&change).expect("fresh");
    }
    assert_eq!(tree.free_leaf(), Some(2));
    let change = tree
        .plan_exclusion(&[5000], &mut entropy)
        .expect("a member");
    tree.apply(&change).expect("fresh");
    assert_eq!(tree.export().count(), 2 + usize::from(DEPTH) - 1);
    assert_eq!(tree.leaves().collect::<Vec<_>>(), [0, 1]);
    let change = tree.plan_exclusion(&[0, 1], &mut entropy).expect("members");
    tree.apply(&change).expect("fresh");
    assert_eq!(tree.export().count(), 0);
    assert_eq!(tree.free_leaf(), Some(0));
    assert!(tree.next_key_id() > 10, "key IDs go on");
}

#[test]
fn impossible_wishes_are_refused_and_stale_plans_change_nothing() {
    let mut entropy = Seeded::new(11);
    let mut tree = KeyTree::new();
    let first = tree.plan_join(3, &mut entropy).expect("free");
    let stale = tree.plan_join(4, &mut entropy).expect("free");
    tree.apply(&first).expect("fresh");
    let before = tree.export().count();
    assert_eq!(tree.apply(&stale), Err(KeyTreeError::Stale));
    assert_eq!(tree.apply(&first), Err(KeyTreeError::Stale));
    assert_eq!(tree.export().count(), before);
    assert_eq!(
        tree.plan_join(3, &mut entropy).err(),
        Some(KeyTreeError::LeafInUse(3))
    );
    assert_eq!(
        tree.plan_join(LEAVES, &mut entropy).err(),
        Some(KeyTreeError::NoSuchLeaf(LEAVES))
    );
    assert_eq!(
        tree.plan_exclusion(&[4], &mut entropy).err(),
        Some(KeyTreeError::LeafFree(4))
    );
    assert!(
        tree.registration_keys(4, &grants::rekey_material())
            .is_err()
    );
}

fn exported(tree: &KeyTree) -> Vec<TreeNode> {
    tree.export()
        .map(|(position, key_id, key)| TreeNode {
            position,
            key_id,
            key: key.duplicate(),
        })
        .collect()
}

#[test]
fn an_exported_tree_is_the_same_tree_and_broken_exports_are_refused() {
    let mut entropy = Seeded::new(12);
    let mut tree = KeyTree::new();
    for leaf in [0, 9, 100] {
        let change = tree.plan_join(leaf, &mut entropy).expect("free");
        tree.apply(&change).expect("fresh");
    }
    let copy = KeyTree::import(exported(&tree), tree.next_key_id()).expect("a tree");
    let material = grants::rekey_material();
    let (one, other) = (
        tree.registration_keys(9, &material).expect("keys"),
        copy.registration_keys(9, &material).expect("keys"),
    );
    assert_eq!((one.sa_key, one.wrap_keys), (other.sa_key, other.wrap_keys));

    let without_parent = exported(&tree).into_iter().skip(1);
    assert_eq!(
        KeyTree::import(without_parent, tree.next_key_id()).err(),
        Some(KeyTreeError::Malformed)
    );
    assert_eq!(
        KeyTree::import(exported(&tree), 2).err(),
        Some(KeyTreeError::Malformed)
    );
    let mut twice = exported(&tree);
    twice.extend(exported(&tree));
    assert_eq!(
        KeyTree::import(twice, tree.next_key_id()).err(),
        Some(KeyTreeError::Malformed)
    );
    let outside = TreeNode {
        position: Position { level: 1, index: 4 },
        key_id: 1,
        key: Secret::random(32, &mut entropy),
    };
    assert_eq!(
        KeyTree::import([outside], 2).err(),
        Some(KeyTreeError::Malformed)
    );
}

/// A member of the tree alone, without the protocol around it.
struct Leaf {
    path: WorkingKeyPath,
    default: Secret,
}

impl Leaf {
    fn join(tree: &mut KeyTree, leaf: u32, material: &Secret, entropy: &mut Seeded) -> Self {
        let change = tree.plan_join(leaf, entropy).expect("free");
        tree.apply(&change).expect("fresh");
        let keys = tree.registration_keys(leaf, material).expect("keys");
        let default = Secret::random(32, entropy);
        let encrypted = wrap::wrap(&default, keys.leaf_key.as_bytes()).expect("wraps");
        let mut wrap_keys = keys.wrap_keys;
        wrap_keys.push(WrappedKey {
            key_id: keys.leaf_key_id,
            kwk_id: 0,
            encrypted,
        });
        let found = WorkingKeyPath::empty()
            .follow(&default, &[keys.sa_key], &wrap_keys)
            .expect("a path");
        assert!(&found.key == material);
        Self {
            path: found.path.expect("new keys"),
            default,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any sequence of joins and evictions: at every step exactly those inside can follow.
    #[test]
    fn exactly_the_remaining_members_follow(seed in any::<u64>(), steps in prop::collection::vec((any::<bool>(), 0u32..80), 1..40)) {
        let mut entropy = Seeded::new(seed);
        let mut tree = KeyTree::new();
        let mut material = Secret::random(68, &mut entropy);
        let mut inside: BTreeMap<u32, Leaf> = BTreeMap::new();
        let mut outside: Vec<Leaf> = Vec::new();
        for (evict, leaf) in steps {
            if !evict {
                if !tree.contains(leaf) {
                    let member = Leaf::join(&mut tree, leaf, &material, &mut entropy);
                    inside.insert(leaf, member);
                }
                continue;
            }
            let Some(member) = inside.remove(&leaf) else { continue };
            outside.push(member);
            let change = tree.plan_exclusion(&[leaf], &mut entropy).expect("a member");
            tree.apply(&change).expect("fresh");
            let next = Secret::random(68, &mut entropy);
            let keys = tree.exclusion_keys(&change, &next).expect("keys");
            for (leaf, member) in &mut inside {
                let found = member.path.follow(&member.default, &keys.sa_keys, &keys.wrap_keys);
                let found = found.map_err(|error| TestCaseError::fail(format!("leaf {leaf}: {error}")))?;
                prop_assert!(found.key == next);
                if let Some(path) = found.path {
                    member.path = path;
                }
            }
            for member in &outside {
                prop_assert!(member.path.follow(&member.default, &keys.sa_keys, &keys.wrap_keys).is_err());
            }
            material = next;
        }
        let nodes = tree.export().count();
        prop_assert!(nodes <= inside.len() * usize::from(DEPTH));
        prop_assert_eq!(tree.leaves().count(), inside.len());
        let mut octets = [0; 1];
        entropy.fill(&mut octets);
    }
}
