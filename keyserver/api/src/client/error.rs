//! Why a request to the admin API did not give an answer.

use crate::error::ErrorBody;

/// Why a request did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No address was given.
    #[error("no admin address is configured")]
    NoAddress,
    /// The address is not `host:port`.
    #[error("admin address {address:?} is not host:port")]
    Address {
        /// The address.
        address: String,
    },
    /// TCP connection failed.
    #[error("cannot connect to {address}")]
    Connect {
        /// The address.
        address: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// TLS handshake failed: certificate not accepted on one side, or not TLS at all.
    #[error("TLS handshake with {address} failed")]
    Tls {
        /// The address.
        address: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// HTTP exchange failed.
    #[error("HTTP exchange with {address} failed")]
    Http {
        /// The address.
        address: String,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time. The request may still take effect.
    #[error("no answer from {address} within {seconds} s")]
    TimedOut {
        /// The address.
        address: String,
        /// The limit.
        seconds: u64,
    },
    /// The key server refused.
    #[error("{}", body.message)]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        body: ErrorBody,
    },
    /// The answer is not what the path answers.
    #[error("answer of {address} (status {status}) cannot be read")]
    Answer {
        /// The address.
        address: String,
        /// HTTP status.
        status: u16,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
}
