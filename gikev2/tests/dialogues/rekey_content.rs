//! What authentic GSA_REKEY messages do: new Rekey SAs, changed signing keys, deletions, and contents that break the
//! rules.

use std::time::{Duration, Instant};

use gikev2::crypto::signature::Signer;
use gikev2::rekey::RekeyError;
use gikev2::rekey::receiver::{Received, Receiver};
use gikev2::rekey::sender::{KeyUpdate, NewRekeyKey};
use gikev2::wire::{
    Delete, GroupSecurityAssociation, Notify, NotifyType, RekeySpi, SaPolicy, Spi, Transform,
};

use crate::support::grants::{self, counting};
use crate::support::group::{
    SECOND_REKEY_SPI, WHOLE, accepted, build, delete_data, ed25519_private_key, member,
    new_data_sa, rekey_sa_keys, worked_example,
};
use crate::support::pki::{Kind, private_key};

fn refused(receiver: &mut Receiver, now: Instant, datagram: &[u8]) -> RekeyError {
    match receiver.handle(now, datagram) {
        Err(error) => error,
        Ok(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_new_rekey_sa_takes_over_and_the_old_one_retires() {
    let signer = ed25519_private_key();
    let (pair, mut receiver) = member(&signer, 0);
    let material = counting(0x55, 68);
    let gsa = GroupSecurityAssociation {
        policies: vec![SaPolicy::Rekey(grants::rekey_policy(
            SECOND_REKEY_SPI,
            None,
        ))],
        group_wide: Some(grants::group_wide(false)),
    };
    let keys = KeyUpdate {
        rekey: Some((SECOND_REKEY_SPI, NewRekeyKey::Plain(&material))),
        ..KeyUpdate::default()
    };
    let change = build(0, Some(&gsa), keys, &[], &signer);
    let message = accepted(&mut receiver, pair.now, std::slice::from_ref(&change));
    assert_eq!(message.new_rekey, Some(SECOND_REKEY_SPI));
    assert_eq!(receiver.current(), Some(SECOND_REKEY_SPI));

    // Until DTD is over the old Rekey SA still takes messages, afterwards only copies are recognised.
    accepted(
        &mut receiver,
        pair.now + Duration::from_secs(1),
        &worked_example(1, &signer, WHOLE),
    );
    let late = pair.now + Duration::from_secs(21);
    let error = refused(&mut receiver, late, &worked_example(2, &signer, WHOLE)[0]);
    assert_eq!(error, RekeyError::UnknownSpi { announced: false });
    assert!(matches!(
        receiver.handle(late, &worked_example(1, &signer, WHOLE)[0]),
        Ok(Received::Duplicate {
            acknowledgement: Some(_)
        })
    ));

    // Numbers start again at zero over the new one.
    let gsa = new_data_sa(Spi(0xc0ff_ee03));
    let key = counting(7, 36);
    let over_new = gikev2::rekey::sender::RekeyMessage {
        spi: SECOND_REKEY_SPI,
        message_id: 0,
        gsa: Some(&gsa),
        keys: KeyUpdate {
            data: vec![(Spi(0xc0ff_ee03), &key)],
            ..KeyUpdate::default()
        },
        deletes: &[],
        notifies: &[],
    };
    let datagrams =
        gikev2::rekey::sender::build(&over_new, &rekey_sa_keys(&material), &signer, None)
            .expect("a message");
    accepted(&mut receiver, late, &datagrams);
    receiver.handle_timeout(late + Duration::from_secs(120));
    assert!(!receiver.owns(&change), "the old Rekey SA is forgotten");
}

#[test]
fn the_signing_key_can_be_changed_by_a_rekey_and_its_algorithm_cannot() {
    let signer = ed25519_private_key();
    let (pair, mut receiver) = member(&signer, 0);
    let (other, rsa) = (private_key(Kind::Ed25519), private_key(Kind::RsaPss));
    let gsa = new_data_sa(Spi(0xc0ff_ee02));
    let key = counting(7, 36);
    let with = |auth_key| KeyUpdate {
        data: vec![(Spi(0xc0ff_ee02), &key)],
        auth_key: Some(auth_key),
        ..KeyUpdate::default()
    };
    let bad = build(0, Some(&gsa), with(rsa.public_key_spki()), &[], &signer);
    assert!(matches!(
        refused(&mut receiver, pair.now, &bad),
        RekeyError::Content(_)
    ));
    let good = build(1, Some(&gsa), with(other.public_key_spki()), &[], &signer);
    accepted(&mut receiver, pair.now, &[good]);
    let old = worked_example(2, &signer, WHOLE);
    assert!(matches!(
        refused(&mut receiver, pair.now, &old[0]),
        RekeyError::Signature(_)
    ));
    accepted(&mut receiver, pair.now, &worked_example(2, &other, WHOLE));
}

#[test]
fn a_rekey_to_transport_mode_changes_nothing() {
    let signer = ed25519_private_key();
    let (pair, mut receiver) = member(&signer, 0);
    let gsa = new_data_sa(Spi(0xc0ff_ee02));
    let key = counting(7, 36);
    let mut rekey = |message_id, notifies: &[Notify]| {
        let message = gikev2::rekey::sender::RekeyMessage {
            spi: grants::REKEY_SPI,
            message_id,
            gsa: Some(&gsa),
            keys: KeyUpdate {
                data: vec![(Spi(0xc0ff_ee02), &key)],
                ..KeyUpdate::default()
            },
            deletes: &[],
            notifies,
        };
        let keys = rekey_sa_keys(&grants::rekey_material());
        let datagrams = gikev2::rekey::sender::build(&message, &keys, &signer, None);
        receiver.handle(pair.now, &datagrams.expect("a message")[0])
    };
    match rekey(0, &[Notify::empty(NotifyType::USE_TRANSPORT_MODE)]) {
        Err(RekeyError::Content(rule)) => assert!(rule.contains("transport mode"), "{rule}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(rekey(1, &[]), Ok(Received::Accepted(_))));
}

#[test]
fn every_form_of_deletion_is_understood() {
    let signer = ed25519_private_key();
    let (pair, mut receiver) = member(&signer, 0);
    let mut delete = |message_id, deletes: &[Delete]| {
        let datagram = build(message_id, None, KeyUpdate::default(), deletes, &signer);
        accepted(&mut receiver, pair.now, &[datagram])
            .deletes
            .clone()
    };
    let named = delete(0, &[delete_data(grants::DATA_SPI)]);
    assert_eq!(
        (named.data, named.all_data, named.excluded),
        (vec![grants::DATA_SPI], false, false)
    );
    let all = delete(1, &[Delete::all_data()]);
    assert_eq!(
        (all.data, all.all_data, all.excluded),
        (vec![], true, false)
    );
    let ike = delete(2, &[Delete::IkeSa]);
    assert_eq!(
        (ike.data, ike.all_data, ike.excluded),
        (vec![], false, false),
        "an IKE SA is not meant here"
    );
    let out = delete(3, &[Delete::all_data(), Delete::exclusion()]);
    assert_eq!((out.data, out.all_data, out.excluded), (vec![], true, true));
}

#[test]
fn the_whole_gsa_can_be_deleted_at_once() {
    let signer = ed25519_private_key();
    let (pair, mut receiver) = member(&signer, 0);
    let datagram = build(
        0,
        None,
        KeyUpdate::default(),
        &[Delete::Everything],
        &signer,
    );
    let message = accepted(&mut receiver, pair.now, &[datagram]);
    assert!(message.deletes.all_data && message.deletes.excluded);
    assert_eq!(receiver.current(), None);
    let next = worked_example(1, &signer, WHOLE);
    assert!(matches!(
        refused(&mut receiver, pair.now, &next[0]),
        RekeyError::UnknownSpi { .. }
    ));
}

#[test]
fn authentic_messages_that_break_the_rules_change_nothing() {
    let signer = ed25519_private_key();
    let (pair, mut receiver) = member(&signer, 0);
    let spi = Spi(0xc0ff_ee02);
    let key = counting(7, 36);
    let short = counting(7, 32);
    let material = counting(0x55, 68);
    let plain = || new_data_sa(spi);
    let data = || KeyUpdate {
        data: vec![(spi, &key)],
        ..KeyUpdate::default()
    };
    let rekey_gsa = |algorithm: Option<&[u8]>, spi: RekeySpi| GroupSecurityAssociation {
        policies: vec![SaPolicy::Rekey(grants::rekey_policy(spi, algorithm))],
        group_wide: None,
    };
    let rekey = |spi| KeyUpdate {
        rekey: Some((spi, NewRekeyKey::Plain(&material))),
        ..KeyUpdate::default()
    };

    let mut with_bits = plain();
    with_bits.group_wide = Some(grants::group_wide(true));
    let mut no_life = plain();
    let mut esn = plain();
    let mut doubled = plain();
    doubled
        .policies
        .push(SaPolicy::Data(grants::data_policy(spi)));
    if let Some(SaPolicy::Data(policy)) = no_life.policies.first_mut() {
        policy.lifetime_seconds = None;
    }
    if let Some(SaPolicy::Data(policy)) = esn.policies.first_mut() {
        policy.transforms[1] = Transform::sequence_numbers(gikev2::wire::SequenceNumbersId(1));
    }
    let other_key = || gikev2::wire::WrappedKey {
        key_id: 0,
        kwk_id: 9,
        encrypted: vec![0; 40],
    };
    let cases: Vec<(&str, GroupSecurityAssociation, KeyUpdate<'_>)> = vec![
        ("GWP_SENDER_ID_BITS", with_bits, data()),
        ("no lifetime", no_life, data()),
        ("64-bit sequence numbers", esn, data()),
        ("a policy twice", doubled, data()),
        ("a policy without key", plain(), KeyUpdate::default()),
        (
            "a key without policy",
            rekey_gsa(None, SECOND_REKEY_SPI),
            data(),
        ),
        (
            "a key without salt",
            plain(),
            KeyUpdate {
                data: vec![(spi, &short)],
                ..KeyUpdate::default()
            },
        ),
        (
            "GCAUTH",
            rekey_gsa(Some(grants::ED25519), SECOND_REKEY_SPI),
            rekey(SECOND_REKEY_SPI),
        ),
        (
            "the SPI of the carrying Rekey SA",
            rekey_gsa(None, grants::REKEY_SPI),
            rekey(grants::REKEY_SPI),
        ),
        (
            "keys of another Rekey SA",
            rekey_gsa(None, SECOND_REKEY_SPI),
            rekey(RekeySpi([7; 16])),
        ),
        (
            "half an SPI",
            rekey_gsa(None, RekeySpi([0; 16])),
            rekey(RekeySpi([0; 16])),
        ),
        (
            "a WRAP_KEY without Key ID",
            plain(),
            KeyUpdate {
                wrap_keys: vec![other_key()],
                ..data()
            },
        ),
    ];
    let mut message_id = 0;
    for (what, gsa, keys) in cases {
        let datagram = build(message_id, Some(&gsa), keys, &[], &signer);
        let error = refused(&mut receiver, pair.now, &datagram);
        assert!(
            matches!(error, RekeyError::Content(_) | RekeyError::Malformed(_)),
            "{what}: {error:?}"
        );
        message_id += 1;
    }
    let nothing = build(message_id, None, KeyUpdate::default(), &[], &signer);
    assert!(matches!(
        refused(&mut receiver, pair.now, &nothing),
        RekeyError::Content(_)
    ));
    assert_eq!(receiver.current(), Some(grants::REKEY_SPI));
    accepted(
        &mut receiver,
        pair.now,
        &worked_example(message_id + 1, &signer, WHOLE),
    );
}

#[test]
fn an_announced_successor_is_recognised_without_its_rekey() {
    let signer = ed25519_private_key();
    let (pair, mut receiver) = member(&signer, 0);
    let mut policy = grants::rekey_policy(SECOND_REKEY_SPI, None);
    let third = RekeySpi(*b"rekeysa5rekeysa6");
    policy.next_spis = vec![third];
    let gsa = GroupSecurityAssociation {
        policies: vec![SaPolicy::Rekey(policy)],
        group_wide: None,
    };
    let material = counting(0x55, 68);
    let keys = KeyUpdate {
        rekey: Some((SECOND_REKEY_SPI, NewRekeyKey::Plain(&material))),
        ..KeyUpdate::default()
    };
    accepted(
        &mut receiver,
        pair.now,
        &[build(0, Some(&gsa), keys, &[], &signer)],
    );
    let mut lost = worked_example(5, &ed25519_private_key(), WHOLE)[0].clone();
    lost[..16].copy_from_slice(&third.0);
    assert_eq!(
        refused(&mut receiver, pair.now, &lost),
        RekeyError::UnknownSpi { announced: true }
    );
}

#[test]
fn a_registration_that_raced_with_a_rekey_does_not_turn_it_back() {
    let signer = ed25519_private_key();
    let (pair, mut receiver) = member(&signer, 5);
    accepted(&mut receiver, pair.now, &worked_example(9, &signer, WHOLE));
    // The same registration again, which still says that message 5 comes next.
    let algorithm = signer.algorithm().algorithm_identifier();
    let mut again = crate::support::Pair::new(
        crate::support::member_config(),
        crate::support::server_config(),
    );
    let auth_key = signer.public_key_spki().to_vec();
    again.decide = Box::new(move |_| {
        crate::support::Decision::accept(grants::signed_by(algorithm, auth_key.clone()))
    });
    let mut registration = again.registered();
    receiver
        .handle_registration(pair.now, &mut registration)
        .expect("the same group");
    let old = worked_example(9, &signer, WHOLE);
    assert!(matches!(
        receiver.handle(pair.now + Duration::from_secs(1), &old[0]),
        Ok(Received::Duplicate { .. })
    ));
    let older = worked_example(8, &signer, WHOLE);
    assert!(matches!(
        refused(&mut receiver, pair.now, &older[0]),
        RekeyError::Replayed { expected: 10, .. }
    ));
}
