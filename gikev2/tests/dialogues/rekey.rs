//! GSA_REKEY from the key server's builder to a member's receiver, and everything in between that must not work.

use std::time::{Duration, Instant};

use gikev2::crypto::digest::sha256;
use gikev2::crypto::signature::Signer;
use gikev2::rekey::RekeyError;
use gikev2::rekey::acknowledgement;
use gikev2::rekey::receiver::{Received, Receiver};
use gikev2::rekey::sender::KeyUpdate;
use gikev2::wire::{GroupSecurityAssociation, SaPolicy, Spi};

use crate::support::grants::{self, counting};
use crate::support::group::{
    WHOLE, accepted, build, ed25519_private_key, member, new_data_sa, rekey_sa_keys, worked_example,
};
use crate::support::pki::{Kind, private_key};

/// The GSA_REKEY datagram of the reference's worked example, made by other software.
const REFERENCE: &str = "52454b455953413152454b45595341322e202908000000050000013133000115\
    0000000500000000c1fec27a2d8b5122a2fdf8e604ec625a07b8e7a3ce0fdf48\
    5cbf70b08af2558867a609ae7a9e64afdba5e57c07e8cf47ca69127ec6aed46e\
    0b361a8a319cfaa1eeb949ba7bc52dcd90e08a8cf4acfa9f9dd0ddfc2ad1b662\
    0e6cb031371a767b8d336fc347f37545f169019c016f7034f489f8a8d8106b23\
    f7d2577a20475901f11ea5eb291ea52a7406b75e980f627d3f8197ccb052c4b3\
    1c7516f7078299127749583f32a29490a4745e3292ef8370f1ad882614ef42ac\
    1ca98c14306c9d67366073308e67e67b1f2ed14398fb3e7069bba7afac242a8f\
    977df4cb36df5cb879b4ee10f9b764f3a976949bc32a864472f2b28e9825fa4e\
    09fcc87748079bb0c385e7c7cbcc80299a";

fn reference() -> Vec<u8> {
    hex::decode(REFERENCE.replace(' ', "")).expect("hex")
}

fn refused(receiver: &mut Receiver, now: Instant, datagram: &[u8]) -> RekeyError {
    match receiver.handle(now, datagram) {
        Err(error) => error,
        Ok(other) => panic!("{other:?}"),
    }
}

#[test]
fn the_sender_builds_the_reference_datagram() {
    assert_eq!(
        hex::encode(sha256(&[&reference()])),
        "1cdd0e9c91ff2a169dd3e55e4e234e46adc95b85e83ff196fb15057f888b2097"
    );
    assert_eq!(
        worked_example(5, &ed25519_private_key(), WHOLE),
        vec![reference()]
    );
}

#[test]
fn the_receiver_accepts_the_reference_datagram() {
    let (pair, mut receiver) = member(&ed25519_private_key(), 5);
    assert!(receiver.owns(&reference()));
    let message = accepted(&mut receiver, pair.now, &[reference()]);
    assert_eq!((message.spi, message.message_id), (grants::REKEY_SPI, 5));
    assert_eq!(message.data.len(), 1);
    assert_eq!(message.data[0].0, Spi(0xc0ff_ee02));
    assert!(message.data[0].1 == counting(0xc0, 36));
    assert_eq!(message.deletes.data, [grants::DATA_SPI]);
    assert!(!message.deletes.all_data && !message.deletes.excluded);
    let group_wide = message
        .gsa
        .as_ref()
        .and_then(|gsa| gsa.group_wide.as_ref())
        .expect("GW policy");
    assert_eq!(
        (
            group_wide.activation_delay_seconds,
            group_wide.deactivation_delay_seconds
        ),
        (Some(10), Some(20))
    );
}

#[test]
fn rekeys_signed_with_rsa_pss_and_ed25519_are_accepted() {
    for signer in [private_key(Kind::RsaPss), private_key(Kind::Ed25519)] {
        let (pair, mut receiver) = member(&signer, 0);
        accepted(&mut receiver, pair.now, &worked_example(0, &signer, WHOLE));
        accepted(&mut receiver, pair.now, &worked_example(1, &signer, WHOLE));
        // Gaps are normal: a message was lost.
        accepted(&mut receiver, pair.now, &worked_example(9, &signer, WHOLE));
    }
}

#[test]
fn after_its_lifetime_a_rekey_sa_takes_nothing_and_is_forgotten() {
    let signer = ed25519_private_key();
    let (pair, mut receiver) = member(&signer, 5);
    let end = receiver.expires().expect("a lifetime");
    assert_eq!(end, pair.now + Duration::from_secs(86_400));
    let error = refused(&mut receiver, end, &reference());
    assert_eq!(error, RekeyError::UnknownSpi { announced: false });
    assert_eq!(receiver.poll_timeout().map(|(due, _)| due), Some(end));
    receiver.handle_timeout(end);
    assert!(!receiver.owns(&reference()));
    assert_eq!((receiver.expires(), receiver.current()), (None, None));
}

#[test]
fn old_and_repeated_message_ids_are_refused() {
    let signer = ed25519_private_key();
    let (pair, mut receiver) = member(&signer, 5);
    let early = worked_example(4, &signer, WHOLE);
    assert_eq!(
        refused(&mut receiver, pair.now, &early[0]),
        RekeyError::Replayed {
            message_id: 4,
            expected: 5
        }
    );
    let first = worked_example(7, &signer, WHOLE);
    accepted(&mut receiver, pair.now, &first);
    accepted(&mut receiver, pair.now, &worked_example(8, &signer, WHOLE));
    assert_eq!(
        refused(&mut receiver, pair.now, &first[0]),
        RekeyError::Replayed {
            message_id: 7,
            expected: 9
        }
    );
}

#[test]
fn an_exact_copy_of_the_last_message_is_acknowledged_again_and_nothing_else() {
    let signer = ed25519_private_key();
    let (pair, mut receiver) = member(&signer, 5);
    let first = accepted(&mut receiver, pair.now, &[reference()]);
    let acknowledgement = first
        .acknowledgement
        .clone()
        .expect("the key server wants it");
    match receiver.handle(pair.now + Duration::from_secs(1), &reference()) {
        Ok(Received::Duplicate {
            acknowledgement: Some(again),
        }) => assert_eq!(again, acknowledgement),
        other => panic!("{other:?}"),
    }
    // At once again: recognised, but not answered, so that nobody can use us as an amplifier.
    match receiver.handle(pair.now + Duration::from_secs(1), &reference()) {
        Ok(Received::Duplicate {
            acknowledgement: None,
        }) => {}
        other => panic!("{other:?}"),
    }
    // The same Message ID with other content is a replay, not a copy.
    let gsa = new_data_sa(Spi(0xc0ff_ee09));
    let key = counting(1, 36);
    let keys = KeyUpdate {
        data: vec![(Spi(0xc0ff_ee09), &key)],
        ..KeyUpdate::default()
    };
    let other = build(5, Some(&gsa), keys, &[], &signer);
    assert!(matches!(
        refused(&mut receiver, pair.now, &other),
        RekeyError::Replayed { .. }
    ));
}

#[test]
fn the_acknowledgement_proves_which_member_got_which_message() {
    let (pair, mut receiver) = member(&ed25519_private_key(), 5);
    let message = accepted(&mut receiver, pair.now, &[reference()]);
    let octets = message
        .acknowledgement
        .as_ref()
        .expect("an acknowledgement");
    assert_eq!(octets.len(), acknowledgement::ACKNOWLEDGEMENT_LENGTH);
    assert_eq!((octets[18], octets[19]), (240, 0x20));
    let read = acknowledgement::parse(octets).expect("an acknowledgement");
    assert_eq!((read.spi, read.message_id), (grants::REKEY_SPI, 5));
    assert_eq!(read.registration_id, grants::REGISTRATION_ID);
    let key = &pair.open_registrations[0].1.acknowledgement_key;
    assert!(read.verify(key), "the key server derived the same key");
    assert!(!read.verify(&counting(0, 32)));
}

#[test]
fn forged_acknowledgements_are_refused() {
    let key = counting(9, 32);
    let genuine = acknowledgement::build(grants::REKEY_SPI, 5, 77, &key).expect("a message");
    for octet in 0..genuine.len() {
        for bit in 0..8 {
            let mut forged = genuine.clone();
            forged[octet] ^= 1 << bit;
            let believed = acknowledgement::parse(&forged).is_ok_and(|read| read.verify(&key));
            // Reserved bits of the payload header are the only octets nobody looks at.
            assert!(!believed || octet == 29, "bit {bit} of octet {octet}");
        }
    }
    for length in 0..genuine.len() {
        assert!(acknowledgement::parse(&genuine[..length]).is_err());
    }
    // A member cannot acknowledge for another, nor another message with an old acknowledgement.
    let other =
        acknowledgement::build(grants::REKEY_SPI, 5, 77, &counting(10, 32)).expect("a message");
    assert!(!acknowledgement::parse(&other).expect("parses").verify(&key));
}

#[test]
fn no_single_flipped_bit_is_accepted_and_the_old_keys_stay() {
    let (pair, mut receiver) = member(&ed25519_private_key(), 5);
    let genuine = reference();
    for octet in 0..genuine.len() {
        let mut forged = genuine.clone();
        forged[octet] ^= 1 << (octet % 8);
        assert!(receiver.handle(pair.now, &forged).is_err(), "octet {octet}");
    }
    accepted(&mut receiver, pair.now, &[genuine]);
}

#[test]
fn a_member_with_the_kek_cannot_play_the_key_server() {
    let (pair, mut receiver) = member(&ed25519_private_key(), 5);
    // Right keys, wrong signature: another Ed25519 key, and another algorithm.
    let forged = worked_example(5, &private_key(Kind::Ed25519), WHOLE);
    assert!(matches!(
        refused(&mut receiver, pair.now, &forged[0]),
        RekeyError::Signature(_)
    ));
    let forged = worked_example(0xffff_fff0, &private_key(Kind::RsaPss), WHOLE);
    assert!(matches!(
        refused(&mut receiver, pair.now, &forged[0]),
        RekeyError::Signature(_)
    ));
    // A forged message with a huge number does not lock the member out.
    accepted(&mut receiver, pair.now, &[reference()]);
}

/// A signer that claims an algorithm and returns what it likes.
struct Liar(Vec<u8>);

impl Signer for Liar {
    fn algorithm(&self) -> gikev2::crypto::signature::SignatureAlgorithm {
        gikev2::crypto::signature::SignatureAlgorithm::Ed25519
    }
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, gikev2::crypto::signature::SignatureError> {
        Ok(self.0.clone())
    }
    fn signature_length(&self) -> usize {
        self.0.len()
    }
    fn public_key_spki(&self) -> &[u8] {
        &[]
    }
}

#[test]
fn empty_zero_and_oversized_signatures_are_refused() {
    let (pair, mut receiver) = member(&ed25519_private_key(), 5);
    for length in [0, 1, 63, 64, 65, 4096] {
        let forged = worked_example(5, &Liar(vec![0; length]), WHOLE);
        let error = refused(&mut receiver, pair.now, &forged[0]);
        assert!(
            matches!(error, RekeyError::Signature(_)),
            "{length}: {error:?}"
        );
    }
}

#[test]
fn fragments_make_the_same_message_in_any_order() {
    let signer = ed25519_private_key();
    let (pair, mut receiver) = member(&signer, 5);
    // Enough new SAs that the message does not fit one packet.
    let spis: Vec<Spi> = (0..12).map(|index| Spi(0xc0ff_0000 + index)).collect();
    let gsa = GroupSecurityAssociation {
        policies: spis
            .iter()
            .map(|spi| SaPolicy::Data(grants::data_policy(*spi)))
            .collect(),
        group_wide: Some(grants::group_wide(false)),
    };
    let key = counting(3, 36);
    let message = |message_id| gikev2::rekey::sender::RekeyMessage {
        spi: grants::REKEY_SPI,
        message_id,
        gsa: Some(&gsa),
        keys: KeyUpdate {
            data: spis.iter().map(|spi| (*spi, &key)).collect(),
            ..KeyUpdate::default()
        },
        deletes: &[],
        notifies: &[],
    };
    let keys = rekey_sa_keys(&grants::rekey_material());
    let cut = |message_id| {
        gikev2::rekey::sender::build(&message(message_id), &keys, &signer, Some(600))
            .expect("fragments")
    };
    let mut datagrams = cut(5);
    assert!(datagrams.len() > 2);
    assert!(
        datagrams
            .iter()
            .all(|datagram| datagram.len() <= 600 && datagram[16] == 53)
    );
    let ivs: std::collections::BTreeSet<_> = datagrams
        .iter()
        .map(|datagram| datagram[36..44].to_vec())
        .collect();
    assert_eq!(ivs.len(), datagrams.len(), "every fragment has its own IV");
    datagrams.reverse();
    let fragments = datagrams.clone();
    let message = accepted(&mut receiver, pair.now, &datagrams);
    assert_eq!(message.data.len(), spis.len());
    // Copies: only the first fragment asks for the acknowledgement.
    let later = pair.now + Duration::from_secs(1);
    for fragment in &fragments {
        let first = fragment[32..34] == [0, 1];
        match receiver.handle(later, fragment) {
            Ok(Received::Duplicate { acknowledgement }) => {
                assert_eq!(acknowledgement.is_some(), first)
            }
            other => panic!("{other:?}"),
        }
    }
    // A flipped bit in one fragment is dropped at once and does not spoil the set.
    let datagrams = cut(6);
    let mut broken = datagrams[1].clone();
    broken[60] ^= 1;
    assert!(matches!(
        receiver.handle(pair.now, &datagrams[0]),
        Ok(Received::Incomplete)
    ));
    assert_eq!(
        refused(&mut receiver, pair.now, &broken),
        RekeyError::Integrity
    );
    assert_eq!(
        refused(&mut receiver, pair.now, &datagrams[0]),
        RekeyError::Fragment
    );
    accepted(&mut receiver, pair.now, &datagrams[1..]);
}

#[test]
fn other_exchanges_responses_and_unknown_rekey_sas_are_told_apart() {
    let (pair, mut receiver) = member(&ed25519_private_key(), 5);
    for (octet, value) in [(18, 42), (18, 37), (19, 0x28), (17, 0x30), (27, 0x30)] {
        let mut altered = reference();
        altered[octet] = value;
        assert_eq!(
            refused(&mut receiver, pair.now, &altered),
            RekeyError::Header,
            "octet {octet}"
        );
    }
    let mut foreign = reference();
    foreign[0] ^= 1;
    assert_eq!(
        refused(&mut receiver, pair.now, &foreign),
        RekeyError::UnknownSpi { announced: false }
    );
}
