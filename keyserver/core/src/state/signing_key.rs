//! The key that signs a group's rekeys.

use keyserver_api::policy::SignatureAlgorithm;
use serde::{Deserialize, Serialize};

use crate::secret::SecretBytes;

/// The key that signs a group's rekeys; the same on every key server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SigningKey {
    /// Its label.
    pub label: String,
    /// Algorithm it signs with.
    pub algorithm: SignatureAlgorithm,
    /// PKCS#8 DER.
    pub private_key: SecretBytes,
    /// DER SubjectPublicKeyInfo of the public half.
    pub public_key: Vec<u8>,
}

/// The words status shows for an algorithm.
pub const fn algorithm_name(algorithm: SignatureAlgorithm) -> &'static str {
    match algorithm {
        SignatureAlgorithm::RsaPss3072 => "RSASSA-PSS 3072",
        SignatureAlgorithm::Ed25519 => "Ed25519",
    }
}
