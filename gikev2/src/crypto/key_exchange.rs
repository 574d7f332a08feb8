//! Key exchange methods (RFC 5903, RFC 8031, FIPS 203): private values come from the caller's entropy, lengths are
//! exact, and degenerate public values are refused (RFC 6989).

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use ml_kem::kem::Decapsulate;
use ml_kem::ml_kem_768;
use ml_kem::{KeyExport, Seed};
use zeroize::Zeroizing;

use crate::Entropy;
use crate::wire::registry::KeyExchangeMethod;

use super::secret::Secret;

/// Octets of an ML-KEM-768 encapsulation key.
const ENCAPSULATION_KEY_LENGTH: usize = 1184;
/// Octets of an ML-KEM-768 ciphertext.
const CIPHERTEXT_LENGTH: usize = 1088;
/// Draws of a private scalar before giving up; one fails with probability below 2^-32.
const SCALAR_ATTEMPTS: usize = 16;

/// Why a key exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyExchangeError {
    /// We do not have the method.
    #[error("key exchange method {0} is not supported")]
    Unsupported(KeyExchangeMethod),
    /// The peer's value does not have the length of the method.
    #[error("public value of {method}: {expected} octets needed, {found} found")]
    Length {
        /// The method.
        method: KeyExchangeMethod,
        /// Octets of a public value.
        expected: usize,
        /// Octets received.
        found: usize,
    },
    /// The peer's value is not on the curve, of small order, or fails the FIPS 203 check.
    #[error("public value of {0} is not valid")]
    InvalidPublicValue(KeyExchangeMethod),
    /// The random source never gave a valid private value.
    #[error("random source gave no valid private value for {0}")]
    Entropy(KeyExchangeMethod),
}

/// An elliptic curve of the cryptographic library.
#[derive(Clone, Copy)]
struct Curve {
    method: KeyExchangeMethod,
    algorithm: &'static agreement::Algorithm,
    /// Octets of the private value.
    private_length: usize,
    /// Octets of the value in the KE payload.
    public_length: usize,
    /// The library's encoding of a point begins with 04 (uncompressed); the KE payload's does not (RFC 5903 §7).
    has_point_prefix: bool,
}

impl Curve {
    fn of(method: KeyExchangeMethod) -> Option<Self> {
        let (algorithm, private_length, public_length, has_point_prefix) = match method {
            KeyExchangeMethod::CURVE25519 => (&agreement::X25519, 32, 32, false),
            KeyExchangeMethod::ECP_256 => (&agreement::ECDH_P256, 32, 64, true),
            KeyExchangeMethod::ECP_384 => (&agreement::ECDH_P384, 48, 96, true),
            _ => return None,
        };
        Some(Self {
            method,
            algorithm,
            private_length,
            public_length,
            has_point_prefix,
        })
    }

    /// Draws a private value; a scalar that is zero or not below the order is drawn again.
    fn private_key(self, entropy: &mut dyn Entropy) -> Result<PrivateKey, KeyExchangeError> {
        let mut octets = Zeroizing::new(vec![0; self.private_length]);
        for _ in 0..SCALAR_ATTEMPTS {
            entropy.fill(&mut octets);
            if let Ok(key) = PrivateKey::from_private_key(self.algorithm, &octets) {
                return Ok(key);
            }
        }
        Err(KeyExchangeError::Entropy(self.method))
    }

    fn public_value(self, key: &PrivateKey) -> Result<Vec<u8>, KeyExchangeError> {
        let public = key
            .compute_public_key()
            .map_err(|_| KeyExchangeError::Entropy(self.method))?;
        let octets = public.as_ref();
        let octets = if self.has_point_prefix {
            octets.get(1..).unwrap_or_default()
        } else {
            octets
        };
        Ok(octets.to_vec())
    }

    /// The shared secret: for the NIST curves the x coordinate alone (RFC 5903 §7).
    fn agree(self, key: &PrivateKey, peer: &[u8]) -> Result<Secret, KeyExchangeError> {
        check_length(self.method, self.public_length, peer)?;
        let mut encoded = Vec::with_capacity(self.public_length + 1);
        if self.has_point_prefix {
            encoded.push(4);
        }
        encoded.extend_from_slice(peer);
        let invalid = KeyExchangeError::InvalidPublicValue(self.method);
        let peer = UnparsedPublicKey::new(self.algorithm, encoded);
        agreement::agree(key, peer, invalid, |secret| {
            // RFC 8031 §3.2: an all-zero result means a point of small order.
            if secret.iter().all(|octet| *octet == 0) {
                return Err(invalid);
            }
            Ok(Secret::from_slice(secret))
        })
    }
}

fn check_length(
    method: KeyExchangeMethod,
    expected: usize,
    value: &[u8],
) -> Result<(), KeyExchangeError> {
    if value.len() == expected {
        return Ok(());
    }
    Err(KeyExchangeError::Length {
        method,
        expected,
        found: value.len(),
    })
}

/// Whether we have the method.
pub fn is_supported(method: KeyExchangeMethod) -> bool {
    method == KeyExchangeMethod::ML_KEM_768 || Curve::of(method).is_some()
}

/// The initiator's half of a key exchange, between sending its value and receiving the peer's.
pub struct PendingKeyExchange {
    method: KeyExchangeMethod,
    public: Vec<u8>,
    private: Private,
}

enum Private {
    Curve(Curve, PrivateKey),
    MlKem768(Box<ml_kem_768::DecapsulationKey>),
}

impl PendingKeyExchange {
    /// Draws a private value.
    ///
    /// # Errors
    /// [`KeyExchangeError::Unsupported`], [`KeyExchangeError::Entropy`].
    pub fn new(
        method: KeyExchangeMethod,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, KeyExchangeError> {
        if method == KeyExchangeMethod::ML_KEM_768 {
            let mut seed = Zeroizing::new([0; 64]);
            entropy.fill(seed.as_mut());
            let key = ml_kem_768::DecapsulationKey::from_seed(Seed::from(*seed));
            return Ok(Self {
                method,
                public: key.encapsulation_key().to_bytes().to_vec(),
                private: Private::MlKem768(Box::new(key)),
            });
        }
        let curve = Curve::of(method).ok_or(KeyExchangeError::Unsupported(method))?;
        let key = curve.private_key(entropy)?;
        Ok(Self {
            method,
            public: curve.public_value(&key)?,
            private: Private::Curve(curve, key),
        })
    }

    /// The method.
    pub fn method(&self) -> KeyExchangeMethod {
        self.method
    }

    /// The value for our KE payload.
    pub fn public_value(&self) -> &[u8] {
        &self.public
    }

    /// The shared secret. With ML-KEM a corrupted ciphertext gives an unrelated secret instead of an error.
    ///
    /// # Errors
    /// [`KeyExchangeError::Length`], [`KeyExchangeError::InvalidPublicValue`].
    pub fn finish(&self, peer: &[u8]) -> Result<Secret, KeyExchangeError> {
        match &self.private {
            Private::Curve(curve, key) => curve.agree(key, peer),
            Private::MlKem768(key) => {
                check_length(self.method, CIPHERTEXT_LENGTH, peer)?;
                let shared = key
                    .decapsulate_slice(peer)
                    .map_err(|_| KeyExchangeError::InvalidPublicValue(self.method))?;
                let shared = Zeroizing::new(shared);
                Ok(Secret::from_slice(shared.as_slice()))
            }
        }
    }
}

/// The responder's side in one step: its public value (for ML-KEM the ciphertext) and the shared secret.
///
/// # Errors
/// [`KeyExchangeError`].
pub fn respond(
    method: KeyExchangeMethod,
    peer: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<(Vec<u8>, Secret), KeyExchangeError> {
    if method == KeyExchangeMethod::ML_KEM_768 {
        return encapsulate(peer, entropy);
    }
    let curve = Curve::of(method).ok_or(KeyExchangeError::Unsupported(method))?;
    let key = curve.private_key(entropy)?;
    let secret = curve.agree(&key, peer)?;
    Ok((curve.public_value(&key)?, secret))
}

/// ML-KEM-768 encapsulation with the FIPS 203 §7.2 check of the peer's key.
fn encapsulate(
    peer: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<(Vec<u8>, Secret), KeyExchangeError> {
    let method = KeyExchangeMethod::ML_KEM_768;
    check_length(method, ENCAPSULATION_KEY_LENGTH, peer)?;
    let invalid = KeyExchangeError::InvalidPublicValue(method);
    let encoded = peer.try_into().map_err(|_| invalid)?;
    let key = ml_kem_768::EncapsulationKey::new(encoded).map_err(|_| invalid)?;
    let mut message = Zeroizing::new([0; 32]);
    entropy.fill(message.as_mut());
    let (ciphertext, shared) = key.encapsulate_deterministic(&(*message).into());
    let shared = Zeroizing::new(shared);
    Ok((ciphertext.to_vec(), Secret::from_slice(shared.as_slice())))
}
