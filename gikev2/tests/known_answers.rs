//! Known answers: messages and keys computed by other software (a Python program on top of an independent
//! cryptographic library, decoded and decrypted by tshark; the parts that plain IKEv2 shares ran against
//! strongSwan). Every octet must come out the same here.

use gikev2::crypto::aead::{AeadAlgorithm, AeadKey};
use gikev2::crypto::digest::{sha1, sha256};
use gikev2::crypto::key_exchange::PendingKeyExchange;
use gikev2::crypto::prf::Prf;
use gikev2::crypto::signature::{PrivateKey, Signer};
use gikev2::keys::group::RekeySaKeys;
use gikev2::keys::ike_sa::{IkeSaKeys, KeySeed};
use gikev2::rekey::sender::{self, KeyUpdate, RekeyMessage};
use gikev2::wire::encrypted;
use gikev2::wire::message::write_clear;
use gikev2::wire::*;
use gikev2::{Entropy, Secret};

/// IKE_SA_INIT request.
const INIT_REQUEST: &str = "\
    010203040506070800000000000000002120220800000000000000b0220000300000002c010100040300000c01000014800e\
    01000300000802000005030000080400001f000000080d00000328000028001f00007b4e909bbe7ffe44c465a220037d608e\
    e35897d31ef972f07f74892cb0f73f1329000024a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbd\
    bebf290000080000402e000000100000402f0002000300040005";
/// IKE_SA_INIT response.
const INIT_RESPONSE: &str = "\
    010203040506070811121314151617182120222000000000000000b0220000300000002c010100040300000c01000014800e\
    01000300000802000005030000080400001f000000080d00000328000028001f00000faa684ed28867b97f4a6a2dee5df8ce\
    974e76b7018e3f22a1c4cf2678570f2029000024c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdd\
    dedf290000080000402e000000100000402f0002000300040005";
/// Inner chain of the GSA_AUTH request.
const AUTH_INNER: &str = "\
    2400001702000000676d312e6578616d706c652e6f7267270000180200000067636b732e6578616d706c652e6f7267320000\
    280200000090e65311827c013735b470aefd63db07b6442968b4d6b1eb3560af03ed15f64d2900000f0b00000067726f7570\
    2d310000000c0000402d00000001";
/// The GSA_AUTH request as it travels.
const AUTH_WIRE: &str = "\
    010203040506070811121314151617182e20270800000001000000ab2300008f00000000000000019249d5974ab1f273abb4\
    70c5c00069f46ae6c8f7411f90fdae2af86211dea5a65cdc444ef334c1a34ed8c2ffb2829f16d25eabdcff2aec8f2358630c\
    a59daeee7ccb861168199606e25b1910655d2cf96f5495e9e5aa58158ac3e01c7dd0f421c72a0a6aefed11d3e07d854af54b\
    4c931964062f0a203dd0c594c01d502a20a112f1e0";
/// GSA and KD of the GSA_AUTH response.
const GSA_AND_KD: &str = "\
    340000c30610006b52454b455953413152454b45595341320711001003500350c000020ac000020a0711001003500350efc0\
    0001efc000010300000c01000014800e0100030000080d000003000000130e00000200120007300506032b65700001000400\
    015180000200040000000503040044c0ffee01070000100000ffff00000000ffffffff070000100000ffffef010203ef0102\
    030300000c01000014800e010000000008050000020001000400000e10000000108001000a800200148003000c000000f406\
    10007052454b455953413152454b45595341320001005800000000000000007cff9ac271813f3f9ee7fcfd8101dfe41275cc\
    b9b626e29ffd3d32b7240fb722af4c76d666228a4e654222f717bbad8ba1e0334aebfa14a47f709ba7f1c5f83bff7293d326\
    4ec123723b691c8219c34103040044c0ffee010001003800000000000000009739c06d3ed51eae71a067570bb051268a4694\
    a0728e0c63ab7225659d2922127cc2b6c1a5d4ed014660d0bb627d81d10000003c0002002c302a300506032b6570032100d7\
    5a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a0003000400000005";
/// Inner chain of the GSA_REKEY, its signature zeroed.
const REKEY_INNER: &str = "\
    3400005403040044c0ffee02070000100000ffff00000000ffffffff070000100000ffffef010203ef0102030300000c0100\
    0014800e010000000008050000020001000400000e100000000c8001000a800200142a00004803040044c0ffee0200010038\
    00000000000000005c4af88fb3f5766203314791584f3cbfc29e4b36d202082e6d64241e6f3ac1f58eb300c2b3d4a8ea2385\
    2fc3b6e056b42700000c03040001c0ffee01000000500e00000007300506032b657000000000000000000000000000000000\
    000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000";
/// The GSA_REKEY as it travels.
const REKEY_WIRE: &str = "\
    52454b455953413152454b45595341322e2029080000000500000131330001150000000500000000c1fec27a2d8b5122a2fd\
    f8e604ec625a07b8e7a3ce0fdf485cbf70b08af2558867a609ae7a9e64afdba5e57c07e8cf47ca69127ec6aed46e0b361a8a\
    319cfaa1eeb949ba7bc52dcd90e08a8cf4acfa9f9dd0ddfc2ad1b6620e6cb031371a767b8d336fc347f37545f169019c016f\
    7034f489f8a8d8106b23f7d2577a20475901f11ea5eb291ea52a7406b75e980f627d3f8197ccb052c4b31c7516f707829912\
    7749583f32a29490a4745e3292ef8370f1ad882614ef42ac1ca98c14306c9d67366073308e67e67b1f2ed14398fb3e7069bb\
    a7afac242a8f977df4cb36df5cb879b4ee10f9b764f3a976949bc32a864472f2b28e9825fa4e09fcc87748079bb0c385e7c7\
    cbcc80299a";

/// Gives the same octet for ever.
struct Constant(u8);

impl Entropy for Constant {
    fn fill(&mut self, out: &mut [u8]) {
        out.fill(self.0);
    }
}

fn octets(text: &str) -> Vec<u8> {
    hex::decode(text).expect("hexadecimal")
}

fn counting(first: u8, length: u8) -> Vec<u8> {
    (first..first + length).collect()
}

fn shared_secret() -> (PendingKeyExchange, PendingKeyExchange, Secret) {
    let method = KeyExchangeMethod::CURVE25519;
    let initiator = PendingKeyExchange::new(method, &mut Constant(0x11)).expect("X25519");
    let responder = PendingKeyExchange::new(method, &mut Constant(0x22)).expect("X25519");
    let shared = initiator
        .finish(responder.public_value())
        .expect("valid value");
    (initiator, responder, shared)
}

fn ike_sa_keys() -> IkeSaKeys {
    let (_, _, shared) = shared_secret();
    let (ni, nr) = (counting(0xa0, 32), counting(0xc0, 32));
    let seed = KeySeed {
        initiator_spi: &octets("0102030405060708"),
        responder_spi: &octets("1112131415161718"),
        initiator_nonce: &ni,
        responder_nonce: &nr,
    };
    IkeSaKeys::initial(Prf::HmacSha256, AeadAlgorithm::AesGcm256, &seed, &shared)
        .expect("derivable")
}

#[test]
fn x25519_gives_the_known_public_values_and_secret() {
    let (initiator, responder, shared) = shared_secret();
    assert_eq!(
        hex::encode(initiator.public_value()),
        "7b4e909bbe7ffe44c465a220037d608ee35897d31ef972f07f74892cb0f73f13"
    );
    assert_eq!(
        hex::encode(responder.public_value()),
        "0faa684ed28867b97f4a6a2dee5df8ce974e76b7018e3f22a1c4cf2678570f20"
    );
    assert!(shared.matches(&octets(
        "9e004098efc091d4ec2663b4e9f5cfd4d7064571690b4bea97ab146ab9f35056"
    )));
}

#[test]
fn the_keys_of_the_ike_sa_are_the_known_ones() {
    let keys = ike_sa_keys();
    let expect = |secret: &Secret, value: &str| assert_eq!(hex::encode(secret.as_bytes()), value);
    expect(
        keys.initiator_encryption.material(),
        "bddc878cd6dd59e24c22756f13dfd54096eb8cd466d2c387918c3b6d802d347bb5563fa2",
    );
    expect(
        keys.responder_encryption.material(),
        "6fe02527d052d7ccf00f9ed4f2caabdc143825444d892cf4c74ea30b6ee485ec945bee5e",
    );
    expect(
        &keys.initiator_proof,
        "511b6d95544c5985350cf353e88ff9d40cfb65b77443cb2a33809f5637c2c5be",
    );
    expect(
        &keys.responder_proof,
        "c36097f298e923932057405d508eee8170afdc57e0861b0ef23dc7a26bfa9d18",
    );
    expect(
        &keys.key_wrap_key().expect("derivable"),
        "e7f24f3d5f40cdf0fd58326e692238dbd2ef94a023dbaa8bed776b0cb7e51fbb",
    );
}

#[test]
fn authentication_with_a_pre_shared_key_is_the_known_one() {
    let keys = ike_sa_keys();
    let prf = Prf::HmacSha256;
    let mac = |name: &str, key: &Secret| {
        prf.compute(key.as_bytes(), &[&Identification::fqdn(name).body()])
    };
    let initiator = mac("gm1.example.org", &keys.initiator_proof);
    let responder = mac("gcks.example.org", &keys.responder_proof);
    assert!(initiator.matches(&octets(
        "170c29d704ae0dce81b6ffce3fd73dcea7b5a2acd29c0b41abd3bef0617cada3"
    )));
    assert!(responder.matches(&octets(
        "f300c44e6cd95c18c86dee4c98985bd18f929c8cae9413b25ab7d255454e4136"
    )));
    let padded = prf.compute(b"correct horse battery staple", &[b"Key Pad for IKEv2"]);
    let proof = prf.compute(
        padded.as_bytes(),
        &[
            &octets(INIT_REQUEST),
            &counting(0xc0, 32),
            initiator.as_bytes(),
        ],
    );
    assert!(proof.matches(&octets(
        "90e65311827c013735b470aefd63db07b6442968b4d6b1eb3560af03ed15f64d"
    )));
}

#[test]
fn nat_detection_hashes_spis_address_and_port() {
    let hash = sha1(&[
        &octets("0102030405060708"),
        &[0; 8],
        &[192, 0, 2, 21],
        &500_u16.to_be_bytes(),
    ]);
    assert_eq!(
        hex::encode(hash),
        "5341d416222960f3d8bc1a5da6589eddd861136f"
    );
}

#[test]
fn ike_sa_init_messages_are_read_and_written_octet_by_octet() {
    for text in [INIT_REQUEST, INIT_RESPONSE] {
        let datagram = octets(text);
        let message = Message::parse(&datagram).expect("well-formed");
        assert!(message.protected.is_none());
        assert_eq!(write_clear(&message.header, &message.clear), Ok(datagram));
    }
}

fn open(datagram: &[u8], key: &AeadKey) -> (Header, Chain) {
    let message = Message::parse(datagram).expect("well-formed");
    let Some(Protected::Whole(payload)) = message.protected else {
        panic!("one SK payload expected")
    };
    (message.header, payload.open(key).expect("authentic"))
}

#[test]
fn gsa_auth_request_opens_to_the_known_chain_and_seals_back() {
    let keys = ike_sa_keys();
    let datagram = octets(AUTH_WIRE);
    let (header, chain) = open(&datagram, &keys.initiator_encryption);
    assert_eq!(hex::encode(&*chain.octets), AUTH_INNER);
    assert_eq!(
        Chain::write(&chain.parse().expect("well-formed")).map(|again| again.octets),
        Ok(chain.octets.clone())
    );
    let iv = 1_u64.to_be_bytes();
    assert_eq!(
        encrypted::seal(&header, &keys.initiator_encryption, iv, &chain),
        Ok(datagram)
    );
}

/// Both policies, all attributes and both bags survive reading and writing, and the whole answer has the known hash.
#[test]
fn gsa_auth_response_is_the_known_one() {
    let policy_and_keys = Chain {
        first: PayloadType::GROUP_SECURITY_ASSOCIATION,
        octets: octets(GSA_AND_KD).into(),
    };
    let mut payloads = vec![
        Payload::IdentificationResponder(Identification::fqdn("gcks.example.org")),
        Payload::Authentication(Authentication::SharedKey(octets(
            "9bacacab974d63e66663ea1d558adcf535fb7ada048ae4dcc28707e9fe7577c2",
        ))),
    ];
    let parsed = policy_and_keys.parse().expect("well-formed");
    assert_eq!(
        Chain::write(&parsed).map(|again| again.octets),
        Ok(policy_and_keys.octets)
    );
    payloads.extend(parsed);
    let header = Header {
        initiator_spi: IkeSpi(octets("0102030405060708").try_into().expect("8 octets")),
        responder_spi: IkeSpi(octets("1112131415161718").try_into().expect("8 octets")),
        next_payload: PayloadType::ENCRYPTED,
        exchange: ExchangeType::GSA_AUTH,
        flags: Flags::new(false, true),
        message_id: 1,
    };
    let chain = Chain::write(&payloads).expect("fits");
    let datagram = encrypted::seal(
        &header,
        &ike_sa_keys().responder_encryption,
        1_u64.to_be_bytes(),
        &chain,
    )
    .expect("fits");
    assert_eq!(datagram.len(), 560);
    assert_eq!(
        hex::encode(sha256(&[&datagram])),
        "abe96d5257e500392d03d1a5959b0b10933578220687333cff432b9a56b94b4a"
    );
}

/// PKCS#8 of the secret key of RFC 8032 test 1.
fn rfc_8032_key() -> PrivateKey {
    let mut der = octets("302e020100300506032b657004220420");
    der.extend(octets(
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    ));
    PrivateKey::from_pkcs8(&der).expect("Ed25519")
}

#[test]
fn gsa_rekey_is_built_octet_by_octet() {
    let chain = Chain {
        first: PayloadType::GROUP_SECURITY_ASSOCIATION,
        octets: octets(REKEY_INNER).into(),
    };
    let payloads = chain.parse().expect("well-formed");
    let mut gsa = None;
    let mut deletes = Vec::new();
    for payload in payloads {
        match payload {
            Payload::GroupSecurityAssociation(found) => gsa = Some(found),
            Payload::Delete(delete) => deletes.push(delete),
            _ => {}
        }
    }
    let keys = RekeySaKeys::new(AeadAlgorithm::AesGcm256, &Secret::new(counting(0, 68)))
        .expect("68 octets");
    let data_key = Secret::new(counting(0xc0, 36));
    let message = RekeyMessage {
        spi: RekeySpi(*b"REKEYSA1REKEYSA2"),
        message_id: 5,
        gsa: gsa.as_ref(),
        keys: KeyUpdate {
            data: vec![(Spi(0xc0ff_ee02), &data_key)],
            ..KeyUpdate::default()
        },
        deletes: &deletes,
        notifies: &[],
    };
    let signer = rfc_8032_key();
    assert_eq!(signer.signature_length(), 64);
    let datagrams = sender::build(&message, &keys, &signer, Some(1280)).expect("buildable");
    assert_eq!(
        datagrams.iter().map(hex::encode).collect::<Vec<_>>(),
        [REKEY_WIRE]
    );
}

#[test]
fn every_truncation_of_a_known_message_is_an_error() {
    for text in [INIT_REQUEST, AUTH_WIRE, REKEY_WIRE] {
        let datagram = octets(text);
        for length in 0..datagram.len() {
            assert!(
                Message::parse(&datagram[..length]).is_err(),
                "{length} octets"
            );
        }
    }
    for text in [AUTH_INNER, GSA_AND_KD, REKEY_INNER] {
        let chain = octets(text);
        for length in 1..chain.len() {
            let first = if text == AUTH_INNER {
                PayloadType::IDENTIFICATION_INITIATOR
            } else {
                PayloadType::GROUP_SECURITY_ASSOCIATION
            };
            let cut = Chain {
                first,
                octets: chain[..length].to_vec().into(),
            };
            assert!(cut.parse().is_err(), "{length} octets");
        }
    }
}
