//! What the admin API answers when it does not do what was asked.

use serde::{Deserialize, Serialize};

/// Body of every answer with a status of 400 or more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorBody {
    /// Stable code, for programs.
    pub code: ErrorCode,
    /// One sentence for people: what was refused, why, and the remedy.
    pub message: String,
    /// Admin address (`host:port`) of the primary, when this key server is not it and knows who is.
    #[serde(default)]
    pub primary: Option<String>,
}

/// Stable reasons of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ErrorCode {
    /// 409: only the primary does this; follow `primary`.
    NotPrimary,
    /// 503: no quorum of key servers can be reached; nothing was changed.
    NoQuorum,
    /// 404: no group of that name.
    GroupNotFound,
    /// 404: no such member in the group.
    MemberNotFound,
    /// 404: no such key server.
    PeerNotFound,
    /// 422: the policy breaks a rule; the message names field, value, rule and remedy.
    InvalidPolicy,
    /// 409: the state moved on under the request; read it again and repeat.
    Superseded,
    /// 409: a different signing key already has this label; approve the overwrite to replace it.
    SigningKeyConflict,
    /// 422: the signing key cannot be used (format, passphrase, size).
    InvalidSigningKey,
    /// 400: the body is not what the path expects.
    BadRequest,
    /// 504: not committed in time; it may still happen. Read the state before repeating.
    Unknown,
    /// 500: a fault of the key server.
    Internal,
}

impl ErrorCode {
    /// HTTP status that goes with this code.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::NotPrimary | Self::Superseded | Self::SigningKeyConflict => 409,
            Self::NoQuorum => 503,
            Self::GroupNotFound | Self::MemberNotFound | Self::PeerNotFound => 404,
            Self::InvalidPolicy | Self::InvalidSigningKey => 422,
            Self::BadRequest => 400,
            Self::Unknown => 504,
            Self::Internal => 500,
        }
    }
}
