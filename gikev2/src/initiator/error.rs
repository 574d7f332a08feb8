//! Why an attempt to register ended without success.

use crate::exchange::authentication::AuthenticationError;
use crate::wire::{ExchangeType, NotifyType, ParseError};

/// The end of an [`super::Initiator`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitiatorError {
    /// The key server did not answer, however often we asked.
    #[error("no answer from the key server ({exchange})")]
    NoAnswer {
        /// The exchange that stayed unanswered.
        exchange: ExchangeType,
    },
    /// The key server accepts none of our proposals. Unauthenticated before GSA_AUTH, and believed only after every
    /// repetition brought nothing better.
    #[error("the key server accepts none of our algorithms")]
    NoProposalChosen,
    /// The key server keeps asking for another key exchange method or cookie.
    #[error("the key server keeps changing its mind about cookies or key exchange methods")]
    TooManyRetries,
    /// The key server answered with an error notification.
    #[error("the key server answered {0}")]
    Notified(NotifyType),
    /// The key server refused our proof of identity.
    #[error("the key server refused our identity or our proof of it")]
    RefusedByPeer,
    /// The key server did not prove an identity we accept.
    #[error("the key server could not be authenticated")]
    Authentication(#[source] AuthenticationError),
    /// An authenticated message could not be parsed.
    #[error("malformed message from the key server")]
    Malformed(#[source] ParseError),
    /// An authenticated message lacks a payload or has one too many.
    #[error("wrong set of payloads from the key server: {0}")]
    PayloadSet(&'static str),
    /// The policy breaks a rule, or its keys do not fit it or cannot be unwrapped.
    #[error("the key server's policy and keys cannot be used: {0}")]
    Keys(&'static str),
    /// Nothing can be offered: the configuration names no usable key exchange.
    #[error("the configuration cannot be used: {0}")]
    Configuration(&'static str),
}
