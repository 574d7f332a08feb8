//! Certificates of IKE peers (RFC 5280, RFC 4945): a path to a trust anchor, and the names it vouches for.
//!
//! Revocation is not looked up: what the product issues itself is short-lived.

mod error;
mod link;
mod peer;

use x509_parser::certificate::X509Certificate;

use super::digest::sha1;

pub use error::CertificateError;
pub use peer::PeerCertificate;

use link::{
    check_extensions, check_validity, issued, may_authenticate, may_issue, not_issued, parse,
    public_key,
};
use peer::describe;

/// Most certificates between the peer's and the trust anchor, the peer's included.
const MOST_LINKS: usize = 8;

/// The authorities whose certificates are accepted.
#[derive(Debug, Clone, Default)]
pub struct TrustAnchors {
    anchors: Vec<Vec<u8>>,
    key_hashes: Vec<u8>,
}

impl TrustAnchors {
    /// Takes DER certificates of authorities.
    ///
    /// # Errors
    /// [`CertificateError`] when one cannot be parsed or is no authority; its position is in the message.
    pub fn new(certificates: impl IntoIterator<Item = Vec<u8>>) -> Result<Self, CertificateError> {
        let mut anchors = Self::default();
        for (position, der) in certificates.into_iter().enumerate() {
            let certificate = parse(&der, position)?;
            may_issue(&certificate, 0)?;
            public_key(&certificate)?;
            anchors
                .key_hashes
                .extend_from_slice(&sha1(&[certificate.public_key().raw]));
            anchors.anchors.push(der);
        }
        Ok(anchors)
    }

    /// The SHA-1 hashes of the authorities' SubjectPublicKeyInfo, one after the other: the content of a certificate
    /// request (RFC 7296 §3.7).
    pub fn key_hashes(&self) -> Vec<u8> {
        self.key_hashes.clone()
    }

    /// Follows `chain` (the peer's own certificate first, others in any order) to a trust anchor and checks every
    /// link: signature, validity at `unix_time` (seconds), purpose, path length, key sizes.
    ///
    /// # Errors
    /// [`CertificateError`], for the first link that fails.
    pub fn verify(
        &self,
        chain: &[&[u8]],
        unix_time: u64,
    ) -> Result<PeerCertificate, CertificateError> {
        let mut certificates = Vec::with_capacity(chain.len().min(MOST_LINKS));
        for (position, der) in chain.iter().take(MOST_LINKS).enumerate() {
            certificates.push(parse(der, position)?);
        }
        let own = certificates.first().ok_or(CertificateError::Missing)?;
        let anchors: Vec<X509Certificate<'_>> = self
            .anchors
            .iter()
            .enumerate()
            .map(|(position, der)| parse(der, position))
            .collect::<Result<_, _>>()?;
        may_authenticate(own)?;
        let now = i64::try_from(unix_time).unwrap_or(i64::MAX);
        let mut current = own;
        for below in 0..MOST_LINKS {
            check_validity(current, now)?;
            check_extensions(current)?;
            if let Some(anchor) = anchors.iter().find(|anchor| issued(anchor, current)) {
                check_validity(anchor, now)?;
                may_issue(anchor, below)?;
                return describe(own);
            }
            let issuer = certificates
                .iter()
                .skip(1)
                .find(|candidate| issued(candidate, current));
            current = match issuer {
                Some(issuer) => {
                    may_issue(issuer, below)?;
                    issuer
                }
                None => {
                    let known = anchors.iter().chain(certificates.iter().skip(1));
                    return Err(not_issued(current, known));
                }
            };
        }
        Err(CertificateError::TooLong)
    }
}
