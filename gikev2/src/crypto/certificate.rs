//! Certificates of IKE peers (RFC 5280, RFC 4945): a path to a trust anchor, and the names it vouches for.

use std::net::IpAddr;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, VerificationAlgorithm,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::wire::{IdType, Identification};

use super::digest::sha1;
use super::public_key::{Kind, PublicKey};
use super::signature::{SignatureAlgorithm, SignatureError};

/// Most octets of one certificate.
const MOST_OCTETS: usize = 16 * 1024;
/// Most certificates between the peer's and the trust anchor, the peer's included.
const MOST_LINKS: usize = 8;

/// Why a certificate is not accepted. Names in it come from certificates that parsed, never from raw octets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The peer sent none.
    #[error("no certificate")]
    Missing,
    /// Not a DER X.509 certificate, or too large.
    #[error("certificate {position} cannot be parsed")]
    Malformed {
        /// Zero is the peer's own.
        position: usize,
    },
    /// Its time is over.
    #[error("`{subject}` expired at {not_after} (UNIX time)")]
    Expired {
        /// Whose certificate.
        subject: String,
        /// Its end, in seconds since 1970.
        not_after: i64,
    },
    /// Its time has not come.
    #[error("`{subject}` is valid only from {not_before} (UNIX time)")]
    NotYetValid {
        /// Whose certificate.
        subject: String,
        /// Its beginning, in seconds since 1970.
        not_before: i64,
    },
    /// No trust anchor and no certificate the peer sent issued it.
    #[error("`{subject}` was issued by `{issuer}`, which is not trusted here")]
    UnknownIssuer {
        /// Whose certificate.
        subject: String,
        /// The issuer it names.
        issuer: String,
    },
    /// The path to a trust anchor is longer than allowed.
    #[error("the path to a trust anchor is longer than {MOST_LINKS} certificates")]
    TooLong,
    /// A certificate in the path may not do what it does there.
    #[error("`{subject}` may not {purpose}")]
    Purpose {
        /// Whose certificate.
        subject: String,
        /// What it may not do.
        purpose: &'static str,
    },
    /// Its public key is not of a kind we accept.
    #[error("the key of `{subject}` is not accepted")]
    Key {
        /// Whose certificate.
        subject: String,
        /// Why.
        #[source]
        cause: SignatureError,
    },
    /// It has a critical extension that we do not understand.
    #[error("`{subject}` has a critical extension that is not understood")]
    CriticalExtension {
        /// Whose certificate.
        subject: String,
    },
    /// It does not vouch for the identity its holder claims.
    #[error("`{subject}` does not cover the identity {claimed}")]
    NameNotCovered {
        /// Whose certificate.
        subject: String,
        /// The kind of the identity claimed.
        claimed: IdType,
    },
}

/// A peer's certificate that leads to a trust anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    der: Vec<u8>,
    subject: String,
    subject_der: Vec<u8>,
    names: Vec<Identification>,
    public_key: PublicKey,
    not_after: i64,
}

impl PeerCertificate {
    /// The DER certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The subject, readable.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The subject, as DER Name.
    pub fn subject_der(&self) -> &[u8] {
        &self.subject_der
    }

    /// The subjectAltName entries that can be an IKE identity.
    pub fn names(&self) -> &[Identification] {
        &self.names
    }

    /// The certified key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// When it expires, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Whether it vouches for `identity`: a distinguished name equals the subject, anything else equals a
    /// subjectAltName of the same kind (RFC 4945 §3.1). Names of hosts compare without case.
    ///
    /// # Errors
    /// [`CertificateError::NameNotCovered`].
    pub fn covers(&self, identity: &Identification) -> Result<(), CertificateError> {
        let covered = match identity.id_type {
            IdType::DER_ASN1_DN => identity.data == self.subject_der,
            IdType::FQDN | IdType::RFC822_ADDRESS => self.names.iter().any(|name| {
                name.id_type == identity.id_type && name.data.eq_ignore_ascii_case(&identity.data)
            }),
            _ => self.names.contains(identity),
        };
        if covered {
            return Ok(());
        }
        Err(CertificateError::NameNotCovered {
            subject: self.subject.clone(),
            claimed: identity.id_type,
        })
    }
}

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
                    return Err(CertificateError::UnknownIssuer {
                        subject: current.subject().to_string(),
                        issuer: current.issuer().to_string(),
                    });
                }
            };
        }
        Err(CertificateError::TooLong)
    }
}

fn parse(der: &[u8], position: usize) -> Result<X509Certificate<'_>, CertificateError> {
    let malformed = CertificateError::Malformed { position };
    if der.len() > MOST_OCTETS {
        return Err(malformed);
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(malformed),
    }
}

fn subject(certificate: &X509Certificate<'_>) -> String {
    certificate.subject().to_string()
}

fn public_key(certificate: &X509Certificate<'_>) -> Result<PublicKey, CertificateError> {
    PublicKey::from_spki(certificate.public_key().raw).map_err(|cause| CertificateError::Key {
        subject: subject(certificate),
        cause,
    })
}

/// Whether `issuer` is named by `certificate` as its issuer and signed it.
fn issued(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    if issuer.subject().as_raw() != certificate.issuer().as_raw() {
        return false;
    }
    let Ok(key) = PublicKey::from_spki(issuer.public_key().raw) else {
        return false;
    };
    let Some(algorithm) = certificate_algorithm(key.kind, certificate) else {
        return false;
    };
    key.verify_with(
        algorithm,
        certificate.tbs_certificate.as_ref(),
        &certificate.signature_value.data,
    )
    .is_ok()
}

/// The algorithm an authority signed with. PKCS#1 v1.5 with SHA-2 is accepted here, because authorities use it; in
/// AUTH payloads it is not.
fn certificate_algorithm(
    kind: Kind,
    certificate: &X509Certificate<'_>,
) -> Option<&'static dyn VerificationAlgorithm> {
    Some(
        match (
            kind,
            certificate
                .signature_algorithm
                .algorithm
                .to_id_string()
                .as_str(),
        ) {
            (Kind::Rsa, "1.2.840.113549.1.1.11") => &RSA_PKCS1_2048_8192_SHA256,
            (Kind::Rsa, "1.2.840.113549.1.1.12") => &RSA_PKCS1_2048_8192_SHA384,
            (Kind::Rsa, "1.2.840.113549.1.1.13") => &RSA_PKCS1_2048_8192_SHA512,
            (Kind::Rsa, "1.2.840.113549.1.1.10") => {
                // Only the parameters of our own list: SHA-256 throughout, salt of 32 octets.
                let parameters = certificate.signature_algorithm.parameters.as_ref()?;
                let expected = SignatureAlgorithm::RsaPssSha256.algorithm_identifier();
                // The content of the parameters' SEQUENCE stands at the end of the AlgorithmIdentifier.
                if parameters.data.is_empty() || !expected.ends_with(parameters.data) {
                    return None;
                }
                &RSA_PSS_2048_8192_SHA256
            }
            (Kind::P256, "1.2.840.10045.4.3.2") => &ECDSA_P256_SHA256_ASN1,
            (Kind::P256, "1.2.840.10045.4.3.3") => &ECDSA_P256_SHA384_ASN1,
            (Kind::P384, "1.2.840.10045.4.3.2") => &ECDSA_P384_SHA256_ASN1,
            (Kind::P384, "1.2.840.10045.4.3.3") => &ECDSA_P384_SHA384_ASN1,
            (Kind::Ed25519, "1.3.101.112") => &ED25519,
            _ => return None,
        },
    )
}

fn check_validity(certificate: &X509Certificate<'_>, now: i64) -> Result<(), CertificateError> {
    let validity = certificate.validity();
    let (not_before, not_after) = (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    );
    if now > not_after {
        return Err(CertificateError::Expired {
            subject: subject(certificate),
            not_after,
        });
    }
    if now < not_before {
        return Err(CertificateError::NotYetValid {
            subject: subject(certificate),
            not_before,
        });
    }
    Ok(())
}

/// A critical extension must be one that this module checks (RFC 5280 §4.2).
fn check_extensions(certificate: &X509Certificate<'_>) -> Result<(), CertificateError> {
    const UNDERSTOOD: [&str; 4] = ["2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.37"];
    let understood = certificate
        .extensions()
        .iter()
        .filter(|extension| extension.critical)
        .all(|extension| UNDERSTOOD.contains(&extension.oid.to_id_string().as_str()));
    if understood {
        return Ok(());
    }
    Err(CertificateError::CriticalExtension {
        subject: subject(certificate),
    })
}

/// The peer's own certificate: where it restricts its use, signing must be allowed.
fn may_authenticate(certificate: &X509Certificate<'_>) -> Result<(), CertificateError> {
    public_key(certificate)?;
    match certificate.key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.digital_signature() || usage.value.non_repudiation() => {
            Ok(())
        }
        _ => Err(CertificateError::Purpose {
            subject: subject(certificate),
            purpose: "sign for its holder",
        }),
    }
}

/// An authority with `below` authorities between it and the peer's certificate.
fn may_issue(certificate: &X509Certificate<'_>, below: usize) -> Result<(), CertificateError> {
    let refused = |purpose| CertificateError::Purpose {
        subject: subject(certificate),
        purpose,
    };
    let constraints = match certificate.basic_constraints() {
        Ok(Some(constraints)) if constraints.value.ca => constraints.value,
        _ => return Err(refused("issue certificates")),
    };
    let within = constraints
        .path_len_constraint
        .is_none_or(|most| u32::try_from(below).is_ok_and(|below| below <= most));
    if !within {
        return Err(refused("issue certificates through that many authorities"));
    }
    match certificate.key_usage() {
        Ok(None) => Ok(()),
        Ok(Some(usage)) if usage.value.key_cert_sign() => Ok(()),
        _ => Err(refused("sign certificates")),
    }
}

fn describe(certificate: &X509Certificate<'_>) -> Result<PeerCertificate, CertificateError> {
    let names = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|extension| {
            extension
                .value
                .general_names
                .iter()
                .filter_map(identification)
                .collect()
        })
        .unwrap_or_default();
    Ok(PeerCertificate {
        der: certificate.as_raw().to_vec(),
        subject: subject(certificate),
        subject_der: certificate.subject().as_raw().to_vec(),
        names,
        public_key: public_key(certificate)?,
        not_after: certificate.validity().not_after.timestamp(),
    })
}

fn identification(name: &GeneralName<'_>) -> Option<Identification> {
    match name {
        GeneralName::DNSName(name) => Some(Identification::fqdn(name)),
        GeneralName::RFC822Name(address) => Some(Identification::mail(address)),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => Some(Identification::address(IpAddr::from(
                <[u8; 4]>::try_from(*octets).ok()?,
            ))),
            16 => Some(Identification::address(IpAddr::from(
                <[u8; 16]>::try_from(*octets).ok()?,
            ))),
            _ => None,
        },
        _ => None,
    }
}
