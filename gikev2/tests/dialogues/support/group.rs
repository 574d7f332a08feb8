//! A group's rekey channel: what a key server holds, and members that came in by registration.

use std::net::IpAddr;
use std::time::Instant;

use gikev2::Secret;
use gikev2::crypto::aead::AeadAlgorithm;
use gikev2::crypto::signature::{PrivateKey, Signer};
use gikev2::keys::group::RekeySaKeys;
use gikev2::rekey::receiver::{Accepted, Received, Receiver};
use gikev2::rekey::sender::{self, KeyUpdate, RekeyMessage};
use gikev2::wire::{
    AddressRange, Delete, EncryptionId, GroupSecurityAssociation, ProtocolId, RekeySpi, SaPolicy,
    Spi,
};

use super::{Decision, Pair, grants, member_config, server_config};

/// Larger than any message: no fragments.
pub(crate) const WHOLE: usize = 65_000;

/// The Ed25519 key of RFC 8032 §7.1 test 1.
pub(crate) fn ed25519_private_key() -> PrivateKey {
    let der = "302e020100300506032b6570042204209d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    PrivateKey::from_pkcs8(&hex::decode(der).expect("hex")).expect("a key we can use")
}

pub(crate) fn rekey_sa_keys(material: &Secret) -> RekeySaKeys {
    let cipher = AeadAlgorithm::from_id(EncryptionId::AES_GCM_16, Some(256)).expect("a cipher");
    RekeySaKeys::new(cipher, material).expect("the right length")
}

/// A member of the group signed by `signer`, whose next rekey has the number `first`.
pub(crate) fn member(signer: &dyn Signer, first: u32) -> (Pair, Receiver) {
    let mut pair = Pair::new(member_config(), server_config());
    let (algorithm, auth_key) = (
        signer.algorithm().algorithm_identifier(),
        signer.public_key_spki().to_vec(),
    );
    pair.decide = Box::new(move |_| {
        let mut grant = grants::signed_by(algorithm, auth_key.clone());
        if let Some(SaPolicy::Rekey(policy)) = grant.gsa.policies.first_mut() {
            policy.initial_message_id = Some(first);
        }
        Decision::accept(grant)
    });
    let mut registration = pair.registered();
    let receiver = Receiver::from_registration(pair.now, &mut registration)
        .unwrap_or_else(|error| panic!("{error}"))
        .expect("a group with a Rekey SA");
    (pair, receiver)
}

/// Policy of a rekey with one new data SA.
pub(crate) fn new_data_sa(spi: Spi) -> GroupSecurityAssociation {
    GroupSecurityAssociation {
        policies: vec![SaPolicy::Data(grants::data_policy(spi))],
        group_wide: Some(grants::group_wide(false)),
    }
}

pub(crate) fn delete_data(spi: Spi) -> Delete {
    Delete::Data {
        protocol: ProtocolId::ESP,
        spis: vec![spi],
    }
}

/// The rekey of the reference's worked example: a new ESP SA in place of the registered one.
pub(crate) fn worked_example(
    message_id: u32,
    signer: &dyn Signer,
    fragment_size: usize,
) -> Vec<Vec<u8>> {
    let mut gsa = new_data_sa(Spi(0xc0ff_ee02));
    if let Some(SaPolicy::Data(policy)) = gsa.policies.first_mut() {
        policy.destination.addresses = AddressRange::single(IpAddr::from([239, 1, 2, 3]));
    }
    let key = grants::counting(0xc0, 36);
    let message = RekeyMessage {
        spi: grants::REKEY_SPI,
        message_id,
        gsa: Some(&gsa),
        keys: KeyUpdate {
            data: vec![(Spi(0xc0ff_ee02), &key)],
            ..KeyUpdate::default()
        },
        deletes: &[delete_data(grants::DATA_SPI)],
        notifies: &[],
    };
    sender::build(
        &message,
        &rekey_sa_keys(&grants::rekey_material()),
        signer,
        Some(fragment_size),
    )
    .expect("a message")
}

/// Builds a message over the first Rekey SA with anything in it.
pub(crate) fn build(
    message_id: u32,
    gsa: Option<&GroupSecurityAssociation>,
    keys: KeyUpdate<'_>,
    deletes: &[Delete],
    signer: &dyn Signer,
) -> Vec<u8> {
    let message = RekeyMessage {
        spi: grants::REKEY_SPI,
        message_id,
        gsa,
        keys,
        deletes,
        notifies: &[],
    };
    let mut datagrams = sender::build(
        &message,
        &rekey_sa_keys(&grants::rekey_material()),
        signer,
        None,
    )
    .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(datagrams.len(), 1);
    datagrams.remove(0)
}

/// Hands over datagrams and expects the last to complete an acceptable message.
pub(crate) fn accepted(
    receiver: &mut Receiver,
    now: Instant,
    datagrams: &[Vec<u8>],
) -> Box<Accepted> {
    let (last, others) = datagrams.split_last().expect("a datagram");
    for datagram in others {
        match receiver.handle(now, datagram) {
            Ok(Received::Incomplete) => {}
            other => panic!("{other:?}"),
        }
    }
    match receiver.handle(now, last) {
        Ok(Received::Accepted(accepted)) => accepted,
        other => panic!("{other:?}"),
    }
}

pub(crate) const SECOND_REKEY_SPI: RekeySpi = RekeySpi(*b"rekeysa3rekeysa4");
