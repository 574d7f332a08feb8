//! Why the responder refused something.

use crate::exchange::authentication::AuthenticationError;
use crate::wire::{ExchangeType, ParseError};

/// The reason of a [`super::Event::Rejected`]: a closed list, fit for an audit record or a metric label
/// ([`RejectReason::label`]).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RejectReason {
    /// The major version is not 2.
    #[error("major version not supported")]
    MajorVersion,
    /// A message or its inner payload chain could not be parsed.
    #[error("malformed message")]
    Malformed(#[source] ParseError),
    /// A payload the exchange needs is missing, or one it excludes is there.
    #[error("wrong set of payloads: {0}")]
    PayloadSet(&'static str),
    /// None of the proposals is acceptable.
    #[error("no proposal chosen")]
    NoProposalChosen,
    /// The key exchange data are not valid for their method.
    #[error("invalid key exchange data")]
    KeyExchange,
    /// The table of half-open IKE SAs is full.
    #[error("too many half-open IKE SAs")]
    HalfOpenLimit,
    /// The table of established IKE SAs is full.
    #[error("too many IKE SAs")]
    IkeSaLimit,
    /// The exchange is not one the IKE SA's state allows.
    #[error("exchange {0} is not allowed in this state")]
    State(ExchangeType),
    /// The peer did not prove its identity.
    #[error("authentication failed")]
    Authentication(#[source] AuthenticationError),
    /// The owner refused the registration.
    #[error("registration refused")]
    Registration(super::Refusal),
}

impl RejectReason {
    /// A fixed word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::MajorVersion => "major_version",
            Self::Malformed(_) => "malformed",
            Self::PayloadSet(_) => "payload_set",
            Self::NoProposalChosen => "no_proposal_chosen",
            Self::KeyExchange => "key_exchange",
            Self::HalfOpenLimit => "half_open_limit",
            Self::IkeSaLimit => "ike_sa_limit",
            Self::State(_) => "state",
            Self::Authentication(_) => "authentication",
            Self::Registration(_) => "registration",
        }
    }
}
