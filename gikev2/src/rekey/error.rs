//! Why a GSA_REKEY message was not accepted.

use crate::wire::{ParseError, RekeySpi};

/// A refused GSA_REKEY message, by cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RekeyError {
    /// The header is not one of a GSA_REKEY message, or its length is not the datagram's.
    #[error("not a GSA_REKEY message")]
    Header,
    /// The octets cannot be parsed.
    #[error("malformed message")]
    Malformed(#[source] ParseError),
    /// No Rekey SA has this SPI.
    #[error("unknown Rekey SA")]
    UnknownSpi {
        /// Whether the key server had announced it as a successor: then a rekey was lost, and registering again
        /// (rate-limited: the datagram is not authentic) is advised.
        announced: bool,
    },
    /// The Message ID is not above the last accepted one.
    #[error("replayed: Message ID {message_id}, {expected} or more expected")]
    Replayed {
        /// Found.
        message_id: u32,
        /// The lowest that would be accepted.
        expected: u32,
    },
    /// A fragment that is not wanted: duplicate, out of range, or from a superseded cut.
    #[error("unwanted fragment")]
    Fragment,
    /// The ICV does not verify.
    #[error("integrity check failed")]
    Integrity,
    /// The signature is missing, uses another algorithm, or does not verify.
    #[error("signature not valid: {0}")]
    Signature(&'static str),
    /// The message is authentic but breaks a rule of its contents. Its Message ID counts as used.
    #[error("content not acceptable: {0}")]
    Content(&'static str),
    /// The message is authentic but none of its keys for the new Rekey SA is for us: we were excluded from the
    /// group. Its Message ID counts as used.
    #[error("excluded from Rekey SA {0:?}")]
    Excluded(RekeySpi),
    /// A registration's policy, keys and AUTH_KEY do not fit together.
    #[error("the registration's Rekey SA cannot be used: {0}")]
    Setup(&'static str),
}

impl RekeyError {
    /// A fixed word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Malformed(_) => "malformed",
            Self::UnknownSpi { .. } => "unknown_spi",
            Self::Replayed { .. } => "replayed",
            Self::Fragment => "fragment",
            Self::Integrity => "integrity",
            Self::Signature(_) => "signature",
            Self::Content(_) => "content",
            Self::Excluded(_) => "excluded",
            Self::Setup(_) => "setup",
        }
    }
}
