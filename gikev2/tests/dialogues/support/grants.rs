//! What a key server hands out in these tests.

use std::net::{IpAddr, Ipv4Addr};

use gikev2::Secret;
use gikev2::responder::{Grant, GrantKeys, RekeyKey, RekeyKeyGrant};
use gikev2::wire::{
    AddressRange, DataSaPolicy, EncryptionId, GroupSecurityAssociation, GroupWidePolicy, KeyWrapId,
    PortRange, RekeySaPolicy, RekeySpi, SaPolicy, SequenceNumbersId, Spi, TrafficSelector,
    Transform,
};

pub(crate) const REKEY_SPI: RekeySpi = RekeySpi(*b"REKEYSA1REKEYSA2");
pub(crate) const DATA_SPI: Spi = Spi(0xc0ff_ee01);
pub(crate) const REGISTRATION_ID: u64 = 0x0102_0304_0506_0708;
pub(crate) const SENDER_ID: u32 = 5;

/// DER AlgorithmIdentifier of Ed25519.
pub(crate) const ED25519: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];

/// Octets counting up from `first`.
pub(crate) fn counting(first: u8, length: u8) -> Secret {
    Secret::new((0..length).map(|step| first.wrapping_add(step)).collect())
}

/// Keying material of the first Rekey SA: GSK_e with salt, then GSK_w.
pub(crate) fn rekey_material() -> Secret {
    counting(0x00, 68)
}

/// Keying material of the first data SA.
pub(crate) fn data_material() -> Secret {
    counting(0x80, 36)
}

fn udp_848(address: [u8; 4]) -> TrafficSelector {
    TrafficSelector {
        protocol: 17,
        ports: PortRange::single(848),
        addresses: AddressRange::single(IpAddr::V4(Ipv4Addr::from(address))),
    }
}

/// A Rekey SA with AES-GCM-256 and KW_5649_256; `algorithm` only at registration.
pub(crate) fn rekey_policy(spi: RekeySpi, algorithm: Option<&[u8]>) -> RekeySaPolicy {
    let mut transforms = vec![
        Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
        Transform::key_wrap(KeyWrapId::KW_5649_256),
    ];
    transforms.extend(algorithm.map(Transform::digital_signature));
    RekeySaPolicy {
        spi,
        source: udp_848([192, 0, 2, 10]),
        destination: udp_848([239, 192, 0, 1]),
        transforms,
        lifetime_seconds: Some(86_400),
        initial_message_id: None,
        next_spis: Vec::new(),
        unknown: Vec::new(),
    }
}

/// An ESP SA with AES-GCM-256 for everything.
pub(crate) fn data_policy(spi: Spi) -> DataSaPolicy {
    let mut policy = DataSaPolicy::esp(
        spi,
        TrafficSelector::addresses(AddressRange::ANY_V4),
        TrafficSelector::addresses(AddressRange::ANY_V4),
        vec![
            Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
            Transform::sequence_numbers(SequenceNumbersId::UNSPECIFIED_32),
        ],
    );
    policy.lifetime_seconds = Some(3600);
    policy
}

pub(crate) fn group_wide(registration: bool) -> GroupWidePolicy {
    GroupWidePolicy {
        activation_delay_seconds: Some(10),
        deactivation_delay_seconds: Some(20),
        sender_id_bits: registration.then_some(24),
        ..GroupWidePolicy::default()
    }
}

/// A Rekey SA signed with `algorithm` by the holder of `auth_key`, one ESP SA, and a Sender-ID.
pub(crate) fn signed_by(algorithm: &[u8], auth_key: Vec<u8>) -> Grant {
    Grant {
        gsa: GroupSecurityAssociation {
            policies: vec![
                SaPolicy::Rekey(rekey_policy(REKEY_SPI, Some(algorithm))),
                SaPolicy::Data(data_policy(DATA_SPI)),
            ],
            group_wide: Some(group_wide(true)),
        },
        keys: GrantKeys {
            rekey: Some(RekeyKeyGrant {
                spi: REKEY_SPI,
                key: RekeyKey::Plain(rekey_material()),
            }),
            data: vec![(DATA_SPI, data_material())],
            auth_key: Some(auth_key),
            sender_ids: vec![SENDER_ID],
            ..GrantKeys::default()
        },
        registration_id: REGISTRATION_ID,
    }
}

/// [`signed_by`] the Ed25519 key of RFC 8032 test 1.
pub(crate) fn plain() -> Grant {
    signed_by(ED25519, ed25519_public_key())
}

/// SubjectPublicKeyInfo of the public key of RFC 8032 §7.1 test 1.
pub(crate) fn ed25519_public_key() -> Vec<u8> {
    hex::decode(
        "302a300506032b6570032100d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    )
    .expect("hex")
}
