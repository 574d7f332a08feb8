//! Public keys as SubjectPublicKeyInfo, and verifying with them.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ED25519, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::{PublicKey as ParsedKey, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::signature::{LEAST_RSA_BITS, SignatureAlgorithm, SignatureError};

/// Most octets of a SubjectPublicKeyInfo: an RSA key of 8192 bits with room to spare.
const MOST_OCTETS: usize = 2048;
/// Most bits of an RSA modulus.
const MOST_RSA_BITS: usize = 8192;

const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const ED25519_KEY: &str = "1.3.101.112";

/// Kind of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    /// An RSA key that is bound to one algorithm by its own parameters (RFC 4055 §3.1).
    RsaPss(SignatureAlgorithm),
    P256,
    P384,
    Ed25519,
}

/// A public key whose kind and size were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: Kind,
    /// The subjectPublicKey bits: RSAPublicKey, uncompressed point, or 32 octets.
    key: Vec<u8>,
    spki: Vec<u8>,
}

impl PublicKey {
    /// Reads a DER SubjectPublicKeyInfo with nothing behind it.
    ///
    /// # Errors
    /// [`SignatureError::PublicKey`] for other kinds of keys, [`SignatureError::WeakKey`] for short RSA keys.
    pub fn from_spki(der: &[u8]) -> Result<Self, SignatureError> {
        if der.len() > MOST_OCTETS {
            return Err(SignatureError::PublicKey);
        }
        let (rest, spki) =
            SubjectPublicKeyInfo::from_der(der).map_err(|_| SignatureError::PublicKey)?;
        if !rest.is_empty() {
            return Err(SignatureError::PublicKey);
        }
        let kind = kind(&spki)?;
        Ok(Self {
            kind,
            key: spki.subject_public_key.data.to_vec(),
            spki: der.to_vec(),
        })
    }

    /// The DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Whether this kind of key can make signatures of the algorithm with this DER AlgorithmIdentifier.
    pub fn supports(&self, algorithm_identifier: &[u8]) -> bool {
        SignatureAlgorithm::from_algorithm_identifier(algorithm_identifier)
            .is_some_and(|algorithm| self.verification(algorithm).is_some())
    }

    /// Verifies `signature` over `message`. `algorithm_identifier` is the DER AlgorithmIdentifier of the AUTH payload.
    ///
    /// # Errors
    /// [`SignatureError::Algorithm`] when the algorithm is not on our list or not for this key,
    /// [`SignatureError::Invalid`] when the signature does not verify.
    pub fn verify(
        &self,
        algorithm_identifier: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let algorithm = SignatureAlgorithm::from_algorithm_identifier(algorithm_identifier)
            .and_then(|algorithm| self.verification(algorithm))
            .ok_or(SignatureError::Algorithm)?;
        self.verify_with(algorithm, message, signature)
    }

    /// Whether this is an RSA key not bound to RSASSA-PSS.
    pub(super) fn is_rsa(&self) -> bool {
        self.kind == Kind::Rsa
    }

    /// The library's name of an algorithm, if it is one for this kind of key.
    pub(super) fn verification(
        &self,
        algorithm: SignatureAlgorithm,
    ) -> Option<&'static dyn VerificationAlgorithm> {
        verification(self.kind, algorithm)
    }

    /// Verifies with an algorithm of the library.
    pub(super) fn verify_with(
        &self,
        algorithm: &'static dyn VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        UnparsedPublicKey::new(algorithm, &self.key)
            .verify(message, signature)
            .map_err(|_| SignatureError::Invalid)
    }
}

fn verification(
    kind: Kind,
    algorithm: SignatureAlgorithm,
) -> Option<&'static dyn VerificationAlgorithm> {
    let kind = match kind {
        Kind::RsaPss(bound) if bound == algorithm => Kind::Rsa,
        kind => kind,
    };
    Some(match (kind, algorithm) {
        (Kind::Rsa, SignatureAlgorithm::RsaPssSha256) => &RSA_PSS_2048_8192_SHA256,
        (Kind::Rsa, SignatureAlgorithm::RsaPssSha384) => &RSA_PSS_2048_8192_SHA384,
        (Kind::Rsa, SignatureAlgorithm::RsaPssSha512) => &RSA_PSS_2048_8192_SHA512,
        (Kind::P256, SignatureAlgorithm::EcdsaSha256) => &ECDSA_P256_SHA256_ASN1,
        (Kind::P256, SignatureAlgorithm::EcdsaSha384) => &ECDSA_P256_SHA384_ASN1,
        (Kind::P256, SignatureAlgorithm::EcdsaSha512) => &ECDSA_P256_SHA512_ASN1,
        (Kind::P384, SignatureAlgorithm::EcdsaSha256) => &ECDSA_P384_SHA256_ASN1,
        (Kind::P384, SignatureAlgorithm::EcdsaSha384) => &ECDSA_P384_SHA384_ASN1,
        (Kind::P384, SignatureAlgorithm::EcdsaSha512) => &ECDSA_P384_SHA512_ASN1,
        (Kind::Ed25519, SignatureAlgorithm::Ed25519) => &ED25519,
        _ => return None,
    })
}

fn kind(spki: &SubjectPublicKeyInfo<'_>) -> Result<Kind, SignatureError> {
    let curve = || {
        spki.algorithm
            .parameters
            .as_ref()
            .and_then(|any| any.as_oid().ok())
            .map(|oid| oid.to_id_string())
    };
    match spki.algorithm.algorithm.to_id_string().as_str() {
        RSA_ENCRYPTION => check_modulus(spki).map(|()| Kind::Rsa),
        RSASSA_PSS => {
            // The parameters must be there, and they bind the key.
            let algorithm = content(spki.raw)
                .and_then(SignatureAlgorithm::at_start_of)
                .ok_or(SignatureError::PublicKey)?;
            check_modulus(spki).map(|()| Kind::RsaPss(algorithm))
        }
        EC_PUBLIC_KEY => match curve().as_deref() {
            Some(P256) => Ok(Kind::P256),
            Some(P384) => Ok(Kind::P384),
            _ => Err(SignatureError::PublicKey),
        },
        ED25519_KEY if spki.subject_public_key.data.len() == 32 => Ok(Kind::Ed25519),
        _ => Err(SignatureError::PublicKey),
    }
}

fn check_modulus(spki: &SubjectPublicKeyInfo<'_>) -> Result<(), SignatureError> {
    let (rest, key) = RSAPublicKey::from_der(&spki.subject_public_key.data)
        .map_err(|_| SignatureError::PublicKey)?;
    let bits = ParsedKey::RSA(key).key_size();
    match bits {
        _ if !rest.is_empty() => Err(SignatureError::PublicKey),
        LEAST_RSA_BITS..=MOST_RSA_BITS => Ok(()),
        _ if bits < LEAST_RSA_BITS => Err(SignatureError::WeakKey { bits }),
        _ => Err(SignatureError::PublicKey),
    }
}

/// What is inside a DER SEQUENCE that parsed before; only its header is skipped.
pub(super) fn content(sequence: &[u8]) -> Option<&[u8]> {
    let header = match sequence.get(1)? {
        0..=0x7f => 2,
        long => usize::from(long & 0x7f).checked_add(2)?,
    };
    sequence.get(header..)
}
