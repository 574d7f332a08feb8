//! Credentials of the registration protocol, from files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gikev2::Secret;
use gikev2::crypto::TrustAnchors;
use gikev2::crypto::signature::PrivateKey;
use gikev2::exchange::authentication::{CertificateCredentials, PreSharedKeys};
use gikev2::responder;
use gikev2::wire::{IdType, Identification};
use keyserver_api::identity::{IdentityKind, IdentityPattern};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificates;
use crate::config::{self, CertificateFiles, Config, ConfigError};

/// Why credentials cannot be used. Each message names the field and the file.
#[derive(Debug, thiserror::Error)]
pub enum IkeError {
    /// The file with pre-shared keys.
    #[error("authentication.preSharedKeysFile: {0}")]
    PreSharedKeys(#[from] ConfigError),
    /// Two keys for one member.
    #[error("authentication.preSharedKeysFile: {}: {identity} has two keys; keep one", path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The member.
        identity: String,
    },
    /// An identity that cannot be used here.
    #[error("{field}: {identity} cannot be used: {what}")]
    Identity {
        /// The field.
        field: &'static str,
        /// The identity.
        identity: String,
        /// Why, and what to do.
        what: &'static str,
    },
    /// A file for authentication by certificate.
    #[error("authentication.certificate.{field}: {}: {cause}", path.display())]
    Certificate {
        /// The field.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
}

/// Who this key server is to members, and how they prove who they are, from the files of `config`.
///
/// # Errors
/// [`IkeError`].
pub fn credentials(config: &Config) -> Result<responder::Credentials, IkeError> {
    let certificate = config.authentication.certificate.as_ref();
    let identity = own_identity(&config.identity, certificate)?;
    let pre_shared_keys: Option<Box<dyn PreSharedKeys>> =
        match &config.authentication.pre_shared_keys_file {
            Some(path) => Some(Box::new(KeyTable::load(path)?)),
            None => None,
        };
    Ok(responder::Credentials {
        identity,
        pre_shared_keys,
        certificate: certificate.map(from_files).transpose()?,
    })
}

/// The responder's configuration with `credentials`.
pub fn responder(credentials: responder::Credentials) -> responder::Config {
    let mut config = responder::Config::new(credentials.identity.clone());
    config.set_credentials(credentials);
    config
}

fn own_identity(
    identity: &IdentityPattern,
    certificate: Option<&CertificateFiles>,
) -> Result<Identification, IkeError> {
    let refuse = |what| IkeError::Identity {
        field: "identity",
        identity: identity.to_string(),
        what,
    };
    match identity.kind {
        IdentityKind::DistinguishedName => {
            let files = certificate.ok_or_else(|| {
                refuse(
                    "a DistinguishedName is proven by authentication.certificate, which is not set",
                )
            })?;
            let subject = certificates::subject(&files.chain_file)
                .ok_or_else(|| refuse("the certificate in chainFile cannot be read"))?;
            Ok(Identification::distinguished_name(&subject))
        }
        IdentityKind::Fqdn | IdentityKind::KeyId | IdentityKind::Address => {
            identification(identity).map_err(refuse)
        }
    }
}

fn identification(identity: &IdentityPattern) -> Result<Identification, &'static str> {
    if identity.value.contains('*') {
        return Err("one identity is needed, not a pattern");
    }
    match identity.kind {
        IdentityKind::Fqdn => Ok(Identification::fqdn(&identity.value.to_ascii_lowercase())),
        IdentityKind::KeyId => Ok(Identification::key_id(identity.value.as_bytes())),
        IdentityKind::Address => identity
            .value
            .parse()
            .map(Identification::address)
            .map_err(|_| "the value is no IP address"),
        IdentityKind::DistinguishedName => {
            Err("a DistinguishedName is proven by a certificate, not by a pre-shared key")
        }
    }
}

fn from_files(files: &CertificateFiles) -> Result<CertificateCredentials, IkeError> {
    let chain = read_chain("chainFile", &files.chain_file)?;
    let unusable = |field, path: &Path| {
        let path = path.to_owned();
        move |cause: String| IkeError::Certificate { field, path, cause }
    };
    let refuse_key = || unusable("keyFile", &files.key_file);
    let key = match PrivateKeyDer::from_pem_file(&files.key_file)
        .map_err(|error| refuse_key()(error.to_string()))?
    {
        PrivateKeyDer::Pkcs8(key) => key,
        _ => {
            return Err(refuse_key()(
                "the key is not PKCS#8; convert it with `openssl pkcs8 -topk8 -nocrypt`".to_owned(),
            ));
        }
    };
    let signer = PrivateKey::from_pkcs8(key.secret_pkcs8_der())
        .map_err(|error| refuse_key()(error.to_string()))?;
    let trust = read_chain("trustFile", &files.trust_file)?;
    let trust_anchors = TrustAnchors::new(trust)
        .map_err(|error| unusable("trustFile", &files.trust_file)(error.to_string()))?;
    Ok(CertificateCredentials {
        chain,
        signer: Arc::new(signer),
        trust_anchors: Arc::new(trust_anchors),
    })
}

fn read_chain(field: &'static str, path: &Path) -> Result<Vec<Vec<u8>>, IkeError> {
    let unusable = |cause: String| IkeError::Certificate {
        field,
        path: path.to_owned(),
        cause,
    };
    let chain: Vec<Vec<u8>> = CertificateDer::pem_file_iter(path)
        .map_err(|error| unusable(error.to_string()))?
        .map(|certificate| certificate.map(|certificate| certificate.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable("holds no PEM certificate".to_owned()));
    }
    Ok(chain)
}

/// Pre-shared keys by identity.
struct KeyTable {
    keys: BTreeMap<Identification, Secret>,
}

impl KeyTable {
    fn load(path: &Path) -> Result<Self, IkeError> {
        let mut keys = BTreeMap::new();
        for entry in config::pre_shared_keys(path)? {
            let identity = identification(&entry.identity).map_err(|what| IkeError::Identity {
                field: "authentication.preSharedKeysFile",
                identity: entry.identity.to_string(),
                what,
            })?;
            if keys
                .insert(identity, Secret::from_slice(&entry.key))
                .is_some()
            {
                return Err(IkeError::Duplicate {
                    path: path.to_owned(),
                    identity: entry.identity.to_string(),
                });
            }
        }
        Ok(Self { keys })
    }
}

impl PreSharedKeys for KeyTable {
    fn key(&self, identity: &Identification) -> Option<&Secret> {
        if identity.id_type == IdType::FQDN {
            let lower = Identification::new(IdType::FQDN, &identity.data.to_ascii_lowercase());
            return self.keys.get(&lower);
        }
        self.keys.get(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_find_their_key_in_any_case() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("psk.yaml");
        let key = "0b".repeat(32);
        std::fs::write(
            &path,
            format!("- {{ identity: {{ type: FQDN, value: M-1.member }}, key: {key} }}\n"),
        )
        .expect("written");
        let table = KeyTable::load(&path)
            .map_err(|error| error.to_string())
            .expect("loads");
        let found = table
            .key(&Identification::fqdn("m-1.MEMBER"))
            .expect("known");
        assert_eq!(found.as_bytes(), [11; 32]);
        assert!(table.key(&Identification::fqdn("m-2.member")).is_none());
        assert!(table.key(&Identification::key_id(b"m-1.member")).is_none());
    }

    #[test]
    fn a_second_key_for_a_member_is_refused() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("psk.yaml");
        let entry = |name: &str| {
            format!(
                "- {{ identity: {{ type: FQDN, value: {name} }}, key: {} }}\n",
                "0b".repeat(32)
            )
        };
        std::fs::write(&path, entry("m-1") + &entry("M-1")).expect("written");
        let error = KeyTable::load(&path).err().expect("two keys");
        assert!(matches!(error, IkeError::Duplicate { .. }), "{error}");
    }
}
