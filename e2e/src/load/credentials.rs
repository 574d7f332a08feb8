//! Who simulated members are and how they prove it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use gikev2::Secret;
use gikev2::crypto::TrustAnchors;
use gikev2::crypto::signature::PrivateKey;
use gikev2::exchange::authentication::{CertificateCredentials, Credentials};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};

/// How members prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A pre-shared key of 32 octets for each member.
    PreSharedKey,
    /// A certificate for each member: ECDSA on P-256, issued by one authority.
    Certificate,
}

/// The host name of a simulated member, which is its identity (ID_FQDN).
#[must_use]
pub fn member_name(index: usize) -> String {
    format!("m-{index}.member.getvpn")
}

/// The authority of members and key servers, for one run; its key is never written to a disk.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    /// A new authority.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut parameters = CertificateParams::new(Vec::new())?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        parameters
            .distinguished_name
            .push(DnType::CommonName, "getvpn load");
        let certificate = parameters.self_signed(&key)?;
        Ok(Self {
            issuer: Issuer::new(parameters, key),
            certificate,
        })
    }

    /// Its certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    fn issue(&self, name: &str) -> Result<(rcgen::Certificate, KeyPair)> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut parameters = CertificateParams::new(vec![name.to_owned()])?;
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok((certificate, key))
    }

    /// Writes a certificate for `name` and its key, in PEM.
    ///
    /// # Errors
    /// When the name is malformed or a file cannot be written.
    pub fn write(&self, name: &str, chain: &Path, key_file: &Path) -> Result<()> {
        let (certificate, key) = self.issue(name)?;
        let write = |path: &Path, text: String| {
            std::fs::write(path, text).with_context(|| path.display().to_string())
        };
        write(chain, certificate.pem())?;
        write(key_file, key.serialize_pem())
    }

    fn credentials(&self, name: &str, anchors: &Arc<TrustAnchors>) -> Result<Credentials> {
        let (certificate, key) = self.issue(name)?;
        let signer = PrivateKey::from_pkcs8(key.serialized_der())?;
        Ok(Credentials::Certificate(CertificateCredentials {
            chain: vec![certificate.der().to_vec()],
            signer: Arc::new(signer),
            trust_anchors: Arc::clone(anchors),
        }))
    }
}

/// A pre-shared key for each of `count` members.
#[must_use]
pub fn pre_shared_keys(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|_| runtime::entropy::bytes::<32>().to_vec())
        .collect()
}

/// The same keys as members use them.
#[must_use]
pub fn shared(keys: &[Vec<u8>]) -> Vec<Credentials> {
    keys.iter()
        .map(|key| Credentials::PreSharedKey(Secret::from_slice(key)))
        .collect()
}

/// A certificate for each of `count` members, made on all processors.
///
/// # Errors
/// When one cannot be made.
pub fn certificates(authority: &Authority, count: usize) -> Result<Vec<Credentials>> {
    let anchor = authority.certificate.der().to_vec();
    let anchors = Arc::new(TrustAnchors::new([anchor])?);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = count.div_ceil(threads).max(1);
    let indexes: Vec<usize> = (0..count).collect();
    std::thread::scope(|scope| {
        let running: Vec<_> = indexes
            .chunks(share)
            .map(|part| {
                let anchors = &anchors;
                scope.spawn(move || -> Result<Vec<Credentials>> {
                    part.iter()
                        .map(|index| authority.credentials(&member_name(*index), anchors))
                        .collect()
                })
            })
            .collect();
        let mut made = Vec::with_capacity(count);
        for thread in running {
            let part = thread
                .join()
                .map_err(|_| anyhow!("a thread that makes certificates has ended"))?;
            made.extend(part?);
        }
        Ok(made)
    })
}
