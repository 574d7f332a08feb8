//! What a key server did and refused, as events with stable codes.

use std::net::SocketAddr;

use gikev2::responder::RejectReason;

use crate::command::RekeyReason;

/// Something worth an audit record.
#[derive(Debug)]
pub enum AuditEvent {
    /// A member registered.
    Registered {
        /// Name of the group.
        group: String,
        /// The member.
        identity: String,
        /// Its registration ID.
        registration_id: u64,
        /// Where it spoke from.
        remote: SocketAddr,
        /// Its Sender-IDs.
        sender_ids: Vec<u32>,
    },
    /// A registration was refused.
    Refused {
        /// Name of the group, or its number when there is none of it.
        group: String,
        /// The member.
        identity: String,
        /// Where it spoke from.
        remote: SocketAddr,
        /// Why.
        cause: RefusalCause,
    },
    /// A stock IKEv2 peer authenticated; it is in no group.
    Authenticated {
        /// The peer.
        identity: String,
        /// Where it spoke from.
        remote: SocketAddr,
    },
    /// A message was rejected before any decision about a group.
    Rejected {
        /// Where it came from; not proven for anything.
        remote: SocketAddr,
        /// The identity it claimed, if it got that far.
        identity: Option<String>,
        /// Why.
        reason: RejectReason,
    },
    /// A member says that it leaves; its removal follows.
    Left {
        /// Name of the group.
        group: String,
        /// The member.
        identity: String,
        /// Where it spoke from.
        remote: SocketAddr,
        /// Whether it cannot use the group's policy (NO_PROPOSAL_CHOSEN, RFC 9838 §2.3.2).
        policy_unusable: bool,
    },
    /// Members are out of the group: they left, or did not acknowledge for too long.
    Removed {
        /// Name of the group.
        group: String,
        /// Their registration IDs.
        registration_ids: Vec<u64>,
    },
    /// Keys changed and members are told.
    Rekeyed {
        /// Name of the group.
        group: String,
        /// Why.
        reason: RekeyReason,
        /// Message ID of the rekey.
        message_id: u32,
        /// Members it is sent to.
        members: u32,
        /// Number of datagrams.
        datagrams: usize,
    },
    /// A member acknowledged a rekey.
    Acknowledged {
        /// Name of the group.
        group: String,
        /// Its registration ID.
        registration_id: u64,
        /// Message ID of the rekey.
        message_id: u32,
    },
    /// Delivery of a rekey is over.
    Delivered {
        /// Name of the group.
        group: String,
        /// Message ID of the rekey.
        message_id: u32,
        /// Members it was sent to.
        addressed: u32,
        /// Those that did not acknowledge though they can.
        silent: u32,
    },
    /// A rekey could not be planned; it is tried again.
    PlanFailed {
        /// Name of the group.
        group: String,
        /// Why.
        error: crate::error::PlanError,
    },
    /// A group needs a signing key: make one and hand it to
    /// [`KeyServer::handle_signing_key`](crate::server::KeyServer::handle_signing_key).
    SigningKeyNeeded {
        /// Number of the group.
        group_id: u32,
        /// Name of the group.
        group: String,
        /// Algorithm of the key.
        algorithm: keyserver_api::policy::SignatureAlgorithm,
    },
}

impl AuditEvent {
    /// A stable code, fit for logs and metric labels.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "registered",
            Self::Refused { .. } => "registration_refused",
            Self::Authenticated { .. } => "authenticated",
            Self::Rejected { .. } => "rejected",
            Self::Left {
                policy_unusable: true,
                ..
            } => "policy_unusable",
            Self::Left { .. } => "member_left",
            Self::Removed { .. } => "members_removed",
            Self::Rekeyed { .. } => "rekeyed",
            Self::Acknowledged { .. } => "rekey_acknowledged",
            Self::Delivered { .. } => "rekey_delivered",
            Self::PlanFailed { .. } => "rekey_plan_failed",
            Self::SigningKeyNeeded { .. } => "signing_key_needed",
        }
    }
}

/// Why a registration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusalCause {
    /// No such group.
    #[error("there is no such group")]
    Group,
    /// The policy's identity patterns do not name the member.
    #[error("the identity is not authorised for the group")]
    Identity,
    /// The member's address is not in the policy's networks.
    #[error("the address is not authorised for the group")]
    Address,
    /// The member was evicted.
    #[error("the identity was evicted from the group")]
    Evicted,
    /// The member cannot use the group's algorithms.
    #[error("the member does not support the group's algorithms")]
    Capabilities,
    /// The group has no keys yet.
    #[error("the group has no keys yet")]
    NoKeys,
    /// This key server cannot reach a quorum.
    #[error("no quorum of key servers can be reached")]
    NoQuorum,
    /// Sender-IDs are used up; a new epoch is on its way.
    #[error("the Sender-IDs of this epoch are used up")]
    SenderIds,
    /// The group has no place left.
    #[error("the group is full")]
    Full,
    /// The registration was not committed in time.
    #[error("the registration was not committed in time")]
    TimedOut,
    /// The grant could not be made.
    #[error("the grant could not be made")]
    Internal,
}

impl RefusalCause {
    /// A stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Group => "group_not_found",
            Self::Identity => "identity",
            Self::Address => "address",
            Self::Evicted => "evicted",
            Self::Capabilities => "capabilities",
            Self::NoKeys => "no_keys",
            Self::NoQuorum => "no_quorum",
            Self::SenderIds => "sender_ids",
            Self::Full => "full",
            Self::TimedOut => "timed_out",
            Self::Internal => "internal",
        }
    }
}
