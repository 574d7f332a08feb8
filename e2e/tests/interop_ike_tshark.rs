//! tshark dissects our IKE_SA_INIT and, given the keys, decrypts GSA_AUTH and GSA_REKEY and finds their ICV good.
//!
//! Keys leave the protocol library in debug builds only, so in release builds these tests do not exist.
#![cfg(debug_assertions)]

#[path = "support/filter.rs"]
mod filter;
#[path = "support/group.rs"]
mod group;
#[path = "support/ip.rs"]
mod ip;
#[path = "support/tools.rs"]
mod tools;
#[path = "support/tshark.rs"]
mod tshark;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::Ed25519KeyPair;
use gikev2::crypto::signature::{PrivateKey, Signer};
use gikev2::exchange::authentication::{Credentials, PreSharedKeys};
use gikev2::exchange::identity::IdentityPattern;
use gikev2::exchange::proposal::KeyExchangeChoice;
use gikev2::initiator::{self, DissectorKeys, Initiator, Purpose, RegistrationParameters};
use gikev2::responder::{self, Grant, GrantKeys, RekeyKey, RekeyKeyGrant, Responder};
use gikev2::wire::{
    AddressRange, EncryptionId, GroupSecurityAssociation, GroupWidePolicy, IdType, Identification,
    KeyWrapId, PortRange, RekeySaPolicy, SaPolicy, TrafficSelector, Transform,
};
use gikev2::{Entropy, Secret, Transmit};

const MEMBER: &str = "m-1.member.getvpn";
const SERVER: &str = "ks-0.keyserver.getvpn";
const KEY: &[u8] = b"correct horse battery staple 0001";
const MEMBER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const SERVER_ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 20, 0, 2);

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        aws_lc_rs::rand::fill(out).expect("the system has random octets");
    }
}

struct OneKey(Secret);

impl PreSharedKeys for OneKey {
    fn key(&self, identity: &Identification) -> Option<&Secret> {
        (identity == &Identification::fqdn(MEMBER)).then_some(&self.0)
    }
}

/// What the key server hands out: the group of `support/group.rs`.
fn grant(signer: &dyn Signer) -> Grant {
    let port = |address| TrafficSelector {
        protocol: 17,
        ports: PortRange::single(848),
        addresses: AddressRange::single(IpAddr::V4(address)),
    };
    let rekey = RekeySaPolicy {
        spi: group::REKEY_SPI,
        source: port(SERVER_ADDRESS),
        destination: port(Ipv4Addr::new(239, 192, 0, 1)),
        transforms: vec![
            Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
            Transform::key_wrap(KeyWrapId::KW_5649_256),
            Transform::digital_signature(signer.algorithm().algorithm_identifier()),
        ],
        lifetime_seconds: Some(86_400),
        initial_message_id: Some(group::MESSAGE_ID),
        next_spis: Vec::new(),
        unknown: Vec::new(),
    };
    Grant {
        gsa: GroupSecurityAssociation {
            policies: vec![SaPolicy::Rekey(rekey), group::data_policy(group::OLD)],
            group_wide: Some(GroupWidePolicy {
                sender_id_bits: Some(24),
                ..GroupWidePolicy::default()
            }),
        },
        keys: GrantKeys {
            rekey: Some(RekeyKeyGrant {
                spi: group::REKEY_SPI,
                key: RekeyKey::Plain(Secret::new(group::rekey_material())),
            }),
            data: vec![(group::OLD, Secret::new(group::data_material()))],
            auth_key: Some(signer.public_key_spki().to_vec()),
            sender_ids: vec![5],
            ..GrantKeys::default()
        },
        registration_id: 1,
    }
}

/// A registration from beginning to end.
struct Dialogue {
    keys: DissectorKeys,
    /// As IP packets.
    packets: Vec<Vec<u8>>,
}

fn register(
    key_exchange: KeyExchangeChoice,
    fragment_size: usize,
    signer: &dyn Signer,
) -> Dialogue {
    let now = Instant::now();
    let mut config = initiator::Config::new(
        Identification::fqdn(MEMBER),
        Credentials::PreSharedKey(Secret::from_slice(KEY)),
        vec![IdentityPattern::new(IdType::FQDN, SERVER)],
        Purpose::Registration(RegistrationParameters {
            group: Identification::group(1234),
            capabilities: Vec::new(),
            sender_ids: Some(1),
            acknowledges: true,
        }),
    );
    config.key_exchanges = vec![key_exchange];
    config.fragment_size = fragment_size;
    let [local, remote] =
        [MEMBER_ADDRESS, SERVER_ADDRESS].map(|address| SocketAddr::from((address, 848)));
    let mut member = Initiator::new(config, local, remote, now, &mut SystemEntropy);
    let mut config = responder::Config::new(Identification::fqdn(SERVER));
    config.pre_shared_keys = Some(Box::new(OneKey(Secret::from_slice(KEY))));
    config.fragment_size = fragment_size;
    let mut server = Responder::new(config, now, &mut SystemEntropy);

    let mut packets = Vec::new();
    let mut carry = |Transmit {
                         local,
                         remote,
                         payload,
                     }: &Transmit| {
        packets.push(ip::datagram(
            (local.ip(), local.port()),
            (remote.ip(), remote.port()),
            payload,
        ));
    };
    loop {
        let mut quiet = true;
        while let Some(sent) = member.poll_transmit() {
            quiet = false;
            carry(&sent);
            server.handle_datagram(
                now,
                0,
                sent.remote,
                sent.local,
                &sent.payload,
                &mut SystemEntropy,
            );
        }
        while let Some(event) = server.poll_event() {
            quiet = false;
            match event {
                responder::Event::Registration { handle, .. } => {
                    server
                        .accept(now, handle, grant(signer), &mut SystemEntropy)
                        .expect("an open request");
                }
                other => panic!("{other:?}"),
            }
        }
        while let Some(sent) = server.poll_transmit() {
            quiet = false;
            carry(&sent);
            member.handle_datagram(
                now,
                0,
                sent.remote,
                sent.local,
                &sent.payload,
                &mut SystemEntropy,
            );
        }
        if quiet {
            break;
        }
    }
    let event = member.poll_event();
    assert!(
        matches!(event, Some(initiator::Event::Registered(_))),
        "{event:?}"
    );
    let keys = member.dissector_keys().expect("an IKE SA that is up");
    Dialogue { keys, packets }
}

fn signer() -> PrivateKey {
    let key = Ed25519KeyPair::generate().expect("a key");
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'static> = key.as_der().expect("DER");
    PrivateKey::from_pkcs8(der.as_ref()).expect("a key that signs")
}

/// A line of tshark's table of IKEv2 keys.
fn table_line(spis: [&[u8]; 2], keys: [&[u8]; 2]) -> String {
    let [initiator_spi, responder_spi] = spis.map(hex::encode);
    let [initiator_key, responder_key] = keys.map(hex::encode);
    format!(
        "{initiator_spi},{responder_spi},{initiator_key},{responder_key},\"AES-GCM-256 with 16 octet ICV [RFC5282]\",,,\"NONE [RFC4306]\"\n"
    )
}

fn registration_keys(keys: &DissectorKeys) -> String {
    table_line(
        [&keys.initiator_spi.0, &keys.responder_spi.0],
        [
            keys.initiator_encryption.as_bytes(),
            keys.responder_encryption.as_bytes(),
        ],
    )
}

fn rekey_keys() -> String {
    let material = group::rekey_material();
    table_line(
        [&group::REKEY_SPI.0[..8], &group::REKEY_SPI.0[8..]],
        [&material[..36]; 2],
    )
}

const DECODE: [&str; 2] = ["-d", "udp.port==848,isakmp"];

fn dissect(packets: &[Vec<u8>], table: String, fields: &[&str]) -> Vec<Vec<String>> {
    tshark::dissect(
        packets,
        &[("ikev2_decryption_table", table)],
        &DECODE,
        fields,
    )
}

/// The values of a field that occurs several times.
fn values(field: &str) -> Vec<&str> {
    field.split(',').filter(|value| !value.is_empty()).collect()
}

#[track_caller]
fn contains_all(field: &str, expected: &[&str]) {
    let found = values(field);
    for value in expected {
        assert!(found.contains(value), "no {value} in {found:?}");
    }
}

#[test]
fn tshark_dissects_both_messages_of_ike_sa_init() {
    if !tools::installed(&["tshark"]) {
        return;
    }
    let dialogue = register(KeyExchangeChoice::X25519, 65_000, &signer());
    let fields = [
        "isakmp.exchangetype",
        "isakmp.typepayload",
        "isakmp.tf.id.encr",
        "isakmp.tf.id.prf",
        "isakmp.tf.id.dh",
        "isakmp.tf.type",
        "isakmp.key_exchange.dh_group",
        "isakmp.key_exchange.data",
        "isakmp.nonce",
        "isakmp.notify.msgtype",
        "isakmp.vid_bytes",
        "isakmp.ispi",
        "isakmp.rspi",
        "_ws.malformed",
    ];
    let seen = dissect(&dialogue.packets, String::new(), &fields);
    let [request, response, ..] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    for (message, packet) in [request, response].into_iter().zip(&dialogue.packets) {
        let octets = hex::encode(packet);
        assert_eq!(message[0], "34");
        // Security Association, Key Exchange, Nonce, Notify, Vendor ID.
        contains_all(&message[1], &["33", "34", "40", "41", "43"]);
        contains_all(&message[2], &["20"]);
        contains_all(&message[3], &["5"]);
        contains_all(&message[4], &["31"]);
        // Encryption, PRF, key exchange, key wrap (RFC 9838 §4.4.2.1).
        contains_all(&message[5], &["1", "2", "4", "13"]);
        assert_eq!(message[6], "31");
        for value in [&message[7], &message[8]] {
            assert!(
                value.len() >= 64 && octets.contains(value.as_str()),
                "{value} in {octets}"
            );
        }
        assert_eq!(message[7].len(), 64, "an X25519 public key");
        // NAT detection of both addresses, fragmentation, hashes of signatures.
        contains_all(&message[9], &["16388", "16389", "16430", "16431"]);
        assert_eq!(message[10].len(), 32, "our Vendor ID: {}", message[10]);
        assert_eq!(message[11], hex::encode(dialogue.keys.initiator_spi.0));
        assert_eq!(message[13], "", "malformed");
    }
    assert_eq!(request[12], "0000000000000000");
    assert_eq!(response[12], hex::encode(dialogue.keys.responder_spi.0));
    assert_eq!(
        values(&response[2]),
        ["20"],
        "the answer chooses one cipher"
    );
}

/// Fields of a protected message that are there only when it was decrypted.
const PROTECTED: [&str; 9] = [
    "isakmp.exchangetype",
    "isakmp.typepayload",
    "isakmp.id.data.fqdn",
    "isakmp.auth.method",
    "isakmp.notify.msgtype",
    "isakmp.delete.spi",
    "isakmp.messageid",
    "isakmp.ikev2.integrity_checksum",
    "_ws.malformed",
];

/// The messages of an exchange type.
fn of_exchange<'a>(seen: &'a [Vec<String>], exchange: &str) -> Vec<&'a Vec<String>> {
    seen.iter()
        .filter(|message| message[0] == exchange)
        .collect()
}

/// GSA_AUTH went as it should: names, proofs, IDg from the member, policy and keys from the key server.
#[track_caller]
fn is_registration(request: &[String], response: &[String]) {
    contains_all(&request[1], &["35", "39", "50"]);
    assert_eq!(request[2], MEMBER);
    contains_all(&response[1], &["36", "39", "51", "52"]);
    assert_eq!(response[2], SERVER);
    for message in [request, response] {
        assert_eq!(message[3], "2", "AUTH by pre-shared key");
        assert_eq!(
            (message[7].as_str(), message[8].as_str()),
            ("", ""),
            "{message:?}"
        );
    }
    // GROUP_SENDER (RFC 9838 §4.7.2).
    contains_all(&request[4], &["16429"]);
}

#[test]
fn tshark_with_the_keys_decrypts_gsa_auth_and_finds_its_icv_good() {
    if !tools::installed(&["tshark"]) {
        return;
    }
    let dialogue = register(KeyExchangeChoice::X25519, 65_000, &signer());
    let mut packets = dialogue.packets;
    let mut forged = packets.last().expect("GSA_AUTH").clone();
    *forged.last_mut().expect("an ICV") ^= 1;
    packets.push(forged);
    let seen = dissect(&packets, registration_keys(&dialogue.keys), &PROTECTED);
    let [request, response, forged] = of_exchange(&seen, "39")[..] else {
        panic!("{seen:?}")
    };
    is_registration(request, response);
    assert_ne!(forged[7], "", "the forged ICV is found bad: {forged:?}");

    let blind = dissect(&packets, String::new(), &PROTECTED);
    assert!(
        of_exchange(&blind, "39")
            .iter()
            .all(|message| message[2].is_empty()),
        "{blind:?}"
    );
}

#[test]
fn tshark_reassembles_and_decrypts_fragments_under_keys_with_ml_kem_in_them() {
    if !tools::installed(&["tshark"]) {
        return;
    }
    let dialogue = register(KeyExchangeChoice::X25519MlKem768, 250, &signer());
    let seen = dissect(
        &dialogue.packets,
        registration_keys(&dialogue.keys),
        &PROTECTED,
    );
    assert!(
        !of_exchange(&seen, "43").is_empty(),
        "IKE_INTERMEDIATE: {seen:?}"
    );
    let messages = of_exchange(&seen, "39");
    let fragments = messages
        .iter()
        .filter(|message| values(&message[1]).contains(&"53"))
        .count();
    assert!(
        fragments > 1,
        "the answer at least does not fit one fragment: {messages:?}"
    );
    let whole: Vec<_> = messages
        .into_iter()
        .filter(|message| !message[2].is_empty())
        .collect();
    let [request, response] = whole[..] else {
        panic!("{seen:?}")
    };
    is_registration(request, response);
}

#[test]
fn tshark_with_the_group_key_decrypts_a_gsa_rekey_and_finds_its_icv_good() {
    if !tools::installed(&["tshark"]) {
        return;
    }
    let from = (IpAddr::V4(SERVER_ADDRESS), 848);
    let to = (IpAddr::V4(Ipv4Addr::new(239, 192, 0, 1)), 848);
    let mut packets: Vec<_> = group::rekey(&signer(), 65_000)
        .iter()
        .map(|datagram| ip::datagram(from, to, datagram))
        .collect();
    let mut forged = packets.last().expect("one message").clone();
    *forged.last_mut().expect("an ICV") ^= 1;
    packets.push(forged);
    let seen = dissect(&packets, rekey_keys(), &PROTECTED);
    let [good, forged] = seen.as_slice() else {
        panic!("{seen:?}")
    };
    assert_eq!(good[0], "41");
    contains_all(&good[1], &["51", "52", "42", "39"]);
    assert_eq!(good[3], "14", "AUTH by digital signature");
    assert_eq!(good[5], format!("{:08x}", group::OLD.0));
    assert_eq!(good[6], format!("{:#010x}", group::MESSAGE_ID));
    assert_eq!((good[7].as_str(), good[8].as_str()), ("", ""), "{good:?}");
    assert_ne!(forged[7], "", "the forged ICV is found bad: {forged:?}");
}
