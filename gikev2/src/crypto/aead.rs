//! Authenticated encryption for IKE messages (RFC 5282, RFC 7634): key and salt together, explicit 8-octet IV.

use aws_lc_rs::aead;
use zeroize::Zeroizing;

use crate::wire::registry::EncryptionId;
use crate::wire::sa::Transform;

use super::secret::Secret;

/// Octets of the explicit IV.
pub const IV_LENGTH: usize = 8;
/// Octets of the integrity check value.
pub const INTEGRITY_CHECK_LENGTH: usize = 16;
/// Octets of the salt that follows the key in the keying material.
pub const SALT_LENGTH: usize = 4;

/// An AEAD cipher with its key length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AeadAlgorithm {
    /// ENCR_AES_GCM_16 with a 128-bit key.
    AesGcm128,
    /// ENCR_AES_GCM_16 with a 256-bit key.
    AesGcm256,
    /// ENCR_CHACHA20_POLY1305.
    ChaCha20Poly1305,
}

/// A message or fragment is not authentic. There is no detail on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("integrity check failed")]
pub struct OpenError;

/// A key cannot be made, or a plaintext is too long for the cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AeadError {
    /// The keying material is not exactly key and salt.
    #[error("keying material of {found} octets, {expected} needed")]
    KeyLength {
        /// Octets of key and salt.
        expected: usize,
        /// Octets given.
        found: usize,
    },
    /// The plaintext is longer than the cipher allows.
    #[error("plaintext too long")]
    TooLong,
}

impl AeadAlgorithm {
    /// The cipher of an encryption transform; `None` for those we do not have, and for those with an attribute we do
    /// not know (RFC 7296 §3.3.6).
    pub fn from_transform(transform: &Transform) -> Option<Self> {
        if transform.has_unknown_attribute() {
            return None;
        }
        Self::from_id(EncryptionId(transform.id), transform.key_length())
    }

    /// The cipher of a transform ID and Key Length attribute; `None` for those we do not have.
    pub fn from_id(id: EncryptionId, key_bits: Option<u16>) -> Option<Self> {
        match (id, key_bits) {
            (EncryptionId::AES_GCM_16, Some(128)) => Some(Self::AesGcm128),
            (EncryptionId::AES_GCM_16, Some(256)) => Some(Self::AesGcm256),
            // RFC 7634 §4: no Key Length attribute.
            (EncryptionId::CHACHA20_POLY1305, None) => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// The encryption transform.
    pub fn transform(self) -> Transform {
        match self {
            Self::AesGcm128 => Transform::encryption(EncryptionId::AES_GCM_16, Some(128)),
            Self::AesGcm256 => Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
            Self::ChaCha20Poly1305 => Transform::encryption(EncryptionId::CHACHA20_POLY1305, None),
        }
    }

    /// Octets of the key without salt.
    pub fn key_length(self) -> usize {
        match self {
            Self::AesGcm128 => 16,
            Self::AesGcm256 | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// Octets of key and salt, as they appear in keying material.
    pub fn keying_material_length(self) -> usize {
        self.key_length() + SALT_LENGTH
    }

    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::AesGcm128 => &aead::AES_128_GCM,
            Self::AesGcm256 => &aead::AES_256_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }
}

/// A cipher with key and salt, ready to use.
pub struct AeadKey {
    key: aead::LessSafeKey,
    material: Secret,
    algorithm: AeadAlgorithm,
}

impl AeadKey {
    /// A key from keying material: the key, then the salt.
    ///
    /// # Errors
    /// [`AeadError::KeyLength`] when the material has another length.
    pub fn new(algorithm: AeadAlgorithm, material: &[u8]) -> Result<Self, AeadError> {
        let wrong_length = AeadError::KeyLength {
            expected: algorithm.keying_material_length(),
            found: material.len(),
        };
        if material.len() != algorithm.keying_material_length() {
            return Err(wrong_length);
        }
        let (key, _) = material.split_at(algorithm.key_length());
        let key = aead::UnboundKey::new(algorithm.algorithm(), key).map_err(|_| wrong_length)?;
        Ok(Self {
            key: aead::LessSafeKey::new(key),
            material: Secret::from_slice(material),
            algorithm,
        })
    }

    /// The cipher.
    pub fn algorithm(&self) -> AeadAlgorithm {
        self.algorithm
    }

    /// Key and salt, as [`AeadKey::new`] took them.
    pub fn material(&self) -> &Secret {
        &self.material
    }

    /// Encrypts `octets` and appends the integrity check value. The IV must never repeat under one key.
    ///
    /// # Errors
    /// [`AeadError::TooLong`] when the plaintext exceeds the cipher's limit.
    pub fn seal(
        &self,
        iv: [u8; IV_LENGTH],
        associated_data: &[u8],
        octets: &mut Vec<u8>,
    ) -> Result<(), AeadError> {
        self.key
            .seal_in_place_append_tag(self.nonce(iv), aead::Aad::from(associated_data), octets)
            .map_err(|_| AeadError::TooLong)
    }

    /// Verifies and decrypts ciphertext followed by its integrity check value.
    ///
    /// # Errors
    /// [`OpenError`] when it is not authentic.
    pub fn open(
        &self,
        iv: [u8; IV_LENGTH],
        associated_data: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let mut octets = Zeroizing::new(sealed.to_vec());
        let length = self
            .key
            .open_in_place(
                self.nonce(iv),
                aead::Aad::from(associated_data),
                &mut octets,
            )
            .map_err(|_| OpenError)?
            .len();
        octets.truncate(length);
        Ok(octets)
    }

    fn nonce(&self, iv: [u8; IV_LENGTH]) -> aead::Nonce {
        let mut nonce = [0; SALT_LENGTH + IV_LENGTH];
        let salt = self
            .material
            .as_bytes()
            .split_at(self.algorithm.key_length())
            .1;
        nonce[..SALT_LENGTH].copy_from_slice(salt);
        nonce[SALT_LENGTH..].copy_from_slice(&iv);
        aead::Nonce::assume_unique_for_key(nonce)
    }
}
