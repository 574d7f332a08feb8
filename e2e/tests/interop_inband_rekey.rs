//! The octets of our GSA_INBAND_REKEY, opened by a script that shares no code with us: it derives the key wrap key of the
//! IKE SA itself, decrypts, and unwraps what is inside.
//!
//! Keys leave the protocol library in debug builds only, so in release builds this test does not exist.
#![cfg(debug_assertions)]

#[path = "support/filter.rs"]
mod filter;
#[path = "support/tools.rs"]
mod tools;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use gikev2::exchange::authentication::{Credentials, PreSharedKeys};
use gikev2::exchange::identity::IdentityPattern;
use gikev2::initiator::{self, Initiator, Purpose, RegistrationParameters};
use gikev2::responder::{self, Grant, GrantKeys, InbandRekey, Responder};
use gikev2::wire::{
    AddressRange, DataSaPolicy, EncryptionId, GroupSecurityAssociation, GroupWidePolicy, IdType,
    Identification, KeyWrapId, PortRange, RekeySaPolicy, RekeySpi, SaPolicy, SequenceNumbersId,
    Spi, TrafficSelector, Transform,
};
use gikev2::{Entropy, Secret};

const PYTHON: &str = "/usr/bin/python3";
const MEMBER: &str = "m-1.member.getvpn";
const SERVER: &str = "ks-0.keyserver.getvpn";
const KEY: &[u8] = b"correct horse battery staple 0001";
const OLD: Spi = Spi(0xc0ff_ee01);
const NEW: Spi = Spi(0xc0ff_ee02);
const REKEY_SPI: RekeySpi = RekeySpi(*b"REKEYSA1REKEYSA2");

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

fn data_policy(spi: Spi) -> SaPolicy {
    let everything = TrafficSelector::addresses(AddressRange::ANY_V4);
    let transforms = vec![
        Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
        Transform::sequence_numbers(SequenceNumbersId::UNSPECIFIED_32),
    ];
    let mut policy = DataSaPolicy::esp(spi, everything, everything, transforms);
    policy.lifetime_seconds = Some(3600);
    SaPolicy::Data(policy)
}

fn rekey_policy() -> SaPolicy {
    let multicast = TrafficSelector {
        protocol: 17,
        ports: PortRange::single(848),
        addresses: AddressRange::single([239, 192, 0, 1].into()),
    };
    SaPolicy::Rekey(RekeySaPolicy {
        spi: REKEY_SPI,
        source: TrafficSelector::addresses(AddressRange::ANY_V4),
        destination: multicast,
        transforms: vec![
            Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
            Transform::key_wrap(KeyWrapId::KW_5649_256),
        ],
        lifetime_seconds: Some(86_400),
        initial_message_id: None,
        next_spis: Vec::new(),
        unknown: Vec::new(),
    })
}

/// A member and a key server on no link: what one sends the other gets at once.
struct Ends {
    now: Instant,
    member: Initiator,
    server: Responder,
    ike_sa: Option<responder::IkeSaHandle>,
}

impl Ends {
    fn new() -> Self {
        let now = Instant::now();
        let config = initiator::Config::new(
            Identification::fqdn(MEMBER),
            Credentials::PreSharedKey(Secret::from_slice(KEY)),
            vec![IdentityPattern::new(IdType::FQDN, SERVER)],
            Purpose::Registration(RegistrationParameters {
                group: Identification::group(1234),
                capabilities: Vec::new(),
                sender_ids: None,
                acknowledges: false,
            }),
        );
        let [local, remote] =
            [[10, 1, 0, 2], [172, 20, 0, 2]].map(|ip| SocketAddr::from((ip, 848)));
        let member = Initiator::new(config, local, remote, now, &mut SystemEntropy);
        let mut config = responder::Config::new(Identification::fqdn(SERVER));
        config.pre_shared_keys = Some(Box::new(OneKey(Secret::from_slice(KEY))));
        Self {
            now,
            member,
            server: Responder::new(config, now, &mut SystemEntropy),
            ike_sa: None,
        }
    }

    /// Carries datagrams until both are quiet; those of the key server.
    fn carry(&mut self) -> Vec<Vec<u8>> {
        let (now, mut said) = (self.now, Vec::new());
        loop {
            let mut quiet = true;
            while let Some(sent) = self.member.poll_transmit() {
                quiet = false;
                let (from, to) = (sent.local, sent.remote);
                self.server
                    .handle_datagram(now, 0, to, from, &sent.payload, &mut SystemEntropy);
            }
            while let Some(event) = self.server.poll_event() {
                quiet = false;
                if let responder::Event::Registration { handle, .. } = event {
                    self.ike_sa = Some(handle.ike_sa());
                    self.server
                        .accept(now, handle, grant(), &mut SystemEntropy)
                        .expect("an open request");
                }
            }
            while let Some(sent) = self.server.poll_transmit() {
                quiet = false;
                let (from, to) = (sent.local, sent.remote);
                self.member
                    .handle_datagram(now, 0, to, from, &sent.payload, &mut SystemEntropy);
                said.push(sent.payload);
            }
            if quiet {
                return said;
            }
        }
    }
}

fn grant() -> Grant {
    Grant {
        gsa: GroupSecurityAssociation {
            policies: vec![data_policy(OLD)],
            group_wide: None,
        },
        keys: GrantKeys {
            data: vec![(OLD, Secret::new(vec![1; 36]))],
            ..GrantKeys::default()
        },
        registration_id: 1,
    }
}

#[test]
fn keys_of_an_inband_rekey_are_wrapped_with_the_key_of_the_ike_sa_and_there_is_no_auth() {
    if !tools::installed(&[PYTHON]) {
        return;
    }
    let mut ends = Ends::new();
    ends.carry();
    let event = ends.member.poll_event();
    assert!(
        matches!(event, Some(initiator::Event::Registered(_))),
        "{event:?}"
    );
    let (data, rekey): (Vec<u8>, Vec<u8>) = ((0xc0..0xe4).collect(), (0..68).collect());
    let content = InbandRekey::Keys {
        gsa: GroupSecurityAssociation {
            policies: vec![rekey_policy(), data_policy(NEW)],
            group_wide: Some(GroupWidePolicy {
                activation_delay_seconds: Some(10),
                deactivation_delay_seconds: Some(20),
                ..GroupWidePolicy::default()
            }),
        },
        rekey: Some((REKEY_SPI, Secret::from_slice(&rekey))),
        data: vec![(NEW, Secret::from_slice(&data))],
    };
    let ike_sa = ends.ike_sa.expect("a registration");
    ends.server
        .rekey_inband(ends.now, ike_sa, &content, &mut SystemEntropy)
        .expect("sent");
    let said = ends.carry();
    let [message] = said.as_slice() else {
        panic!("{} datagrams", said.len());
    };
    let event = ends.member.poll_event();
    assert!(
        matches!(event, Some(initiator::Event::Rekeyed(_))),
        "{event:?}"
    );

    let keys = ends.member.dissector_keys().expect("an IKE SA that is up");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/inband.py");
    let job = serde_json::json!({
        "message": hex::encode(message),
        "derivation": hex::encode(keys.derivation.as_bytes()),
        "encryption": hex::encode(keys.responder_encryption.as_bytes()),
    });
    let output = filter::run(Command::new(PYTHON).arg(script), job.to_string().as_bytes());
    let found: serde_json::Value = serde_json::from_slice(&output).expect("JSON");
    assert_eq!(
        found,
        serde_json::json!({
            // GSA_INBAND_REKEY, asked by the responder of the IKE SA as its first request.
            "exchange": 42,
            "flags": 0,
            "message_id": 0,
            // GSA and KD: neither AUTH nor anything else.
            "payloads": [51, 52],
            // GSA_KEY_LIFETIME alone, and GWP_ATD and GWP_DTD.
            "attributes": { "6": [1], "3": [1], "0": [1, 2] },
            // No Member Key Bag.
            "bags": [6, 3],
            "keys": {
                hex::encode(REKEY_SPI.0): hex::encode(&rekey),
                hex::encode(NEW.0.to_be_bytes()): hex::encode(&data),
            },
        })
    );
}
