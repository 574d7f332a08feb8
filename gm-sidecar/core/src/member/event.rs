//! What a membership tells its owner, for logs and metrics. No event carries key material.

use std::net::SocketAddr;
use std::time::Duration;

use crate::sad::Spi;

/// Why a registration is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegistrationReason {
    /// Nothing is held yet.
    First,
    /// An attempt failed.
    Retry,
    /// A TEK nears its end and no successor came.
    TrafficKeyExpiry,
    /// The KEK nears its end and no successor came.
    RekeyKeyExpiry,
    /// The key server put this member out of the group.
    Excluded,
    /// Packets or rekeys of unknown SAs arrive: a rekey was missed.
    UnknownSpi,
    /// Most packets that arrive are outside of the time window: our pseudotime is wrong.
    TimeSkew,
    /// The IVs of our Sender-ID are nearly used up.
    SenderIdExhausted,
    /// A rekey brought something this member cannot use.
    UnusableRekey,
    /// The IKE SA ended and there is no Rekey SA (RFC 9838 §2.3.3).
    NoRekeySa,
    /// An administrator asked for it.
    Administrator,
    /// New settings make the old registration void, or may end a wait for it.
    Reconfigured,
}

impl RegistrationReason {
    /// The stable word for logs, status and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Retry => "retry",
            Self::TrafficKeyExpiry => "traffic_key_expiry",
            Self::RekeyKeyExpiry => "rekey_key_expiry",
            Self::Excluded => "excluded",
            Self::UnknownSpi => "unknown_spi",
            Self::TimeSkew => "time_skew",
            Self::SenderIdExhausted => "sender_id_exhausted",
            Self::UnusableRekey => "unusable_rekey",
            Self::NoRekeySa => "no_rekey_sa",
            Self::Administrator => "administrator",
            Self::Reconfigured => "reconfigured",
        }
    }
}

/// Why the last attempt to register failed, as a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// A key server cannot be reached, or does not answer.
    KeyServerUnreachable,
    /// Member or key server could not prove who it is to the other.
    AuthenticationFailed,
    /// The key server knows us and does not admit us to the group.
    NotAuthorized,
    /// The key server does not know the group.
    UnknownGroup,
    /// The key server cannot admit anybody at the moment.
    KeyServerNotReady,
    /// Group and member have no algorithms in common.
    NoCommonAlgorithms,
    /// The group's policy cannot be used by this member.
    PolicyUnusable,
    /// The key server said something that makes no sense.
    ProtocolError,
}

impl FailureKind {
    /// The stable word for status and Kubernetes conditions.
    pub const fn label(self) -> &'static str {
        match self {
            Self::KeyServerUnreachable => "KeyServerUnreachable",
            Self::AuthenticationFailed => "AuthenticationFailed",
            Self::NotAuthorized => "NotAuthorized",
            Self::UnknownGroup => "UnknownGroup",
            Self::KeyServerNotReady => "KeyServerNotReady",
            Self::NoCommonAlgorithms => "NoCommonAlgorithms",
            Self::PolicyUnusable => "PolicyUnusable",
            Self::ProtocolError => "ProtocolError",
        }
    }
}

/// Something happened in the membership of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberEvent {
    /// The group.
    pub group_id: u32,
    /// What happened.
    pub kind: MemberEventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberEventKind {
    /// An attempt to register begins.
    RegistrationStarted {
        /// At this key server.
        key_server: SocketAddr,
        /// For this reason.
        reason: RegistrationReason,
    },
    /// A key server admitted us.
    Registered {
        /// The key server.
        key_server: SocketAddr,
        /// Its proven identity.
        identity: String,
        /// Our Sender-ID.
        sender_id: Option<u32>,
        /// Revision of the group's policy.
        policy_revision: Option<u64>,
        /// Number of TEKs received.
        traffic_keys: usize,
    },
    /// An attempt failed. What is held stays in force.
    RegistrationFailed {
        /// The key server.
        key_server: SocketAddr,
        /// Why.
        cause: String,
    },
    /// All key servers were tried in vain; the next round begins after the wait.
    Waiting {
        /// How long.
        wait: Duration,
    },
    /// A registration will be made.
    RegistrationDue {
        /// Why.
        reason: RegistrationReason,
        /// After this delay.
        delay: Duration,
    },
    /// A rekey was accepted.
    RekeyAccepted {
        /// Its Message ID.
        message_id: u32,
        /// SPIs of TEKs that are new or whose times changed.
        traffic_keys: Vec<Spi>,
        /// Whether the KEK changed.
        new_rekey_sa: bool,
        /// How old the message was when it arrived.
        age: Duration,
    },
    /// An exact copy of the last rekey arrived.
    RekeyRepeated,
    /// A rekey was refused; nothing changed.
    RekeyRefused {
        /// The closed label of the cause.
        label: &'static str,
        /// The cause in words.
        cause: String,
    },
    /// The key server excluded this member.
    Excluded,
    /// The policy cannot be used by this member.
    PolicyUnusable {
        /// Why.
        cause: String,
    },
    /// The last key that could be used for sending is gone: protected traffic is dropped.
    KeysExpired,
    /// The key server confirmed that we left.
    Left,
}
