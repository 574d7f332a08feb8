//! From replicated octets to keys that sign and encrypt rekeys.

use gikev2::crypto::aead::AeadAlgorithm;
use gikev2::crypto::signature::{PrivateKey, SignatureAlgorithm as WireAlgorithm, Signer};
use gikev2::keys::group::RekeySaKeys;
use keyserver_api::policy::SignatureAlgorithm;

use crate::error::PlanError;
use crate::secret::SecretBytes;
use crate::state::signing_key::SigningKey;

/// The protocol's name of a policy's algorithm.
const fn wire_algorithm(algorithm: SignatureAlgorithm) -> WireAlgorithm {
    match algorithm {
        SignatureAlgorithm::RsaPss3072 => WireAlgorithm::RsaPssSha256,
        SignatureAlgorithm::Ed25519 => WireAlgorithm::Ed25519,
    }
}

/// The DER AlgorithmIdentifier of an algorithm's signatures.
pub fn algorithm_identifier(algorithm: SignatureAlgorithm) -> Vec<u8> {
    wire_algorithm(algorithm).algorithm_identifier().to_vec()
}

/// Signs with a group's signing key.
///
/// # Errors
/// [`PlanError::SigningKey`] when the key is not of its algorithm.
pub fn signer(key: &SigningKey) -> Result<Box<dyn Signer>, PlanError> {
    let private =
        PrivateKey::from_pkcs8(key.private_key.as_bytes()).map_err(|_| PlanError::SigningKey)?;
    if private.algorithm() != wire_algorithm(key.algorithm) {
        return Err(PlanError::SigningKey);
    }
    Ok(Box::new(private))
}

/// The public half of a PKCS#8 private key as DER SubjectPublicKeyInfo.
///
/// # Errors
/// [`PlanError::SigningKey`] when the key cannot sign with `algorithm`.
pub fn public_key(
    private_key: &SecretBytes,
    algorithm: SignatureAlgorithm,
) -> Result<Vec<u8>, PlanError> {
    let private =
        PrivateKey::from_pkcs8(private_key.as_bytes()).map_err(|_| PlanError::SigningKey)?;
    if private.algorithm() != wire_algorithm(algorithm) {
        return Err(PlanError::SigningKey);
    }
    Ok(private.public_key_spki().to_vec())
}

/// Keys of a Rekey SA.
///
/// # Errors
/// [`PlanError::RekeySa`] when the keying material has the wrong length.
pub fn rekey_sa_keys(keying_material: &SecretBytes) -> Result<RekeySaKeys, PlanError> {
    RekeySaKeys::new(AeadAlgorithm::AesGcm256, &keying_material.to_secret())
        .map_err(|_| PlanError::RekeySa)
}
