//! Registration with a pre-shared key, over every key exchange.

use crate::support::{Pair, grants, member_config, server_config};
use gikev2::exchange::proposal::KeyExchangeChoice;
use gikev2::initiator;

fn register_with(choice: KeyExchangeChoice) -> Pair {
    let mut member = member_config();
    member.key_exchanges = vec![choice];
    let mut pair = Pair::new(member, server_config());
    let registration = pair.registered();
    assert_eq!(registration.peer, crate::support::server_identity());
    assert_eq!(registration.sender_ids, vec![grants::SENDER_ID]);
    assert_eq!(registration.registration_id, Some(grants::REGISTRATION_ID));
    assert_eq!(registration.gsa, grants::plain().gsa);
    let (spi, material) = registration.rekey.as_ref().expect("a Rekey SA");
    assert_eq!(*spi, grants::REKEY_SPI);
    assert!(material == &grants::rekey_material());
    assert_eq!(registration.data.len(), 1);
    assert!(registration.data[0].1 == grants::data_material());
    let request = &pair.open_registrations[0].1;
    assert_eq!(request.identity, crate::support::member_identity());
    assert!(
        request.initial && request.acknowledges && request.fragmentation && !request.behind_nat
    );
    assert_eq!(request.sender_ids, Some(1));
    assert!(
        request.acknowledgement_key == registration.acknowledgement_key,
        "both ends derive the same key"
    );
    pair
}

#[test]
fn a_member_registers_over_the_hybrid_key_exchange() {
    let pair = register_with(KeyExchangeChoice::X25519MlKem768);

    assert!(
        pair.wire.iter().any(|sighting| sighting.payload[18] == 43),
        "IKE_INTERMEDIATE was used"
    );
}

#[test]
fn a_member_registers_over_x25519() {
    register_with(KeyExchangeChoice::X25519);
}

#[test]
fn a_member_registers_over_p256() {
    register_with(KeyExchangeChoice::P256);
}

#[test]
fn a_member_registers_over_p384() {
    register_with(KeyExchangeChoice::P384);
}

#[test]
fn the_hybrid_key_exchange_is_preferred_by_default() {
    let mut pair = Pair::new(member_config(), server_config());
    pair.registered();
    assert!(pair.wire.iter().any(|sighting| sighting.payload[18] == 43));
}

#[test]
fn a_wrong_pre_shared_key_is_refused_with_the_same_answer_as_an_unknown_member() {
    let mut lengths = Vec::new();
    for (key, identity) in [
        ("some other key of enough length..", "m-1.member.getvpn"),
        ("x", "m-9.member.getvpn"),
    ] {
        let mut member = member_config();
        member.identity = gikev2::wire::Identification::fqdn(identity);
        member.credentials = gikev2::exchange::authentication::Credentials::PreSharedKey(
            gikev2::Secret::from_slice(key.as_bytes()),
        );
        let mut pair = Pair::new(member, server_config());
        match pair.outcome() {
            initiator::Event::Failed(initiator::InitiatorError::RefusedByPeer) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(pair.rejections().len(), 1);
        assert!(
            pair.open_registrations.is_empty(),
            "the owner never hears of it"
        );
        let answer = pair
            .wire
            .iter()
            .rfind(|sighting| !sighting.to_server)
            .expect("an answer");
        lengths.push(answer.payload.len());
    }
    assert_eq!(lengths[0], lengths[1]);
}
