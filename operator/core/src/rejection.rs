//! Objects that were not accepted, and why.

/// Why an object was not accepted: the reasons of its `Accepted` or `PolicyAccepted` condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A group that shares key servers must say who may join.
    AuthorizationRequired,
    /// Another group on the same key servers has the same `groupID`.
    GroupIdConflict,
    /// The group named by a reference does not exist.
    GroupNotFound,
    /// The group named by a reference cannot be used this way.
    InvalidReference,
    /// A value slipped past the admission rules.
    InvalidValue,
    /// The lifetime of a key does not fit the delays or the key encryption key of the group.
    LifetimeConflict,
    /// Accepting the object would exceed a limit of the group.
    LimitExceeded,
    /// No SecurityAssociation names the group.
    NoSecurityAssociations,
    /// Another object of the group has the same `order`.
    OrderConflict,
    /// A Deny in front hides every Permit of the object.
    Shadowed,
}

impl Reason {
    /// The word in the condition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationRequired => "AuthorizationRequired",
            Self::GroupIdConflict => "GroupIDConflict",
            Self::GroupNotFound => "GroupNotFound",
            Self::InvalidReference => "InvalidReference",
            Self::InvalidValue => "InvalidValue",
            Self::LifetimeConflict => "LifetimeConflict",
            Self::LimitExceeded => "LimitExceeded",
            Self::NoSecurityAssociations => "NoSecurityAssociations",
            Self::OrderConflict => "OrderConflict",
            Self::Shadowed => "Shadowed",
        }
    }
}

/// One object that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{name}`: {field}: {message}")]
pub struct Rejection {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The field at fault.
    pub field: String,
    /// The reason of its condition.
    pub reason: Reason,
    /// What is wrong, and what to do.
    pub message: String,
}
