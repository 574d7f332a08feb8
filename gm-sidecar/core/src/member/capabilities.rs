//! What this member can do, for the key server's choice (SAg, RFC 9838 §2.3.3, §4.3).

use gikev2::crypto::SignatureAlgorithm;
use gikev2::wire::{EncryptionId, KeyWrapId, Proposal, ProtocolId, SequenceNumbersId, Transform};

/// The proposals of the SAg payload. All have one number: there are no dependencies between them.
pub(super) fn proposals() -> Vec<Proposal> {
    let aes_256 = Transform::encryption(EncryptionId::AES_GCM_16, Some(256));
    let aes_128 = Transform::encryption(EncryptionId::AES_GCM_16, Some(128));
    let chacha = Transform::encryption(EncryptionId::CHACHA20_POLY1305, None);
    let esp = vec![
        aes_256.clone(),
        aes_128.clone(),
        chacha,
        Transform::sequence_numbers(SequenceNumbersId::UNSPECIFIED_32),
    ];
    let mut rekey = vec![
        aes_256,
        aes_128,
        Transform::key_wrap(KeyWrapId::KW_5649_256),
    ];
    rekey.extend(
        SignatureAlgorithm::ALL
            .iter()
            .map(|algorithm| Transform::digital_signature(algorithm.algorithm_identifier())),
    );
    vec![
        Proposal::new(1, ProtocolId::ESP, esp),
        Proposal::new(1, ProtocolId::GIKE_UPDATE, rekey),
    ]
}
