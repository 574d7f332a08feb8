//! Signatures of AUTH payloads with method 14 (RFC 7427, RFC 8420): making them.
//!
//! The list of algorithms is closed. SHA-1 and PKCS#1 v1.5 are not on it.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PSS_SHA256, RsaKeyPair,
};

use crate::wire::HashAlgorithmId;

/// Least bits of an RSA modulus.
pub const LEAST_RSA_BITS: usize = 2048;

/// DER AlgorithmIdentifier of RSASSA-PSS with a hash of SHA-2, MGF1 with the same hash, and a salt of the hash's length
/// (RFC 7427 A.4). The hashes' object identifiers differ in the last octet only.
const fn rsa_pss_identifier(hash: u8, salt_length: u8) -> [u8; 67] {
    [
        0x30,
        0x41,
        0x06,
        0x09,
        0x2a,
        0x86,
        0x48,
        0x86,
        0xf7,
        0x0d,
        0x01,
        0x01,
        0x0a,
        0x30,
        0x34,
        0xa0,
        0x0f,
        0x30,
        0x0d,
        0x06,
        0x09,
        0x60,
        0x86,
        0x48,
        0x01,
        0x65,
        0x03,
        0x04,
        0x02,
        hash,
        0x05,
        0x00,
        0xa1,
        0x1c,
        0x30,
        0x1a,
        0x06,
        0x09,
        0x2a,
        0x86,
        0x48,
        0x86,
        0xf7,
        0x0d,
        0x01,
        0x01,
        0x08,
        0x30,
        0x0d,
        0x06,
        0x09,
        0x60,
        0x86,
        0x48,
        0x01,
        0x65,
        0x03,
        0x04,
        0x02,
        hash,
        0x05,
        0x00,
        0xa2,
        0x03,
        0x02,
        0x01,
        salt_length,
    ]
}
const RSA_PSS_SHA256_IDENTIFIER: &[u8] = &rsa_pss_identifier(1, 32);
const RSA_PSS_SHA384_IDENTIFIER: &[u8] = &rsa_pss_identifier(2, 48);
const RSA_PSS_SHA512_IDENTIFIER: &[u8] = &rsa_pss_identifier(3, 64);
/// DER AlgorithmIdentifier of ECDSA with SHA-256 (RFC 7427 A.3).
const ECDSA_SHA256_IDENTIFIER: &[u8] = &[
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
];
/// DER AlgorithmIdentifier of ECDSA with SHA-384 (RFC 7427 A.3).
const ECDSA_SHA384_IDENTIFIER: &[u8] = &[
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03,
];
/// DER AlgorithmIdentifier of ECDSA with SHA-512 (RFC 7427 A.3).
const ECDSA_SHA512_IDENTIFIER: &[u8] = &[
    0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04,
];
/// DER AlgorithmIdentifier of Ed25519 (RFC 8420 §2).
const ED25519_IDENTIFIER: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];

/// A signature algorithm, hash included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureAlgorithm {
    /// ECDSA with SHA-256; the curve comes from the key.
    EcdsaSha256,
    /// ECDSA with SHA-384; the curve comes from the key.
    EcdsaSha384,
    /// ECDSA with SHA-512; verified, never made.
    EcdsaSha512,
    /// Ed25519.
    Ed25519,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256, salt of 32 octets.
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384, MGF1 with SHA-384, salt of 48 octets; verified, never made.
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512, MGF1 with SHA-512, salt of 64 octets; verified, never made.
    RsaPssSha512,
}

impl SignatureAlgorithm {
    /// Every algorithm we can verify.
    pub const ALL: [Self; 7] = [
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::EcdsaSha512,
        Self::Ed25519,
        Self::RsaPssSha256,
        Self::RsaPssSha384,
        Self::RsaPssSha512,
    ];

    /// Its DER AlgorithmIdentifier, exactly as it stands in AUTH payloads and GCAUTH transforms.
    pub fn algorithm_identifier(self) -> &'static [u8] {
        match self {
            Self::EcdsaSha256 => ECDSA_SHA256_IDENTIFIER,
            Self::EcdsaSha384 => ECDSA_SHA384_IDENTIFIER,
            Self::EcdsaSha512 => ECDSA_SHA512_IDENTIFIER,
            Self::Ed25519 => ED25519_IDENTIFIER,
            Self::RsaPssSha256 => RSA_PSS_SHA256_IDENTIFIER,
            Self::RsaPssSha384 => RSA_PSS_SHA384_IDENTIFIER,
            Self::RsaPssSha512 => RSA_PSS_SHA512_IDENTIFIER,
        }
    }

    /// The algorithm of an AlgorithmIdentifier, compared octet by octet; `None` for those not on the list.
    pub fn from_algorithm_identifier(der: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.algorithm_identifier() == der)
    }

    /// The algorithm whose AlgorithmIdentifier `der` begins with. An AlgorithmIdentifier is complete in itself, so what
    /// follows cannot be a part of it.
    pub(super) fn at_start_of(der: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| der.starts_with(algorithm.algorithm_identifier()))
    }

    /// The hash a peer must have announced in SIGNATURE_HASH_ALGORITHMS (RFC 7427 §4).
    pub fn hash(self) -> HashAlgorithmId {
        match self {
            Self::EcdsaSha256 | Self::RsaPssSha256 => HashAlgorithmId::SHA2_256,
            Self::EcdsaSha384 | Self::RsaPssSha384 => HashAlgorithmId::SHA2_384,
            Self::EcdsaSha512 | Self::RsaPssSha512 => HashAlgorithmId::SHA2_512,
            Self::Ed25519 => HashAlgorithmId::IDENTITY,
        }
    }
}

/// Why a key or signature cannot be used. There is no detail about a signature on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The private key is not PKCS#8 DER of a kind we can sign with.
    #[error("the private key is not PKCS#8 of an RSA, ECDSA P-256, ECDSA P-384 or Ed25519 key")]
    PrivateKey,
    /// The public key is not a SubjectPublicKeyInfo of a kind we know.
    #[error("the public key is not one of an RSA, ECDSA P-256, ECDSA P-384 or Ed25519 key")]
    PublicKey,
    /// The RSA key is too short.
    #[error("the RSA key has {bits} bits, at least {LEAST_RSA_BITS} are needed")]
    WeakKey {
        /// Bits of the modulus.
        bits: usize,
    },
    /// The algorithm is not accepted, or not with this kind of key.
    #[error("the signature algorithm is not accepted for this key")]
    Algorithm,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    Invalid,
    /// The cryptographic library could not sign.
    #[error("signing failed")]
    Signing,
}

/// Signs with a private key that it alone holds.
pub trait Signer: Send + Sync {
    /// The algorithm of every signature.
    fn algorithm(&self) -> SignatureAlgorithm;

    /// Signs `message`; the algorithm hashes by itself.
    ///
    /// # Errors
    /// [`SignatureError::Signing`].
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError>;

    /// Octets of a signature. ECDSA signatures are DER and may be shorter than this.
    fn signature_length(&self) -> usize;

    /// DER SubjectPublicKeyInfo of the public key.
    fn public_key_spki(&self) -> &[u8];
}

/// A [`Signer`] on a private key in memory.
pub struct PrivateKey {
    key: Key,
    algorithm: SignatureAlgorithm,
    spki: Vec<u8>,
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Takes a PKCS#8 DER private key: RSA (then RSASSA-PSS with SHA-256), ECDSA P-256 or P-384, or Ed25519.
    ///
    /// # Errors
    /// [`SignatureError::PrivateKey`] when it is something else, [`SignatureError::WeakKey`] for a short RSA key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SignatureError> {
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            let spki = spki(key.public_key())?;
            return Ok(Self {
                key: Key::Ed25519(key),
                algorithm: SignatureAlgorithm::Ed25519,
                spki,
            });
        }
        for (algorithm, signing) in [
            (
                SignatureAlgorithm::EcdsaSha256,
                &ECDSA_P256_SHA256_ASN1_SIGNING,
            ),
            (
                SignatureAlgorithm::EcdsaSha384,
                &ECDSA_P384_SHA384_ASN1_SIGNING,
            ),
        ] {
            if let Ok(key) = EcdsaKeyPair::from_pkcs8(signing, der) {
                let spki = spki(key.public_key())?;
                return Ok(Self {
                    key: Key::Ecdsa(key),
                    algorithm,
                    spki,
                });
            }
        }
        let key = RsaKeyPair::from_pkcs8(der).map_err(|_| SignatureError::PrivateKey)?;
        let bits = key.public_modulus_len() * 8;
        if bits < LEAST_RSA_BITS {
            return Err(SignatureError::WeakKey { bits });
        }
        let spki = spki(key.public_key())?;
        Ok(Self {
            key: Key::Rsa(Box::new(key)),
            algorithm: SignatureAlgorithm::RsaPssSha256,
            spki,
        })
    }
}

fn spki<K: AsDer<PublicKeyX509Der<'static>>>(key: &K) -> Result<Vec<u8>, SignatureError> {
    key.as_der()
        .map(|der| der.as_ref().to_vec())
        .map_err(|_| SignatureError::PrivateKey)
}

impl Signer for PrivateKey {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PSS_SHA256, &random, message, &mut signature)
                    .map_err(|_| SignatureError::Signing)?;
                Ok(signature)
            }
            Key::Ecdsa(key) => key
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| SignatureError::Signing),
            Key::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }

    fn signature_length(&self) -> usize {
        match (&self.key, self.algorithm) {
            (Key::Rsa(key), _) => key.public_modulus_len(),
            (Key::Ed25519(_), _) => 64,
            (Key::Ecdsa(_), SignatureAlgorithm::EcdsaSha384) => 104,
            (Key::Ecdsa(_), _) => 72,
        }
    }

    fn public_key_spki(&self) -> &[u8] {
        &self.spki
    }
}
