//! A group with one Rekey SA and one data SA, and a rekey of it.

use gikev2::Secret;
use gikev2::crypto::aead::AeadAlgorithm;
use gikev2::crypto::signature::Signer;
use gikev2::keys::group::RekeySaKeys;
use gikev2::rekey::sender::{self, KeyUpdate, RekeyMessage};
use gikev2::wire::{
    AddressRange, DataSaPolicy, Delete, EncryptionId, GroupSecurityAssociation, GroupWidePolicy,
    ProtocolId, RekeySpi, SaPolicy, SequenceNumbersId, Spi, TrafficSelector, Transform,
};

/// SPI of the Rekey SA.
pub(crate) const REKEY_SPI: RekeySpi = RekeySpi(*b"REKEYSA1REKEYSA2");
/// The data SA that the rekey deletes, and the one it brings.
pub(crate) const OLD: Spi = Spi(0xc0ff_ee01);
pub(crate) const NEW: Spi = Spi(0xc0ff_ee02);
/// Number of the rekey.
pub(crate) const MESSAGE_ID: u32 = 7;

/// Octets counting up from `first`.
fn counting(first: u8, length: u8) -> Vec<u8> {
    (0..length).map(|step| first.wrapping_add(step)).collect()
}

/// GSK_e (32 octets and 4 of salt), then GSK_w.
pub(crate) fn rekey_material() -> Vec<u8> {
    counting(0, 68)
}

/// Key and salt of a data SA.
pub(crate) fn data_material() -> Vec<u8> {
    counting(0x80, 36)
}

/// An ESP SA with AES-GCM-256 for everything.
pub(crate) fn data_policy(spi: Spi) -> SaPolicy {
    let everything = || TrafficSelector::addresses(AddressRange::ANY_V4);
    let transforms = vec![
        Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
        Transform::sequence_numbers(SequenceNumbersId::UNSPECIFIED_32),
    ];
    let mut policy = DataSaPolicy::esp(spi, everything(), everything(), transforms);
    policy.lifetime_seconds = Some(3600);
    SaPolicy::Data(policy)
}

/// The GSA_REKEY datagrams that replace [`OLD`] by [`NEW`].
pub(crate) fn rekey(signer: &dyn Signer, fragment_size: usize) -> Vec<Vec<u8>> {
    let gsa = GroupSecurityAssociation {
        policies: vec![data_policy(NEW)],
        group_wide: Some(GroupWidePolicy {
            activation_delay_seconds: Some(10),
            ..GroupWidePolicy::default()
        }),
    };
    let key = Secret::new(data_material());
    let message = RekeyMessage {
        spi: REKEY_SPI,
        message_id: MESSAGE_ID,
        gsa: Some(&gsa),
        keys: KeyUpdate {
            data: vec![(NEW, &key)],
            ..KeyUpdate::default()
        },
        deletes: &[Delete::Data {
            protocol: ProtocolId::ESP,
            spis: vec![OLD],
        }],
        notifies: &[],
    };
    let cipher = AeadAlgorithm::from_id(EncryptionId::AES_GCM_16, Some(256)).expect("a cipher");
    let keys = RekeySaKeys::new(cipher, &Secret::new(rekey_material())).expect("the right length");
    sender::build(&message, &keys, signer, Some(fragment_size)).expect("a message")
}
