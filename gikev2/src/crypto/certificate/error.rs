//! Why a peer's certificate is not accepted, by cause.

use crate::crypto::signature::SignatureError;
use crate::wire::IdType;

use super::MOST_LINKS;

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
    #[error("`{subject}` expired on {}", moment(*.not_after))]
    Expired {
        /// Whose certificate.
        subject: String,
        /// Its end, in seconds since 1970.
        not_after: i64,
    },
    /// Its time has not come.
    #[error("`{subject}` is valid only from {}", moment(*.not_before))]
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
    /// Its issuer is known by name, but did not sign it: changed on the way, made by somebody else of the same name, or
    /// signed with an algorithm that is not accepted.
    #[error("the signature of `{issuer}` on `{subject}` does not verify")]
    BadSignature {
        /// Whose certificate.
        subject: String,
        /// The issuer it names.
        issuer: String,
    },
    /// The path to a trust anchor is longer than allowed.
    #[error("the path to a trust anchor is longer than {limit} certificates", limit = MOST_LINKS)]
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

/// Date and time of day, in UTC. A certificate's own limits always have one; what is beyond the calendar stays a number.
fn moment(seconds: i64) -> String {
    x509_parser::time::ASN1Time::from_timestamp(seconds).map_or_else(
        |_| format!("second {seconds} since 1970"),
        |time| {
            let time = time.to_datetime();
            format!(
                "{} at {:02}:{:02} UTC",
                time.date(),
                time.hour(),
                time.minute()
            )
        },
    )
}
