//! Rules of RFC 9838 for the policies of a registration: a member takes none that breaks one.

use gikev2::initiator::{Event, InitiatorError};
use gikev2::rekey::RekeyError;
use gikev2::rekey::receiver::Receiver;
use gikev2::responder::Grant;
use gikev2::wire::{
    DataSaPolicy, GroupControllerAuthenticationId, IntegrityId, KeyWrapId, ParseError, ProtocolId,
    RekeySaPolicy, RekeySpi, SaPolicy, Spi, Transform, TransformAttributeType, TransformType,
};

use crate::support::{Decision, Pair, grants, member_config, server_config};

/// What a member makes of a grant that was changed.
fn outcome(change: impl Fn(&mut Grant) + 'static) -> (Pair, Event) {
    let mut pair = Pair::new(member_config(), server_config());
    pair.decide = Box::new(move |_| {
        let mut grant = grants::plain();
        change(&mut grant);
        Decision::accept(grant)
    });
    let event = pair.outcome();
    (pair, event)
}

/// The rule for which a member refuses a changed grant.
fn broken_rule(change: impl Fn(&mut Grant) + 'static) -> &'static str {
    match outcome(change).1 {
        Event::Unusable(rule) => rule,
        other => panic!("{other:?}"),
    }
}

fn is_taken(change: impl Fn(&mut Grant) + 'static) -> bool {
    matches!(outcome(change).1, Event::Registered(_))
}

fn rekey(grant: &mut Grant) -> &mut RekeySaPolicy {
    match grant.gsa.policies.first_mut() {
        Some(SaPolicy::Rekey(policy)) => policy,
        other => panic!("{other:?}"),
    }
}

fn data(grant: &mut Grant) -> &mut DataSaPolicy {
    match grant.gsa.policies.get_mut(1) {
        Some(SaPolicy::Data(policy)) => policy,
        other => panic!("{other:?}"),
    }
}

const TWICE: &str = "a policy has two transforms of one type";
const FOREIGN: &str = "a policy has a transform of a type it may not have";

/// Why the Rekey SA of a changed grant cannot be set up.
fn setup(change: impl Fn(&mut Grant) + 'static) -> &'static str {
    let (pair, event) = outcome(change);
    let Event::Registered(mut registration) = event else {
        panic!("{event:?}");
    };
    match Receiver::from_registration(pair.now, &mut registration) {
        Err(RekeyError::Setup(rule)) => rule,
        other => panic!("{:?}", other.map(|receiver| receiver.is_some())),
    }
}

#[test]
fn the_rekey_sa_of_a_registration_has_exactly_one_gcauth() {
    assert!(is_taken(|_| {}));
    let none = broken_rule(|grant| {
        rekey(grant).transforms.pop();
    });
    assert_eq!(none, "GCAUTH belongs into registrations and nowhere else");
    let two = broken_rule(|grant| {
        let implicit = Transform::implicit_authentication();
        rekey(grant).transforms.push(implicit);
    });
    assert_eq!(two, TWICE);
}

#[test]
fn a_digital_signature_names_its_algorithm_in_attribute_18_and_implicit_has_none() {
    let signature = Transform::digital_signature(grants::ED25519);
    assert_eq!(
        signature.id,
        GroupControllerAuthenticationId::DIGITAL_SIGNATURE.0
    );
    assert_eq!(TransformAttributeType::SIGNATURE_ALGORITHM_IDENTIFIER.0, 18);
    assert_eq!(signature.signature_algorithm(), Some(grants::ED25519));
    assert_eq!(signature.attributes.len(), 1);
    assert!(Transform::implicit_authentication().attributes.is_empty());
    let without = setup(|grant| {
        let gcauth = rekey(grant).transforms.last_mut();
        gcauth.expect("GCAUTH").attributes.clear();
    });
    assert_eq!(without, "no signature algorithm");
}

#[test]
fn a_group_whose_rekeys_are_not_signed_is_not_joined() {
    let implicit = setup(|grant| {
        let transforms = &mut rekey(grant).transforms;
        transforms.pop();
        transforms.push(Transform::implicit_authentication());
    });
    assert_eq!(implicit, "rekeys are not signed");
}

#[test]
fn signed_rekeys_need_an_auth_key_at_registration() {
    assert_eq!(setup(|grant| grant.keys.auth_key = None), "no AUTH_KEY");
}

#[test]
fn a_rekey_sa_has_one_key_wrap_algorithm_and_it_is_the_one_of_the_ike_sa() {
    const OTHER: &str = "the Rekey SA's key wrap algorithm is not KW_5649_256";
    let none = broken_rule(|grant| {
        rekey(grant)
            .transforms
            .retain(|transform| transform.transform_type != TransformType::KEY_WRAP);
    });
    assert_eq!(none, OTHER);
    let two = broken_rule(|grant| {
        let second = Transform::key_wrap(KeyWrapId(1));
        rekey(grant).transforms.push(second);
    });
    assert_eq!(two, TWICE);
    // KW_5649_128, KW_5649_192 and KW_ARX.
    for id in [1, 2, 4] {
        let other = broken_rule(move |grant| {
            let transforms = &mut rekey(grant).transforms;
            transforms[1] = Transform::key_wrap(KeyWrapId(id));
        });
        assert_eq!(other, OTHER);
    }
}

#[test]
fn beside_an_aead_cipher_integrity_is_left_out_or_none() {
    let none = || Transform::integrity(IntegrityId(0));
    let real = || Transform::integrity(IntegrityId(12));
    assert!(is_taken(move |grant| {
        rekey(grant).transforms.push(none());
        data(grant).transforms.push(none());
    }));
    let in_rekey_sa = broken_rule(move |grant| rekey(grant).transforms.push(real()));
    let in_data_sa = broken_rule(move |grant| data(grant).transforms.push(real()));
    assert_eq!((in_rekey_sa, in_data_sa), (FOREIGN, FOREIGN));
}

#[test]
fn a_data_sa_says_what_its_sequence_numbers_are() {
    let without = broken_rule(|grant| {
        data(grant)
            .transforms
            .retain(|transform| transform.transform_type != TransformType::SEQUENCE_NUMBERS);
    });
    assert_eq!(without, "a data SA's sequence numbers are not supported");
}

#[test]
fn a_second_rekey_sa_policy_is_refused() {
    let (_, event) = outcome(|grant| {
        let second = grants::rekey_policy(RekeySpi([9; 16]), Some(grants::ED25519));
        grant.gsa.policies.push(SaPolicy::Rekey(second));
    });
    assert!(
        matches!(
            &event,
            Event::Failed(InitiatorError::Malformed(ParseError::Duplicate {
                field: "GIKE_UPDATE policy",
                ..
            }))
        ),
        "{event:?}"
    );
}

#[test]
fn ah_is_taken_neither_beside_esp_nor_alone() {
    let beside = broken_rule(|grant| {
        let mut ah = data(grant).clone();
        (ah.protocol, ah.spi) = (ProtocolId::AH, Spi(0xc0ff_ee09));
        grant.gsa.policies.push(SaPolicy::Data(ah));
    });
    let alone = broken_rule(|grant| data(grant).protocol = ProtocolId::AH);
    assert_eq!(
        (beside, alone),
        ("a data SA is not ESP", "a data SA is not ESP")
    );
}
