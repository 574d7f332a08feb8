//! From the configuration's files to what a membership needs: keys, certificates, identities.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gikev2::Secret;
use gikev2::crypto::TrustAnchors;
use gikev2::crypto::signature::PrivateKey;
use gikev2::exchange::authentication::{CertificateCredentials, Credentials};
use gikev2::exchange::identity::IdentityPattern;
use gikev2::wire::{IdType, Identification};
use gm_core::member::{DirectionOverride, GroupSettings, Timing};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::config::{
    CertificateConfig, Config, DirectionConfig, GroupConfig, IdentityConfig, IdentityKind,
};

/// Fewest octets of a pre-shared key.
const SHORTEST_KEY: usize = 16;

/// Why credentials cannot be used. Each message names the file.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {problem}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl CredentialError {
    fn unusable(path: &Path, problem: impl ToString) -> Self {
        Self::Unusable {
            path: path.to_owned(),
            problem: problem.to_string(),
        }
    }
}

/// The settings of every group of `config`, with its files read.
///
/// # Errors
/// [`CredentialError`] for the first file that cannot be used.
pub fn group_settings(config: &Config) -> Result<Vec<GroupSettings>, CredentialError> {
    config
        .groups
        .iter()
        .map(|group| settings(config, group))
        .collect()
}

fn settings(config: &Config, group: &GroupConfig) -> Result<GroupSettings, CredentialError> {
    let authentication = &group.authentication;
    let (credentials, own_name) = match (
        &authentication.pre_shared_key_file,
        &authentication.certificate,
    ) {
        (_, Some(files)) => certificate(config, files)?,
        (Some(file), None) => (pre_shared_key(&config.resolve(file))?, None),
        (None, None) => {
            // The configuration was checked for this.
            let problem = "names no credentials";
            return Err(CredentialError::unusable(&config.base, problem));
        }
    };
    let identity = match (config.identity.kind, own_name) {
        (IdentityKind::DistinguishedName, Some(name)) => Identification::distinguished_name(&name),
        _ => identification(&config.identity),
    };
    Ok(GroupSettings {
        group_id: group.group_id,
        key_servers: group.key_servers.clone(),
        identity,
        key_server_identities: group.key_server_identities.iter().map(pattern).collect(),
        credentials,
        bypass: group.bypass_selectors(),
        direction: match group.direction {
            DirectionConfig::Inherit => DirectionOverride::Inherit,
            DirectionConfig::Bidirectional => DirectionOverride::Bidirectional,
            DirectionConfig::InboundOnly => DirectionOverride::InboundOnly,
            DirectionConfig::InboundOptional => DirectionOverride::InboundOptional,
        },
        timing: Timing::default(),
    })
}

fn id_type(kind: IdentityKind) -> IdType {
    match kind {
        IdentityKind::Fqdn => IdType::FQDN,
        IdentityKind::KeyId => IdType::KEY_ID,
        IdentityKind::DistinguishedName => IdType::DER_ASN1_DN,
    }
}

fn identification(identity: &IdentityConfig) -> Identification {
    Identification::new(id_type(identity.kind), identity.value.as_bytes())
}

fn pattern(identity: &IdentityConfig) -> IdentityPattern {
    IdentityPattern::new(id_type(identity.kind), identity.value.as_bytes())
}

fn pre_shared_key(path: &Path) -> Result<Credentials, CredentialError> {
    let text = read(path)?;
    let digits: Zeroizing<String> = Zeroizing::new(text.split_whitespace().collect());
    let octets = hex::decode(digits.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| CredentialError::unusable(path, "must hold hexadecimal digits only"))?;
    if octets.len() < SHORTEST_KEY {
        return Err(CredentialError::unusable(
            path,
            format!(
                "holds {} hexadecimal digits; a pre-shared key needs at least {}",
                octets.len() * 2,
                SHORTEST_KEY * 2
            ),
        ));
    }
    Ok(Credentials::PreSharedKey(Secret::from_slice(&octets)))
}

/// The credentials, and the subject of our certificate.
fn certificate(
    config: &Config,
    files: &CertificateConfig,
) -> Result<(Credentials, Option<Vec<u8>>), CredentialError> {
    let chain_file = config.resolve(&files.chain_file);
    let trust_file = config.resolve(&files.trust_file);
    let key_file = config.resolve(&files.key_file);
    let chain = certificates(&chain_file)?;
    let trust = certificates(&trust_file)?;
    let pem = read(&key_file)?;
    let key = match PrivateKeyDer::from_pem_slice(pem.as_bytes()) {
        Ok(PrivateKeyDer::Pkcs8(key)) => key,
        Ok(_) => {
            let problem = "must be PKCS#8; convert it with `openssl pkcs8 -topk8 -nodes`";
            return Err(CredentialError::unusable(&key_file, problem));
        }
        Err(error) => return Err(CredentialError::unusable(&key_file, error)),
    };
    let signer = PrivateKey::from_pkcs8(key.secret_pkcs8_der())
        .map_err(|error| CredentialError::unusable(&key_file, error))?;
    let trust_anchors =
        TrustAnchors::new(trust).map_err(|error| CredentialError::unusable(&trust_file, error))?;
    let subject = chain
        .first()
        .and_then(|certificate| subject_of(certificate));
    Ok((
        Credentials::Certificate(CertificateCredentials {
            chain,
            signer: Arc::new(signer),
            trust_anchors: Arc::new(trust_anchors),
        }),
        subject,
    ))
}

/// The DER subject of a certificate (RFC 5280 §4.1): the sixth field of its signed part, the
/// optional version not counted.
fn subject_of(certificate: &[u8]) -> Option<Vec<u8>> {
    const VERSION: u8 = 0xa0;
    let (_, outer, _) = element(certificate)?;
    let (_, signed, _) = element(outer)?;
    let mut rest = signed;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        rest = element(rest)?.2;
    }
    Some(element(rest)?.0.to_vec())
}

/// The first DER element of `octets`: whole, content, and what follows it.
fn element(octets: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = usize::from(*octets.get(1)?);
    let (header, length) = if first < 0x80 {
        (2_usize, first)
    } else {
        let count = first & 0x7f;
        let digits = octets.get(2..2_usize.checked_add(count)?)?;
        if count > 4 {
            return None;
        }
        let length = digits
            .iter()
            .fold(0_usize, |length, digit| (length << 8) | usize::from(*digit));
        (2 + count, length)
    };
    let end = header.checked_add(length)?;
    let whole = octets.get(..end)?;
    Some((whole, whole.get(header..)?, octets.get(end..)?))
}

fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, CredentialError> {
    let pem = read(path)?;
    let chain: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(|item| item.map(|certificate| certificate.as_ref().to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|error| CredentialError::unusable(path, error))?;
    if chain.is_empty() {
        return Err(CredentialError::unusable(path, "holds no PEM certificate"));
    }
    Ok(chain)
}

fn read(path: &Path) -> Result<Zeroizing<String>, CredentialError> {
    std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|cause| CredentialError::Unreadable {
            path: path.to_owned(),
            cause,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_pre_shared_key_is_refused_with_its_length() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("psk.key");
        std::fs::write(&path, "00112233\n").expect("temporary file");
        let error = pre_shared_key(&path).err().expect("too short");
        assert_eq!(
            error.to_string(),
            format!(
                "{}: holds 8 hexadecimal digits; a pre-shared key needs at least 32",
                path.display()
            )
        );
        std::fs::write(&path, "not a key").expect("temporary file");
        let error = pre_shared_key(&path).err().expect("no key");
        assert!(
            error
                .to_string()
                .ends_with("must hold hexadecimal digits only")
        );
    }

    #[test]
    fn elements_with_long_and_broken_lengths_are_told_apart() {
        assert_eq!(
            element(&[4, 1, 9, 7]),
            Some((&[4, 1, 9][..], &[9][..], &[7][..]))
        );
        let mut long = vec![4, 0x81, 200];
        long.extend_from_slice(&[1; 200]);
        assert_eq!(
            element(&long).map(|(_, content, _)| content.len()),
            Some(200)
        );
        assert_eq!(element(&[4, 5, 1]), None);
        assert_eq!(element(&[4, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
