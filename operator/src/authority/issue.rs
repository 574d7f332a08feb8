//! Makes authorities, and certificates under them.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use zeroize::Zeroizing;

/// Life of an authority: ten years.
const AUTHORITY_SECONDS: u64 = 10 * 365 * 24 * 3600;
/// How far clocks may differ: certificates are valid from this long before they were made.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
/// Organization in every subject.
const ORGANIZATION: &str = "getvpn";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The certificate request cannot be read, or its signature is wrong.
    #[error("the certificate request cannot be used: {0}")]
    Request(String),
    /// The request asks for other names than the one it may have.
    #[error(
        "the certificate request must ask for the one DNS name `{expected}` and asks for {asked}"
    )]
    Names {
        /// The name it may have.
        expected: String,
        /// What it asks for.
        asked: String,
    },
    /// The library.
    #[error("a certificate could not be made: {0}")]
    Library(#[from] rcgen::Error),
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Both ends of TLS, or an end of IKE.
    Peer,
    /// The client's end of TLS only.
    Client,
    /// The server's end of TLS only.
    Server,
}

/// Whom a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Common name.
    pub common_name: String,
    /// Organizational unit.
    pub unit: String,
    /// DNS names.
    pub dns_names: Vec<String>,
}

/// A certificate with its key.
pub struct Issued {
    /// The certificate in PEM.
    pub certificate: String,
    /// The private key in PEM (PKCS#8).
    pub key: Zeroizing<String>,
}

/// An authority that can issue.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority with a new key: its certificate and its key, in PEM.
    ///
    /// # Errors
    /// [`IssueError::Library`].
    pub fn generate(
        common_name: &str,
        now: Duration,
    ) -> Result<(String, Zeroizing<String>), IssueError> {
        let mut parameters = parameters(common_name, None, now, AUTHORITY_SECONDS);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = parameters.self_signed(&key)?.pem();
        Ok((certificate, Zeroizing::new(key.serialize_pem())))
    }

    /// The authority of a certificate and its key.
    ///
    /// # Errors
    /// [`IssueError::Library`] when one cannot be read.
    pub fn load(certificate: &str, key: &str) -> Result<Self, IssueError> {
        let key = KeyPair::from_pem(key)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            issuer: Issuer::from_ca_cert_pem(certificate, key)?,
        })
    }

    /// The authority's own certificate in PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Issues a certificate with a new key.
    ///
    /// # Errors
    /// [`IssueError::Library`] when a name is malformed.
    pub fn issue(
        &self,
        subject: &Subject,
        purpose: Purpose,
        life: Duration,
        now: Duration,
    ) -> Result<Issued, IssueError> {
        let mut parameters = parameters(
            &subject.common_name,
            Some(&subject.unit),
            now,
            life.as_secs(),
        );
        for name in &subject.dns_names {
            parameters
                .subject_alt_names
                .push(SanType::DnsName(name.as_str().try_into()?));
        }
        end_entity(&mut parameters, purpose);
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: Zeroizing::new(key.serialize_pem()),
        })
    }

    /// Signs a request (PKCS#10, PEM) that asks for the DNS name `identity` and nothing else. Of the request only the
    /// key is used.
    ///
    /// # Errors
    /// [`IssueError::Request`], [`IssueError::Names`].
    pub fn sign_request(
        &self,
        request: &str,
        identity: &str,
        unit: &str,
        life: Duration,
        now: Duration,
    ) -> Result<String, IssueError> {
        let request = CertificateSigningRequestParams::from_pem(request)
            .map_err(|error| IssueError::Request(error.to_string()))?;
        let asked = &request.params.subject_alt_names;
        let expected =
            matches!(asked.as_slice(), [SanType::DnsName(name)] if name.as_str() == identity);
        if !expected {
            return Err(IssueError::Names {
                expected: identity.to_owned(),
                asked: format!("{} others", asked.len()),
            });
        }
        let mut parameters = parameters(identity, Some(unit), now, life.as_secs());
        parameters
            .subject_alt_names
            .push(SanType::DnsName(identity.try_into()?));
        end_entity(&mut parameters, Purpose::Peer);
        Ok(parameters
            .signed_by(&request.public_key, &self.issuer)?
            .pem())
    }
}

fn parameters(
    common_name: &str,
    unit: Option<&str>,
    now: Duration,
    seconds: u64,
) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, ORGANIZATION);
    if let Some(unit) = unit {
        name.push(DnType::OrganizationalUnitName, unit);
    }
    name.push(DnType::CommonName, common_name);
    parameters.distinguished_name = name;
    let epoch = date_time_ymd(1970, 1, 1);
    parameters.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    parameters.not_after = epoch + now.saturating_add(Duration::from_secs(seconds));
    parameters
}

fn end_entity(parameters: &mut CertificateParams, purpose: Purpose) {
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = match purpose {
        Purpose::Peer => vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ],
        Purpose::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::{FromDer, X509Certificate};

    const NOW: Duration = Duration::from_secs(1_900_000_000);
    const IDENTITY: &str = "web-0.wan.member.getvpn";

    fn authority() -> Authority {
        let (certificate, key) = Authority::generate("test", NOW).expect("authority");
        Authority::load(&certificate, &key).expect("usable")
    }

    fn request(names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().expect("key");
        let parameters = CertificateParams::new(names).expect("names");
        let request = parameters.serialize_request(&key).expect("request");
        request.pem().expect("PEM")
    }

    fn sign(names: &[&str]) -> Result<String, IssueError> {
        let life = Duration::from_secs(3600);
        authority().sign_request(&request(names), IDENTITY, "wan.voice", life, NOW)
    }

    #[test]
    fn a_member_gets_its_name_a_subject_with_its_group_and_a_short_life() {
        use rustls_pki_types::CertificateDer;
        use rustls_pki_types::pem::PemObject;
        let pem = sign(&[IDENTITY]).expect("signed");
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
        let (_, certificate) = X509Certificate::from_der(&der).expect("certificate");
        assert_eq!(
            certificate.subject().to_string(),
            "O=getvpn, OU=wan.voice, CN=web-0.wan.member.getvpn"
        );
        assert_eq!(certificate.validity().not_after.timestamp(), 1_900_003_600);
        assert_eq!(certificate.validity().not_before.timestamp(), 1_899_999_700);
        assert!(!certificate.is_ca());
    }

    #[test]
    fn a_request_for_another_name_for_more_names_or_for_none_is_refused() {
        for names in [
            &["db-0.wan.member.getvpn"][..],
            &[IDENTITY, "db-0.wan.member.getvpn"],
            &[],
            &["*.wan.member.getvpn"],
            &["10.0.0.1"],
        ] {
            assert!(
                matches!(sign(names), Err(IssueError::Names { .. })),
                "{names:?}"
            );
        }
    }

    #[test]
    fn a_request_whose_signature_is_wrong_is_refused() {
        let good = request(&[IDENTITY]);
        let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
        let middle = lines.len() - 2;
        let line = &mut lines[middle];
        let swapped = if line.starts_with('A') { "B" } else { "A" };
        line.replace_range(0..1, swapped);
        let life = Duration::from_secs(60);
        let refused = authority().sign_request(&lines.join("\n"), IDENTITY, "u", life, NOW);
        assert!(matches!(refused, Err(IssueError::Request(_))));
    }
}
