//! One link of a certificate path: who issued a certificate, and what it may be used for (RFC 5280 §6.1).

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    VerificationAlgorithm,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::crypto::public_key::{PublicKey, content};
use crate::crypto::signature::SignatureAlgorithm;

use super::CertificateError;

/// Most octets of one certificate.
const MOST_OCTETS: usize = 16 * 1024;

/// Reads one certificate. `position` is for the message.
pub(super) fn parse(der: &[u8], position: usize) -> Result<X509Certificate<'_>, CertificateError> {
    let malformed = CertificateError::Malformed { position };
    if der.len() > MOST_OCTETS {
        return Err(malformed);
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(malformed),
    }
}

/// The subject, readable.
pub(super) fn subject(certificate: &X509Certificate<'_>) -> String {
    readable(certificate.subject())
}

/// Most characters of a name in a message.
const LONGEST_NAME: usize = 256;

/// A name fit for a log: whoever wrote the certificate gets no control characters in, and no flood.
fn readable(name: &X509Name<'_>) -> String {
    name.to_string()
        .chars()
        .take(LONGEST_NAME)
        .map(|character| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}

/// The certified key, if it is of a kind we accept.
pub(super) fn public_key(certificate: &X509Certificate<'_>) -> Result<PublicKey, CertificateError> {
    PublicKey::from_spki(certificate.public_key().raw).map_err(|cause| CertificateError::Key {
        subject: subject(certificate),
        cause,
    })
}

/// Whether `issuer` is named by `certificate` as its issuer.
fn names(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> bool {
    issuer.subject().as_raw() == certificate.issuer().as_raw()
}

/// Whether `issuer` is named by `certificate` as its issuer and signed it.
pub(super) fn issued(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    if !names(certificate, issuer) {
        return false;
    }
    let Ok(key) = PublicKey::from_spki(issuer.public_key().raw) else {
        return false;
    };
    let Some(algorithm) = signature_algorithm(&key, certificate) else {
        return false;
    };
    key.verify_with(
        algorithm,
        certificate.tbs_certificate.as_ref(),
        &certificate.signature_value.data,
    )
    .is_ok()
}

/// Why none of the `known` authorities issued `certificate`.
pub(super) fn not_issued<'a, 'c: 'a>(
    certificate: &X509Certificate<'_>,
    mut known: impl Iterator<Item = &'a X509Certificate<'c>>,
) -> CertificateError {
    let issuer = readable(certificate.issuer());
    let subject = subject(certificate);
    if known.any(|authority| names(certificate, authority)) {
        return CertificateError::BadSignature { subject, issuer };
    }
    CertificateError::UnknownIssuer { subject, issuer }
}

/// The algorithm an authority signed with. PKCS#1 v1.5 with SHA-2 is accepted here, because authorities use it; in
/// AUTH payloads it is not.
fn signature_algorithm(
    key: &PublicKey,
    certificate: &X509Certificate<'_>,
) -> Option<&'static dyn VerificationAlgorithm> {
    // RFC 5280 §4.1.1.2: the algorithm outside of what is signed must be the one inside.
    if certificate.signature_algorithm != certificate.tbs_certificate.signature {
        return None;
    }
    // A certificate is a SEQUENCE of what is signed, the algorithm and the signature.
    let behind =
        content(certificate.as_raw())?.get(certificate.tbs_certificate.as_ref().len()..)?;
    PKCS1
        .into_iter()
        .find(|(identifier, _)| key.is_rsa() && behind.starts_with(identifier))
        .map(|(_, algorithm)| algorithm)
        .or_else(|| key.verification(SignatureAlgorithm::at_start_of(behind)?))
}

/// RSASSA-PKCS1-v1_5 with SHA-256, SHA-384 and SHA-512 (RFC 4055 §5).
const PKCS1: [([u8; 15], &dyn VerificationAlgorithm); 3] = [
    (pkcs1_identifier(11), &RSA_PKCS1_2048_8192_SHA256),
    (pkcs1_identifier(12), &RSA_PKCS1_2048_8192_SHA384),
    (pkcs1_identifier(13), &RSA_PKCS1_2048_8192_SHA512),
];

const fn pkcs1_identifier(hash: u8) -> [u8; 15] {
    [
        0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, hash, 0x05, 0x00,
    ]
}

/// Whether the time is right, in seconds since 1970.
pub(super) fn check_validity(
    certificate: &X509Certificate<'_>,
    now: i64,
) -> Result<(), CertificateError> {
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
pub(super) fn check_extensions(certificate: &X509Certificate<'_>) -> Result<(), CertificateError> {
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
pub(super) fn may_authenticate(certificate: &X509Certificate<'_>) -> Result<(), CertificateError> {
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
pub(super) fn may_issue(
    certificate: &X509Certificate<'_>,
    below: usize,
) -> Result<(), CertificateError> {
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
