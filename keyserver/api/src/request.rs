//! Bodies of requests to the admin API and of their direct answers.

use serde::{Deserialize, Serialize};

/// Body of `POST …/rekey`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RekeyRequest {
    /// Also replace the staged keys and delete all old ones; without it the staged key simply becomes current early.
    pub replace: bool,
    /// Also make a new key encryption key (new Rekey SA).
    pub key_encryption_key: bool,
}

/// Answer to a rekey or an eviction: it is committed, delivery goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RekeyAccepted {
    /// Generation of the group's keys after the change.
    pub generation: u64,
    /// Members the rekey is sent to.
    pub members: u32,
}

/// Body of `POST …/evict`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvictRequest {
    /// Identity as the member list shows it, or its registration ID in hexadecimal.
    pub member: String,
}

/// Body of `POST …/admit`: an evicted identity may register again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdmitRequest {
    /// Identity as the member list showed it.
    pub member: String,
}

/// Body of `POST …/signing-key/export`. The passphrase travels only inside the mutual TLS connection.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SigningKeyExportRequest {
    /// Passphrase that encrypts the exported PKCS#8 file; at least 12 characters.
    pub passphrase: String,
}

/// Answer to a signing key export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SigningKeyExport {
    /// Label of the key.
    pub label: String,
    /// `ENCRYPTED PRIVATE KEY` in PEM (PKCS#8, RFC 5958).
    pub encrypted_pem: String,
    /// Fingerprint of the public half, as in the status.
    pub fingerprint: String,
}

/// Body of `POST …/signing-key/rotate`: a new key is made, and the present one signs the rekey that tells the members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SigningKeyRotationRequest {
    /// Label of the new key, 1 to 64 characters, not that of the present one; without it the present label with the next
    /// number.
    pub label: Option<String>,
}

/// Body of `POST …/signing-key/import`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SigningKeyImportRequest {
    /// Label of the key; 1 to 64 characters.
    pub label: String,
    /// `ENCRYPTED PRIVATE KEY` in PEM (PKCS#8).
    pub encrypted_pem: String,
    /// Passphrase that opens it.
    pub passphrase: String,
    /// Approves that a different key of the same label is replaced.
    #[serde(default)]
    pub overwrite: bool,
}
