//! Algorithm, key and salt of one SA.

use std::fmt;

use zeroize::Zeroizing;

/// AEAD of an SA; all have a 16-octet ICV, an explicit 8-octet IV and a 4-octet salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// AES-GCM with a 128-bit key (RFC 4106).
    Aes128Gcm,
    /// AES-GCM with a 256-bit key (RFC 4106).
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
}

impl Algorithm {
    /// Octets of the key, without the salt.
    pub const fn key_length(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// Octets of the keying material: key, then salt (RFC 4106 §8.1, RFC 7634 §2).
    pub const fn keying_material_length(self) -> usize {
        self.key_length() + SALT
    }
}

const SALT: usize = 4;

/// Why keying material was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("keying material for {algorithm:?} has {found} octets, {expected} expected")]
pub struct KeyMaterialError {
    /// The algorithm it was for.
    pub algorithm: Algorithm,
    /// Octets needed.
    pub expected: usize,
    /// Octets given.
    pub found: usize,
}

/// Key and salt of one SA; wiped when dropped, never shown.
pub struct KeyMaterial {
    algorithm: Algorithm,
    octets: Zeroizing<[u8; 36]>,
}

impl KeyMaterial {
    /// Takes the keying material of an SA: the key followed by the 4 octets of salt.
    ///
    /// # Errors
    /// When the length is not that of the algorithm.
    pub fn new(algorithm: Algorithm, material: &[u8]) -> Result<Self, KeyMaterialError> {
        let expected = algorithm.keying_material_length();
        if material.len() != expected {
            return Err(KeyMaterialError {
                algorithm,
                expected,
                found: material.len(),
            });
        }
        let mut octets = Zeroizing::new([0; 36]);
        octets[..expected].copy_from_slice(material);
        Ok(Self { algorithm, octets })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        &self.octets[..self.algorithm.key_length()]
    }

    /// The salt: first 4 octets of the nonce.
    pub fn salt(&self) -> [u8; 4] {
        let mut salt = [0; SALT];
        salt.copy_from_slice(&self.octets[self.algorithm.key_length()..][..SALT]);
        salt
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyMaterial")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_and_salt_are_taken_in_order_and_wrong_lengths_refused() {
        for algorithm in [
            Algorithm::Aes128Gcm,
            Algorithm::Aes256Gcm,
            Algorithm::ChaCha20Poly1305,
        ] {
            let length = algorithm.keying_material_length();
            let material: Vec<u8> = (0..length as u8).collect();
            let key = KeyMaterial::new(algorithm, &material).expect("right length");
            assert_eq!(key.key(), &material[..length - 4]);
            assert_eq!(key.salt(), material[length - 4..]);
            assert!(KeyMaterial::new(algorithm, &material[1..]).is_err());
        }
    }

    #[test]
    fn debug_output_shows_no_key() {
        let key = KeyMaterial::new(Algorithm::Aes128Gcm, &[0xab; 20]).expect("right length");
        assert_eq!(
            format!("{key:?}"),
            "KeyMaterial { algorithm: Aes128Gcm, .. }"
        );
    }
}
