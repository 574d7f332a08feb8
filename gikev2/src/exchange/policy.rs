//! Rules a GSA payload must keep whatever it is for (RFC 9838 §4.4): a member checks all of them before it uses any
//! of it, because a key server may be hostile too.

use std::collections::BTreeSet;

use crate::crypto::aead::AeadAlgorithm;
use crate::wire::{
    DataSaPolicy, GroupSecurityAssociation, KeyWrapId, Notify, NotifyType, ProtocolId,
    RekeySaPolicy, SequenceNumbersId, Spi, Transform, TransformType,
};

use super::download::Mismatch;

/// The key wrap algorithm of every IKE SA and Rekey SA.
const KEY_WRAP: KeyWrapId = KeyWrapId::KW_5649_256;

/// The exchange that carries a GSA payload decides which attributes it may have (RFC 9838 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// GSA_AUTH and GSA_REGISTRATION.
    Registration,
    /// GSA_REKEY.
    Rekey,
    /// GSA_INBAND_REKEY.
    InbandRekey,
}

/// Checks the policies of a GSA payload and the notifications that came with it.
pub(crate) fn check(
    gsa: &GroupSecurityAssociation,
    notifies: &[Notify],
    carrier: Carrier,
) -> Result<(), Mismatch> {
    if gsa.policies.is_empty() {
        return Err("a GSA without any SA");
    }
    // Without this notification all data SAs are in tunnel mode, the only mode of a gateway (RFC 9838 §2.3.4).
    if notifies
        .iter()
        .any(|notify| notify.notify_type == NotifyType::USE_TRANSPORT_MODE)
    {
        return Err("the data SAs are in transport mode, and only tunnel mode is supported");
    }
    if let Some(policy) = gsa.rekey() {
        check_rekey(policy, carrier)?;
    }
    let mut spis = BTreeSet::new();
    for policy in gsa.data() {
        if !spis.insert(policy.spi) {
            return Err("two data SAs have the same SPI");
        }
        check_data(policy, carrier)?;
    }
    let bits = gsa
        .group_wide
        .as_ref()
        .and_then(|policy| policy.sender_id_bits);
    match bits {
        Some(_) if carrier != Carrier::Registration => {
            Err("GWP_SENDER_ID_BITS is only for registration")
        }
        Some(bits) if !(1..=32).contains(&bits) => Err("GWP_SENDER_ID_BITS is not 1 to 32"),
        _ => Ok(()),
    }
}

fn check_rekey(policy: &RekeySaPolicy, carrier: Carrier) -> Result<(), Mismatch> {
    if policy.spi.initiator_half().is_zero() || policy.spi.responder_half().is_zero() {
        return Err("half of the Rekey SA's SPI is zero");
    }
    if !has_lifetime(policy.lifetime_seconds, carrier) {
        return Err("the Rekey SA has no lifetime");
    }
    if carrier == Carrier::InbandRekey
        && (policy.initial_message_id.is_some() || !policy.next_spis.is_empty())
    {
        return Err("attributes of multicast rekeys are not for GSA_INBAND_REKEY");
    }
    let method = TransformType::GROUP_CONTROLLER_AUTHENTICATION;
    if policy.transform(method).is_some() != (carrier == Carrier::Registration) {
        return Err("GCAUTH belongs into registrations and nowhere else");
    }
    only(
        &policy.transforms,
        &[TransformType::ENCRYPTION, TransformType::KEY_WRAP, method],
    )?;
    protects(KEY_WRAP, rekey_cipher(policy)?)
}

fn check_data(policy: &DataSaPolicy, carrier: Carrier) -> Result<(), Mismatch> {
    if policy.spi < Spi::LOWEST {
        return Err("a data SA's SPI is reserved");
    }
    if !has_lifetime(policy.lifetime_seconds, carrier) {
        return Err("a data SA has no lifetime");
    }
    if carrier == Carrier::InbandRekey && !policy.next_spis.is_empty() {
        return Err("attributes of multicast rekeys are not for GSA_INBAND_REKEY");
    }
    if policy.source.addresses.is_ipv4() != policy.destination.addresses.is_ipv4() {
        return Err("a data SA's selectors are of two address families");
    }
    only(
        &policy.transforms,
        &[TransformType::ENCRYPTION, TransformType::SEQUENCE_NUMBERS],
    )?;
    protects(KEY_WRAP, data_cipher(policy)?)
}

/// GSA_KEY_LIFETIME is in every policy that multicast may rekey; with inband rekey an SA may live until it is deleted
/// (RFC 9838 §5).
fn has_lifetime(seconds: Option<u32>, carrier: Carrier) -> bool {
    match seconds {
        Some(seconds) => seconds > 0,
        None => carrier == Carrier::InbandRekey,
    }
}

/// Whether keys of `cipher` may travel under this key wrap algorithm: whoever breaks the shorter key has both
/// (RFC 9838 §3.1).
fn protects(key_wrap: KeyWrapId, cipher: AeadAlgorithm) -> Result<(), Mismatch> {
    match key_wrap.key_length() {
        Some(length) if length >= cipher.key_length() => Ok(()),
        _ => Err("a cipher's key is longer than the key wrap key that protects it"),
    }
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
    if key_wrap != Some(KEY_WRAP) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_wrap_key_is_not_shorter_than_any_cipher_key_it_protects() {
        use AeadAlgorithm::{AesGcm128, AesGcm256, ChaCha20Poly1305};
        for cipher in [AesGcm128, AesGcm256, ChaCha20Poly1305] {
            assert_eq!(protects(KEY_WRAP, cipher), Ok(()));
        }
        const SHORTER: Result<(), Mismatch> =
            Err("a cipher's key is longer than the key wrap key that protects it");
        assert_eq!(protects(KeyWrapId::KW_5649_128, AesGcm128), Ok(()));
        assert_eq!(protects(KeyWrapId::KW_5649_128, AesGcm256), SHORTER);
        assert_eq!(protects(KeyWrapId::KW_5649_192, AesGcm256), SHORTER);
        assert_eq!(protects(KeyWrapId::KW_5649_192, ChaCha20Poly1305), SHORTER);
        // What is not known protects nothing.
        assert_eq!(protects(KeyWrapId(9), AesGcm128), SHORTER);
    }
}
