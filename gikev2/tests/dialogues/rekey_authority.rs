//! GSA_REKEY messages made by hand: with everything right but one payload; and what a member answers.

use gikev2::crypto::signature::Signer;
use gikev2::keys::wrap;
use gikev2::rekey::RekeyError;
use gikev2::rekey::receiver::{Received, Receiver};
use gikev2::wire::encrypted::{authenticated_octets, seal};
use gikev2::wire::{
    Authentication, Chain, DataKeyBag, ExchangeType, Flags, Header, KeyBag, KeyDownload,
    MemberKeyBag, Payload, PayloadType, ProtocolId, Spi, WrappedKey,
};

use crate::support::group::{
    WHOLE, accepted, ed25519_private_key, member, new_data_sa, rekey_sa_keys, worked_example,
};
use crate::support::{Decision, Pair, grants, member_config, server_config};

const SPI: Spi = Spi(0xc0ff_ee02);

/// Policy and key of one new data SA, and these Sender-IDs.
fn policy_and_keys(sender_ids: &[u32]) -> Vec<Payload> {
    let keys = rekey_sa_keys(&grants::rekey_material());
    let key = grants::counting(7, 36);
    let encrypted = wrap::wrap(keys.key_wrap(), key.as_bytes()).expect("a wrapped key");
    let mut bags = vec![KeyBag::Data(DataKeyBag {
        protocol: ProtocolId::ESP,
        spi: SPI,
        sa_key: WrappedKey {
            key_id: 0,
            kwk_id: 0,
            encrypted,
        },
        unknown: Vec::new(),
    })];
    if !sender_ids.is_empty() {
        bags.push(KeyBag::Member(MemberKeyBag {
            sender_ids: sender_ids.to_vec(),
            ..MemberKeyBag::default()
        }));
    }
    vec![
        Payload::GroupSecurityAssociation(new_data_sa(SPI)),
        Payload::KeyDownload(KeyDownload { bags }),
    ]
}

/// A message that decrypts, with these payloads and, from `signer`, an AUTH payload that verifies.
fn sealed(message_id: u32, mut payloads: Vec<Payload>, signer: Option<&dyn Signer>) -> Vec<u8> {
    let header = Header {
        initiator_spi: grants::REKEY_SPI.initiator_half(),
        responder_spi: grants::REKEY_SPI.responder_half(),
        next_payload: PayloadType::ENCRYPTED,
        exchange: ExchangeType::GSA_REKEY,
        flags: Flags::INITIATOR,
        message_id,
    };
    payloads.extend(signer.map(|signer| {
        Payload::Authentication(Authentication::Signature {
            algorithm_identifier: signer.algorithm().algorithm_identifier().to_vec(),
            signature: vec![0; signer.signature_length()],
        })
    }));
    let mut chain = Chain::write(&payloads).expect("a chain");
    if let Some(signer) = signer {
        let octets = authenticated_octets(&header, 0, &chain).expect("short");
        let signature = signer.sign(&octets).expect("a signature");
        let place = chain.signature_range().expect("one AUTH").expect("AUTH");
        chain.octets[place].copy_from_slice(&signature);
    }
    let keys = rekey_sa_keys(&grants::rekey_material());
    let iv = (u64::from(message_id) << 32).to_be_bytes();
    seal(&header, keys.encryption(), iv, &chain).expect("a message")
}

#[test]
fn a_message_without_auth_is_dropped_although_it_decrypts() {
    let signer = ed25519_private_key();
    let (pair, mut receiver) = member(&signer, 5);
    let unsigned = sealed(5, policy_and_keys(&[]), None);
    match receiver.handle(pair.now, &unsigned) {
        Err(RekeyError::Signature(cause)) => assert!(cause.starts_with("no AUTH"), "{cause}"),
        other => panic!("{other:?}"),
    }
    // With AUTH the same payloads are taken, and their number was not used up.
    let signed = sealed(5, policy_and_keys(&[]), Some(&signer));
    let message = accepted(&mut receiver, pair.now, &[signed]);
    assert_eq!(message.data[0].0, SPI);
}

#[test]
fn a_rekey_with_a_sender_id_is_refused() {
    let signer = ed25519_private_key();
    let (pair, mut receiver) = member(&signer, 5);
    let with_sender_id = sealed(5, policy_and_keys(&[6]), Some(&signer));
    match receiver.handle(pair.now, &with_sender_id) {
        Err(RekeyError::Content(cause)) => assert!(cause.starts_with("GM_SENDER_ID"), "{cause}"),
        other => panic!("{other:?}"),
    }
    let without = sealed(6, policy_and_keys(&[]), Some(&signer));
    accepted(&mut receiver, pair.now, &[without]);
}

/// Only our own key servers ask for acknowledgements, and those are messages of an exchange of their own.
#[test]
fn a_rekey_gets_no_response() {
    let mut config = member_config();
    if let gikev2::initiator::Purpose::Registration(parameters) = &mut config.purpose {
        parameters.acknowledges = false;
    }
    let signer = ed25519_private_key();
    let auth_key = signer.public_key_spki().to_vec();
    let mut pair = Pair::new(config, server_config());
    pair.decide =
        Box::new(move |_| Decision::accept(grants::signed_by(grants::ED25519, auth_key.clone())));
    let mut registration = pair.registered();
    let mut receiver = Receiver::from_registration(pair.now, &mut registration)
        .expect("usable")
        .expect("a Rekey SA");
    let rekey = worked_example(0, &signer, WHOLE);
    let message = accepted(&mut receiver, pair.now, &rekey);
    assert_eq!(message.acknowledgement, None);
    let later = pair.now + std::time::Duration::from_secs(1);
    assert!(matches!(
        receiver.handle(later, &rekey[0]),
        Ok(Received::Duplicate {
            acknowledgement: None
        })
    ));
    pair.collect();
    let before = pair.wire.len();
    pair.inject_to_member(&worked_example(1, &signer, WHOLE)[0]);
    pair.collect();
    assert_eq!(pair.wire.len(), before, "nor does the IKE SA's end answer");
}
