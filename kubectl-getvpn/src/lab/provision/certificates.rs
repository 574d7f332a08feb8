//! Certificate authorities and end-entity certificates of a lab.

use std::net::IpAddr;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::lab::error::LabError;
use crate::lab::state::write_private;

/// Organization in every subject.
const ORGANIZATION: &str = "getvpn lab";

/// An authority that issues certificates for this lab only; its key is never written to disk.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// Names and addresses of one certificate.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Common name.
    pub common_name: String,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

impl Subject {
    /// The distinguished name as RFC 4514 writes it: last component first.
    #[must_use]
    pub fn distinguished_name(&self) -> String {
        format!("CN={},O={ORGANIZATION}", self.common_name)
    }
}

impl Authority {
    /// A new authority with a new key.
    ///
    /// # Errors
    /// When the key cannot be generated.
    pub fn new(common_name: &str) -> Result<Self, LabError> {
        let failed = |error: rcgen::Error| provision_error(common_name, &error);
        let mut parameters = CertificateParams::new(Vec::new()).map_err(failed)?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        parameters.distinguished_name = name(common_name);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = parameters.self_signed(&key).map_err(failed)?.pem();
        Ok(Self {
            issuer: Issuer::new(parameters, key),
            certificate,
        })
    }

    /// The authority's certificate in PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Issues a certificate for a new key and writes both, in PEM.
    ///
    /// # Errors
    /// When the names are malformed or a file cannot be written.
    pub fn issue(&self, subject: &Subject, chain: &Path, key: &Path) -> Result<(), LabError> {
        self.issue_until(subject, None, chain, key)
    }

    /// The same for a certificate whose last day (year, month, day) is named: it may be over already.
    ///
    /// # Errors
    /// As [`Self::issue`].
    pub fn issue_until(
        &self,
        subject: &Subject,
        last_day: Option<(i32, u8, u8)>,
        chain: &Path,
        key: &Path,
    ) -> Result<(), LabError> {
        let failed = |error: rcgen::Error| provision_error(&subject.common_name, &error);
        let mut parameters = CertificateParams::new(subject.dns_names.clone()).map_err(failed)?;
        let addresses = subject.addresses.iter().copied().map(SanType::IpAddress);
        parameters.subject_alt_names.extend(addresses);
        parameters.distinguished_name = name(&subject.common_name);
        if let Some((year, month, day)) = last_day {
            parameters.not_after = rcgen::date_time_ymd(year, month, day);
        }
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let pair = KeyPair::generate().map_err(failed)?;
        let certificate = parameters.signed_by(&pair, &self.issuer).map_err(failed)?;
        write_private(chain, certificate.pem().as_bytes())?;
        write_private(key, pair.serialize_pem().as_bytes())
    }
}

fn name(common_name: &str) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::OrganizationName, ORGANIZATION);
    name.push(DnType::CommonName, common_name);
    name
}

fn provision_error(what: &str, error: &rcgen::Error) -> LabError {
    LabError::Provision {
        what: format!("the certificate of {what}"),
        message: error.to_string(),
    }
}
