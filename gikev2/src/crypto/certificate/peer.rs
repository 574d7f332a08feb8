//! A certificate that leads to a trust anchor, and the identities it vouches for (RFC 4945 §3.1).

use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::crypto::public_key::PublicKey;
use crate::wire::{IdType, Identification};

use super::CertificateError;
use super::link::{public_key, subject};

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

/// What is kept of a verified certificate.
pub(super) fn describe(
    certificate: &X509Certificate<'_>,
) -> Result<PeerCertificate, CertificateError> {
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
