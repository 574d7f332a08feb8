//! Rules a GSA payload must keep whatever it is for (RFC 9838 §4.4): a member checks all of them before it uses any
//! of it, because a key server may be hostile too.

use std::collections::BTreeSet;

use crate::crypto::aead::AeadAlgorithm;
use crate::wire::{
    DataSaPolicy, GroupSecurityAssociation, KeyWrapId, ProtocolId, RekeySaPolicy,
    SequenceNumbersId, Spi, Transform, TransformType,
};

use super::download::Mismatch;

/// Checks the policies of a GSA payload. `registration` tells GSA_AUTH and GSA_REGISTRATION from GSA_REKEY.
pub(crate) fn check(gsa: &GroupSecurityAssociation, registration: bool) -> Result<(), Mismatch> {
    if gsa.policies.is_empty() {
        return Err("a GSA without any SA");
    }
    if let Some(policy) = gsa.rekey() {
        check_rekey(policy, registration)?;
    }
    let mut spis = BTreeSet::new();
    for policy in gsa.data() {
        if !spis.insert(policy.spi) {
            return Err("two data SAs have the same SPI");
        }
        check_data(policy)?;
    }
    let bits = gsa
        .group_wide
        .as_ref()
        .and_then(|policy| policy.sender_id_bits);
    match bits {
        Some(_) if !registration => Err("GWP_SENDER_ID_BITS is only for registration"),
        Some(bits) if !(1..=32).contains(&bits) => Err("GWP_SENDER_ID_BITS is not 1 to 32"),
        _ => Ok(()),
    }
}

fn check_rekey(policy: &RekeySaPolicy, registration: bool) -> Result<(), Mismatch> {
    if policy.spi.initiator_half().is_zero() || policy.spi.responder_half().is_zero() {
        return Err("half of the Rekey SA's SPI is zero");
    }
    if policy.lifetime_seconds.is_none_or(|seconds| seconds == 0) {
        return Err("the Rekey SA has no lifetime");
    }
    let method = TransformType::GROUP_CONTROLLER_AUTHENTICATION;
    if policy.transform(method).is_some() != registration {
        return Err("GCAUTH belongs into registrations and nowhere else");
    }
    only(
        &policy.transforms,
        &[TransformType::ENCRYPTION, TransformType::KEY_WRAP, method],
    )?;
    rekey_cipher(policy).map(|_| ())
}

fn check_data(policy: &DataSaPolicy) -> Result<(), Mismatch> {
    if policy.spi < Spi::LOWEST {
        return Err("a data SA's SPI is reserved");
    }
    if policy.lifetime_seconds.is_none_or(|seconds| seconds == 0) {
        return Err("a data SA has no lifetime");
    }
    if policy.source.addresses.is_ipv4() != policy.destination.addresses.is_ipv4() {
        return Err("a data SA's selectors are of two address families");
    }
    only(
        &policy.transforms,
        &[TransformType::ENCRYPTION, TransformType::SEQUENCE_NUMBERS],
    )?;
    data_cipher(policy).map(|_| ())
}

/// Each transform type at most once, and none but these; INTEG may be there as NONE.
fn only(transforms: &[Transform], allowed: &[TransformType]) -> Result<(), Mismatch> {
    let mut seen = BTreeSet::new();
    for transform in transforms {
        let none = transform.transform_type == TransformType::INTEGRITY && transform.id == 0;
        if !none && !allowed.contains(&transform.transform_type) {
            return Err("a policy has a transform of a type it may not have");
        }
        if !seen.insert(transform.transform_type) {
            return Err("a policy has two transforms of one type");
        }
    }
    Ok(())
}

/// The cipher of a Rekey SA. Its key wrap algorithm must be the IKE SA's, KW_5649_256, because tree keys delivered
/// over one are used over the other.
pub(crate) fn rekey_cipher(policy: &RekeySaPolicy) -> Result<AeadAlgorithm, Mismatch> {
    let cipher = policy
        .transform(TransformType::ENCRYPTION)
        .and_then(AeadAlgorithm::from_transform)
        .ok_or("the Rekey SA's cipher is not supported")?;
    let key_wrap = policy
        .transform(TransformType::KEY_WRAP)
        .map(|transform| KeyWrapId(transform.id));
    if key_wrap != Some(KeyWrapId::KW_5649_256) {
        return Err("the Rekey SA's key wrap algorithm is not KW_5649_256");
    }
    Ok(cipher)
}

/// The cipher of a data SA we could use (RFC 9838 §4.4.2.1): ESP, AEAD, and never 64-bit sequence numbers.
pub(crate) fn data_cipher(policy: &DataSaPolicy) -> Result<AeadAlgorithm, Mismatch> {
    if policy.protocol != ProtocolId::ESP {
        return Err("a data SA is not ESP");
    }
    let numbers = policy
        .transform(TransformType::SEQUENCE_NUMBERS)
        .map(|transform| SequenceNumbersId(transform.id));
    if !matches!(
        numbers,
        Some(SequenceNumbersId::SEQUENTIAL_32 | SequenceNumbersId::UNSPECIFIED_32)
    ) {
        return Err("a data SA's sequence numbers are not supported");
    }
    policy
        .transform(TransformType::ENCRYPTION)
        .and_then(AeadAlgorithm::from_transform)
        .ok_or("a data SA's cipher is not supported")
}
