//! The exchange half of the reference's known answers: AUTH with a pre-shared key and a whole protected message,
//! computed by other software from fixed inputs.

use crate::Entropy;
use crate::Secret;
use crate::crypto::key_exchange;
use crate::wire::payload::Chain;
use crate::wire::{
    Authentication, EncryptionId, ExchangeType, Flags, Header, Identification, IkeSpi, KeyExchange,
    KeyExchangeMethod, Notify, Payload, PayloadType, PrfId,
};

use super::authentication::{AuthenticationError, Proofs, Transcript};
use super::key_schedule::{KeySchedule, Opening, Role};
use super::proposal::Suite;

const REQUEST: &str = "010203040506070800000000000000002120220800000000000000b022000030\
    0000002c010100040300000c01000014800e0100030000080200000503000008\
    0400001f000000080d00000328000028001f00007b4e909bbe7ffe44c465a220\
    037d608ee35897d31ef972f07f74892cb0f73f1329000024a0a1a2a3a4a5a6a7\
    a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf290000080000402e\
    000000100000402f0002000300040005";
const RESPONSE: &str = "010203040506070811121314151617182120222000000000000000b022000030\
    0000002c010100040300000c01000014800e0100030000080200000503000008\
    0400001f000000080d00000328000028001f00000faa684ed28867b97f4a6a2d\
    ee5df8ce974e76b7018e3f22a1c4cf2678570f2029000024c0c1c2c3c4c5c6c7\
    c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf290000080000402e\
    000000100000402f0002000300040005";
const AUTH_INITIATOR: &str = "90e65311827c013735b470aefd63db07b6442968b4d6b1eb3560af03ed15f64d";
const AUTH_RESPONDER: &str = "9bacacab974d63e66663ea1d558adcf535fb7ada048ae4dcc28707e9fe7577c2";
const GSA_AUTH_REQUEST: &str = "010203040506070811121314151617182e20270800000001000000ab2300008f\
    00000000000000019249d5974ab1f273abb470c5c00069f46ae6c8f7411f90fd\
    ae2af86211dea5a65cdc444ef334c1a34ed8c2ffb2829f16d25eabdcff2aec8f\
    2358630ca59daeee7ccb861168199606e25b1910655d2cf96f5495e9e5aa5815\
    8ac3e01c7dd0f421c72a0a6aefed11d3e07d854af54b4c931964062f0a203dd0\
    c594c01d502a20a112f1e0";

/// The responder's private X25519 value of the reference.
struct Twos;

impl Entropy for Twos {
    fn fill(&mut self, out: &mut [u8]) {
        out.fill(0x22);
    }
}

fn octets(text: &str) -> Vec<u8> {
    hex::decode(text).expect("hex")
}

fn schedule(role: Role) -> KeySchedule {
    let initiator_public =
        octets("7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13");
    let (_, shared) =
        key_exchange::respond(KeyExchangeMethod::CURVE25519, &initiator_public, &mut Twos)
            .expect("a valid public value");
    let suite = Suite {
        encryption: EncryptionId::AES_GCM_16,
        key_bits: Some(256),
        prf: PrfId::HMAC_SHA2_256,
        method: KeyExchangeMethod::CURVE25519,
        additional: None,
        key_wrap: true,
    };
    let opening = Opening {
        initiator_spi: IkeSpi([1, 2, 3, 4, 5, 6, 7, 8]),
        responder_spi: IkeSpi([0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]),
        initiator_nonce: (0xa0..=0xbf).collect(),
        responder_nonce: (0xc0..=0xdf).collect(),
    };
    KeySchedule::new(role, suite, opening, &shared).expect("supported algorithms")
}

fn pre_shared_key() -> Secret {
    Secret::from_slice(b"correct horse battery staple")
}

#[test]
fn proofs_with_a_pre_shared_key_are_the_reference_values() {
    let schedule = schedule(Role::Responder);
    let transcript = Transcript {
        request: octets(REQUEST),
        response: octets(RESPONSE),
    };
    let proofs = Proofs {
        schedule: &schedule,
        transcript: &transcript,
        message_id: 1,
    };
    let (member, server) = (
        Identification::fqdn("gm1.example.org"),
        Identification::fqdn("gcks.example.org"),
    );
    let key = pre_shared_key();
    let proof = proofs.prove_shared_key(Role::Initiator, &member, &key);
    assert_eq!(proof, Authentication::SharedKey(octets(AUTH_INITIATOR)));
    let proof = proofs.prove_shared_key(Role::Responder, &server, &key);
    assert_eq!(proof, Authentication::SharedKey(octets(AUTH_RESPONDER)));

    let verify = |prover, identity, mic: &str| {
        proofs.verify_shared_key(prover, identity, &key, &octets(mic))
    };
    assert_eq!(verify(Role::Initiator, &member, AUTH_INITIATOR), Ok(()));
    assert_eq!(verify(Role::Responder, &server, AUTH_RESPONDER), Ok(()));
    let wrong = Err(AuthenticationError::SharedKey);
    assert_eq!(verify(Role::Responder, &server, AUTH_INITIATOR), wrong);
    assert_eq!(verify(Role::Initiator, &server, AUTH_INITIATOR), wrong);
    assert_eq!(verify(Role::Initiator, &member, ""), wrong);
}

#[test]
fn a_sealed_request_is_the_reference_datagram() {
    let mut schedule = schedule(Role::Initiator);
    let chain = Chain::write(&[
        Payload::IdentificationInitiator(Identification::fqdn("gm1.example.org")),
        Payload::IdentificationResponder(Identification::fqdn("gcks.example.org")),
        Payload::Authentication(Authentication::SharedKey(octets(AUTH_INITIATOR))),
        Payload::GroupIdentification(Identification::key_id(b"group-1")),
        Payload::Notify(Notify::group_sender(1)),
    ])
    .expect("a chain");
    let header = Header {
        initiator_spi: schedule.opening().initiator_spi,
        responder_spi: schedule.opening().responder_spi,
        next_payload: PayloadType::NONE,
        exchange: ExchangeType::GSA_AUTH,
        flags: Flags::new(true, false),
        message_id: 1,
    };
    let datagrams = schedule.seal(&header, &chain, None).expect("a message");
    assert_eq!(datagrams, vec![octets(GSA_AUTH_REQUEST)]);
    let again = schedule.seal(&header, &chain, None).expect("a message");
    assert_ne!(again, datagrams, "no IV is used twice");
}

#[test]
fn the_default_key_wrap_key_is_the_reference_value() {
    let key = schedule(Role::Responder).key_wrap_key().expect("derivable");
    assert!(key.matches(&octets(
        "e7f24f3d5f40cdf0fd58326e692238dbd2ef94a023dbaa8bed776b0cb7e51fbb"
    )));
}

/// IntAuth over two exchanges, computed with Python's hmac module from the header octets and the reference's SK_pi
/// and SK_pr.
#[test]
fn intermediate_exchanges_are_folded_as_in_the_independent_computation() {
    const FIRST: &str = "39cee7dcf3de45314c790b142f03f873425e3f4b5de32c74678eb2a02fcd2666\
        71c24f108a931ecaf71fc0c050a10f1d5f6420858232b17058367b38135dd9b100000002";
    const SECOND: &str = "6d309638ae52b093b6309e4c5a412eb3ae79352207d2dbe6c24ee8f5234952dc\
        aa3a94567f8d49a91706ee26ff6c166c9cfbf765527aa5c6f8265100fd0d987400000003";
    let mut schedule = schedule(Role::Responder);
    assert!(schedule.intermediate_authentication(1).is_empty());
    let mut fold = |sender: Role, message_id: u32, payloads: &[Payload]| {
        let header = Header {
            initiator_spi: IkeSpi([1, 2, 3, 4, 5, 6, 7, 8]),
            responder_spi: IkeSpi([0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]),
            next_payload: PayloadType::NONE,
            exchange: ExchangeType::IKE_INTERMEDIATE,
            flags: Flags::new(sender == Role::Initiator, sender == Role::Responder),
            message_id,
        };
        let chain = Chain::write(payloads).expect("a chain");
        schedule.fold(sender, &header, 0, &chain).expect("short");
        schedule.intermediate_authentication(message_id + 1)
    };
    let ke = |data: &[u8]| {
        [Payload::KeyExchange(KeyExchange {
            method: KeyExchangeMethod::ML_KEM_768,
            data: data.to_vec(),
        })]
    };
    fold(Role::Initiator, 1, &ke(&[0xde, 0xad, 0xbe, 0xef]));
    assert_eq!(
        fold(Role::Responder, 1, &ke(&[0xca, 0xfe, 0xba, 0xbe])),
        octets(FIRST)
    );
    fold(Role::Initiator, 2, &[]);
    assert_eq!(fold(Role::Responder, 2, &[]), octets(SECOND));
}
