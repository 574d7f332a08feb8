//! Keys of a group's SAs, cut out of their keying material (RFC 9838 §3.4).

use crate::Secret;
use crate::crypto::aead::{AeadAlgorithm, AeadKey};

/// Octets of GSK_w of a Rekey SA with KW_5649_256.
pub const KEY_WRAP_KEY_LENGTH: usize = 32;

/// Keying material does not have exactly the length its SA needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("keying material of {found} octets, exactly {expected} needed")]
pub struct KeyingMaterialError {
    /// Octets needed.
    pub expected: usize,
    /// Octets given.
    pub found: usize,
}

/// Keys of a Rekey SA: `KEYMAT = GSK_e ‖ GSK_w`, since an AEAD cipher has no GSK_a.
pub struct RekeySaKeys {
    encryption: AeadKey,
    key_wrap: Secret,
}

impl RekeySaKeys {
    /// Octets of the keying material of a Rekey SA with this cipher and KW_5649_256.
    pub fn keying_material_length(algorithm: AeadAlgorithm) -> usize {
        algorithm.keying_material_length() + KEY_WRAP_KEY_LENGTH
    }

    /// Splits keying material.
    ///
    /// # Errors
    /// [`KeyingMaterialError`] when its length is not exactly the one needed.
    pub fn new(algorithm: AeadAlgorithm, material: &Secret) -> Result<Self, KeyingMaterialError> {
        let expected = Self::keying_material_length(algorithm);
        let wrong_length = KeyingMaterialError {
            expected,
            found: material.len(),
        };
        if material.len() != expected {
            return Err(wrong_length);
        }
        let (encryption, key_wrap) = material
            .as_bytes()
            .split_at(algorithm.keying_material_length());
        Ok(Self {
            encryption: AeadKey::new(algorithm, encryption).map_err(|_| wrong_length)?,
            key_wrap: Secret::from_slice(key_wrap),
        })
    }

    /// GSK_e, with its salt.
    pub fn encryption(&self) -> &AeadKey {
        &self.encryption
    }

    /// GSK_w, the default key wrap key of messages over this SA.
    pub fn key_wrap(&self) -> &Secret {
        &self.key_wrap
    }
}
