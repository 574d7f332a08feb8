//! Matching the keys of a KD payload to the policies of a GSA payload (RFC 9838 §4.4, §4.5): what registration and
//! GSA_REKEY have in common. Everything is checked; nothing is installed.

use std::collections::BTreeSet;

use crate::Secret;
use crate::keys::group::RekeySaKeys;
use crate::keys::wrap;
use crate::wire::{GroupSecurityAssociation, KeyDownload, RekeySaPolicy, Spi};

use super::policy::{data_cipher, rekey_cipher};

/// Why policy and keys do not fit; names the rule.
pub(crate) type Mismatch = &'static str;

/// The keys of a Rekey SA from its keying material, which must have the exact length.
pub(crate) fn rekey_keys(
    policy: &RekeySaPolicy,
    material: &Secret,
) -> Result<RekeySaKeys, Mismatch> {
    let cipher = rekey_cipher(policy)?;
    RekeySaKeys::new(cipher, material)
        .map_err(|_| "the Rekey SA's keying material has the wrong length")
}

/// Unwraps the key of every data SA: one bag for each policy and one policy for each bag.
pub(crate) fn data_keys(
    gsa: &GroupSecurityAssociation,
    download: &KeyDownload,
    default_key: &Secret,
) -> Result<Vec<(Spi, Secret)>, Mismatch> {
    let mut seen = BTreeSet::new();
    let mut keys = Vec::new();
    for bag in download.data() {
        let policy = gsa
            .data()
            .find(|policy| policy.spi == bag.spi && policy.protocol == bag.protocol)
            .ok_or("a data SA's key has no policy")?;
        if !seen.insert(bag.spi) {
            return Err("a data SA has two key bags");
        }
        if bag.sa_key.key_id != 0 || bag.sa_key.kwk_id != 0 {
            return Err("a data SA's key is not wrapped with the default key");
        }
        let key = wrap::unwrap(default_key, &bag.sa_key.encrypted)
            .map_err(|_| "a data SA's key cannot be unwrapped")?;
        if key.len() != data_cipher(policy)?.keying_material_length() {
            return Err("a data SA's keying material has the wrong length");
        }
        keys.push((bag.spi, key));
    }
    if seen.len() != gsa.data().count() {
        return Err("a data SA's policy has no key");
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{
        AddressRange, DataKeyBag, DataSaPolicy, EncryptionId, KeyBag, ProtocolId, SaPolicy,
        SequenceNumbersId, TrafficSelector, Transform, WrappedKey,
    };

    #[test]
    fn a_data_sas_key_is_wrapped_with_the_default_key() {
        let default_key = Secret::new(vec![1; 32]);
        let any = TrafficSelector::addresses(AddressRange::ANY_V4);
        let transforms = vec![
            Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
            Transform::sequence_numbers(SequenceNumbersId::UNSPECIFIED_32),
        ];
        let gsa = GroupSecurityAssociation {
            policies: vec![SaPolicy::Data(DataSaPolicy::esp(
                Spi(256),
                any,
                any,
                transforms,
            ))],
            group_wide: None,
        };
        let encrypted = wrap::wrap(&default_key, &[5; 36]).expect("a wrapped key");
        let download = |kwk_id| KeyDownload {
            bags: vec![KeyBag::Data(DataKeyBag {
                protocol: ProtocolId::ESP,
                spi: Spi(256),
                sa_key: WrappedKey {
                    key_id: 0,
                    kwk_id,
                    encrypted: encrypted.clone(),
                },
                unknown: Vec::new(),
            })],
        };
        assert!(data_keys(&gsa, &download(0), &default_key).is_ok());
        let other = data_keys(&gsa, &download(7), &default_key);
        assert_eq!(
            other.err(),
            Some("a data SA's key is not wrapped with the default key")
        );
    }
}
