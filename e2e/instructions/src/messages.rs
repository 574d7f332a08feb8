//! G-IKEv2: reading a message, and a whole registration at both ends.

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use gikev2::exchange::authentication::{Credentials, PreSharedKeys};
use gikev2::exchange::identity::IdentityPattern;
use gikev2::exchange::proposal::KeyExchangeChoice;
use gikev2::initiator::{self, Initiator, Purpose, RegistrationParameters};
use gikev2::responder::{self, Grant, GrantKeys, RekeyKey, RekeyKeyGrant, Responder};
use gikev2::wire::{
    AddressRange, Chain, DataSaPolicy, EncryptionId, GroupSecurityAssociation, GroupWidePolicy,
    IdType, Identification, KeyWrapId, Message, Payload, PortRange, RekeySaPolicy, RekeySpi,
    SaPolicy, SequenceNumbersId, Spi, TrafficSelector, Transform,
};
use gikev2::{Entropy, Secret, Transmit};

use crate::Case;

const GROUP: u32 = 1234;
/// SubjectPublicKeyInfo of the Ed25519 key of RFC 8032 §7.1 test 1.
const AUTH_KEY: [u8; 44] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00, 0xd7, 0x5a, 0x98, 0x01,
    0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3,
    0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];
/// DER AlgorithmIdentifier of Ed25519.
const ED25519: [u8; 7] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];

/// Octets that differ from call to call and are the same in every run.
struct Counted(u64);

impl Entropy for Counted {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let octets = (self.0 ^ (self.0 >> 31)).to_be_bytes();
            chunk.copy_from_slice(&octets[..chunk.len()]);
        }
    }
}

struct OneKey {
    identity: Identification,
    key: Secret,
}

impl PreSharedKeys for OneKey {
    fn key(&self, identity: &Identification) -> Option<&Secret> {
        (identity == &self.identity).then_some(&self.key)
    }
}

fn member_identity() -> Identification {
    Identification::fqdn("m-1.member.getvpn")
}

fn shared_key() -> Secret {
    Secret::from_slice(b"a key of the bench, thirty-two o")
}

/// Policy of a group with a Rekey SA and so many data SAs.
fn policy(data: u32) -> GroupSecurityAssociation {
    let port = |address: [u8; 4]| TrafficSelector {
        protocol: 17,
        ports: PortRange::single(848),
        addresses: AddressRange::single(IpAddr::V4(Ipv4Addr::from(address))),
    };
    let rekey = SaPolicy::Rekey(RekeySaPolicy {
        spi: RekeySpi(*b"REKEYSA1REKEYSA2"),
        source: port([192, 0, 2, 10]),
        destination: port([239, 192, 0, 1]),
        transforms: vec![
            Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
            Transform::key_wrap(KeyWrapId::KW_5649_256),
            Transform::digital_signature(&ED25519),
        ],
        lifetime_seconds: Some(86_400),
        initial_message_id: None,
        next_spis: Vec::new(),
        unknown: Vec::new(),
    });
    let esp = |at: u32| {
        let mut policy = DataSaPolicy::esp(
            Spi(0xc0ff_ee00 + at),
            TrafficSelector::addresses(AddressRange::ANY_V4),
            TrafficSelector::addresses(AddressRange::ANY_V4),
            vec![
                Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
                Transform::sequence_numbers(SequenceNumbersId::UNSPECIFIED_32),
            ],
        );
        policy.lifetime_seconds = Some(3600);
        SaPolicy::Data(policy)
    };
    GroupSecurityAssociation {
        policies: std::iter::once(rekey).chain((0..data).map(esp)).collect(),
        group_wide: Some(GroupWidePolicy {
            activation_delay_seconds: Some(10),
            deactivation_delay_seconds: Some(20),
            sender_id_bits: Some(24),
            ..GroupWidePolicy::default()
        }),
    }
}

fn grant() -> Grant {
    Grant {
        gsa: policy(1),
        keys: GrantKeys {
            rekey: Some(RekeyKeyGrant {
                spi: RekeySpi(*b"REKEYSA1REKEYSA2"),
                key: RekeyKey::Plain(Secret::new(vec![1; 68])),
            }),
            data: vec![(Spi(0xc0ff_ee00), Secret::new(vec![2; 36]))],
            auth_key: Some(AUTH_KEY.to_vec()),
            sender_ids: vec![5],
            ..GrantKeys::default()
        },
        registration_id: 1,
    }
}

/// A member and a key server on no link: what one sends the other gets at once.
struct World {
    now: Instant,
    entropy: Counted,
    server: Responder,
    choice: KeyExchangeChoice,
    members: u8,
}

impl World {
    const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(172, 20, 0, 2)), 848);

    fn new(choice: KeyExchangeChoice) -> Self {
        let now = Instant::now();
        let mut entropy = Counted(1);
        let mut config = responder::Config::new(Identification::fqdn("ks-0.keyserver.getvpn"));
        config.pre_shared_keys = Some(Box::new(OneKey {
            identity: member_identity(),
            key: shared_key(),
        }));
        Self {
            now,
            server: Responder::new(config, now, &mut entropy),
            entropy,
            choice,
            members: 0,
        }
    }

    /// One registration; every datagram that the member sent.
    fn register(&mut self) -> Vec<Vec<u8>> {
        self.members = self.members.wrapping_add(1);
        let address = SocketAddr::from(([10, 1, 0, self.members], 848));
        let mut config = initiator::Config::new(
            member_identity(),
            Credentials::PreSharedKey(shared_key()),
            vec![IdentityPattern::new(IdType::FQDN, "*.keyserver.getvpn")],
            Purpose::Registration(RegistrationParameters {
                group: Identification::group(GROUP),
                capabilities: Vec::new(),
                sender_ids: Some(1),
                acknowledges: true,
            }),
        );
        config.key_exchanges = vec![self.choice];
        let mut member = Initiator::new(config, address, Self::SERVER, self.now, &mut self.entropy);
        let mut sent = Vec::new();
        loop {
            let mut to_server = VecDeque::new();
            while let Some(Transmit {
                local,
                remote,
                payload,
            }) = member.poll_transmit()
            {
                to_server.push_back((remote, local, payload));
            }
            for (local, remote, payload) in to_server {
                self.server.handle_datagram(
                    self.now,
                    0,
                    local,
                    remote,
                    &payload,
                    &mut self.entropy,
                );
                sent.push(payload);
            }
            while let Some(event) = self.server.poll_event() {
                if let responder::Event::Registration { handle, .. } = event {
                    self.server
                        .accept(self.now, handle, grant(), &mut self.entropy)
                        .expect("an open request");
                }
            }
            while let Some(Transmit {
                local,
                remote,
                payload,
            }) = self.server.poll_transmit()
            {
                member.handle_datagram(self.now, 0, remote, local, &payload, &mut self.entropy);
            }
            match member.poll_event() {
                Some(initiator::Event::Registered(_)) => return sent,
                Some(other) => panic!("not registered: {other:?}"),
                None => {}
            }
        }
    }
}

fn registration(choice: KeyExchangeChoice) -> Box<dyn FnMut()> {
    let mut world = World::new(choice);
    Box::new(move || {
        black_box(world.register());
    })
}

fn first_message() -> Box<dyn FnMut()> {
    let datagrams = World::new(KeyExchangeChoice::X25519).register();
    let first = datagrams.into_iter().next().expect("a datagram");
    Box::new(move || {
        black_box(Message::parse(black_box(&first)).expect("ours"));
    })
}

fn group_policy() -> Box<dyn FnMut()> {
    let chain = Chain::write(&[Payload::GroupSecurityAssociation(policy(8))]).expect("fits");
    Box::new(move || {
        black_box(black_box(&chain).parse().expect("ours"));
    })
}

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    let case = |name, unit, prepare| Case {
        name,
        unit,
        units: 1,
        prepare,
    };
    vec![
        case("parse-ike-sa-init", "message", first_message),
        case(
            "parse-policy-of-eight-associations",
            "payload",
            group_policy,
        ),
        case("registration-x25519", "registration, both ends", || {
            registration(KeyExchangeChoice::X25519)
        }),
        case("registration-hybrid", "registration, both ends", || {
            registration(KeyExchangeChoice::X25519MlKem768)
        }),
    ]
}
