//! What the responder tells its owner, and what the owner answers.

use std::net::SocketAddr;

use super::error::RejectReason;
use crate::Secret;
use crate::crypto::certificate::PeerCertificate;
use crate::wire::{
    GroupSecurityAssociation, Identification, NotifyType, Proposal, RekeySpi, Spi, WrappedKey,
};

/// Names one unanswered registration request. It goes stale when the request is answered or its IKE SA ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrationHandle {
    pub(super) ike_sa: u64,
    pub(super) message_id: u32,
}

impl RegistrationHandle {
    /// The IKE SA the request arrived on; the same for every request of that SA.
    pub fn ike_sa(self) -> IkeSaHandle {
        IkeSaHandle(self.ike_sa)
    }
}

/// Names one IKE SA of this responder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IkeSaHandle(pub(super) u64);

/// Something the owner of the responder has to know or decide.
#[derive(Debug)]
pub enum Event {
    /// An authenticated member asks to join a group. Answer with [`super::Responder::accept`] or
    /// [`super::Responder::refuse`]; until then repetitions of the request are absorbed.
    Registration {
        /// Names the request in the answer.
        handle: RegistrationHandle,
        /// What is asked, by whom.
        request: Box<RegistrationRequest>,
    },
    /// A member left the group, or found its policy unacceptable (RFC 9838 §2.3.2). It must be removed from the
    /// group. The protocol's answer is already on its way.
    Left {
        /// The IKE SA the member used.
        ike_sa: IkeSaHandle,
        /// Who leaves.
        identity: Identification,
        /// Which group.
        group: Identification,
        /// NO_PROPOSAL_CHOSEN: the policy cannot be used; REGISTRATION_FAILED: any other reason.
        reason: NotifyType,
        /// Where the member spoke from.
        remote: SocketAddr,
    },
    /// A stock IKEv2 peer authenticated by childless IKE_AUTH (RFC 6023). It is in no group.
    Authenticated {
        /// The new IKE SA.
        ike_sa: IkeSaHandle,
        /// Who it is.
        identity: Identification,
        /// Where it speaks from.
        remote: SocketAddr,
    },
    /// The member has confirmed the last [`super::Responder::rekey_inband`].
    InbandRekeyed {
        /// Its IKE SA.
        ike_sa: IkeSaHandle,
        /// Who it is.
        identity: Identification,
    },
    /// An authenticated IKE SA is gone: deleted by either side, or given up.
    Closed {
        /// Which one.
        ike_sa: IkeSaHandle,
        /// Whose it was.
        identity: Identification,
    },
    /// Something was refused; for the audit trail.
    Rejected {
        /// Where it came from. Not proven for anything before authentication.
        remote: SocketAddr,
        /// The identity that was claimed, when the message got that far.
        identity: Option<Identification>,
        /// Why.
        reason: RejectReason,
    },
}

/// A member's wish to join a group, after its identity was proven.
pub struct RegistrationRequest {
    /// The proven identity.
    pub identity: Identification,
    /// The certificate it was proven with; `None` with a pre-shared key.
    pub certificate: Option<PeerCertificate>,
    /// The group asked for (IDg).
    pub group: Identification,
    /// GM Supported Transforms (SAg, RFC 9838 §4.3), if sent.
    pub capabilities: Option<Vec<Proposal>>,
    /// The number of Sender-IDs in GROUP_SENDER: `None` when the member will only receive. Zero and one both mean
    /// one.
    pub sender_ids: Option<u32>,
    /// Our address and port.
    pub local: SocketAddr,
    /// The member's address and port, proven by the exchanges so far.
    pub remote: SocketAddr,
    /// Whether NAT detection found the member behind a NAT.
    pub behind_nat: bool,
    /// Whether IKE fragmentation was negotiated.
    pub fragmentation: bool,
    /// Whether the member can acknowledge rekeys.
    pub acknowledges: bool,
    /// Key of this registration's acknowledgements.
    pub acknowledgement_key: Secret,
    /// `true` for GSA_AUTH, `false` for a later GSA_REGISTRATION on the same IKE SA.
    pub initial: bool,
}

impl std::fmt::Debug for RegistrationRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RegistrationRequest")
            .field("identity", &self.identity)
            .field("group", &self.group)
            .field("sender_ids", &self.sender_ids)
            .field("remote", &self.remote)
            .field("acknowledges", &self.acknowledges)
            .field("initial", &self.initial)
            .finish_non_exhaustive()
    }
}

/// What a member gets when it is admitted.
pub struct Grant {
    /// Policy: Rekey SA, data SAs, group-wide policy.
    pub gsa: GroupSecurityAssociation,
    /// Keys for every SA in `gsa`.
    pub keys: GrantKeys,
    /// Identifier of this registration, repeated in the member's acknowledgements. It is sent only to a member that
    /// can acknowledge.
    pub registration_id: u64,
}

/// Keys of a [`Grant`]. Plain ones are wrapped with the IKE SA's GSK_w before they leave.
#[derive(Default)]
pub struct GrantKeys {
    /// The Rekey SA's key, when `gsa` has a Rekey SA policy.
    pub rekey: Option<RekeyKeyGrant>,
    /// Keying material of each data SA, by SPI.
    pub data: Vec<(Spi, Secret)>,
    /// Tree keys to be wrapped with GSK_w here: Key ID and key. With LKH, the member's leaf.
    pub plain_wrap_keys: Vec<(u32, Secret)>,
    /// Tree keys already wrapped by other tree keys.
    pub wrap_keys: Vec<WrappedKey>,
    /// DER SubjectPublicKeyInfo that verifies GSA_REKEY signatures.
    pub auth_key: Option<Vec<u8>>,
    /// Sender-IDs for this member's exclusive use.
    pub sender_ids: Vec<u32>,
}

/// The key of the Rekey SA in a [`Grant`].
pub struct RekeyKeyGrant {
    /// SPI of the Rekey SA policy it belongs to.
    pub spi: RekeySpi,
    /// The key itself.
    pub key: RekeyKey,
}

/// How a Rekey SA's key reaches a member at registration.
pub enum RekeyKey {
    /// Keying material GSK_e ‖ GSK_w, to be wrapped with the IKE SA's GSK_w.
    Plain(Secret),
    /// Already wrapped with a tree key the member gets in the same message (RFC 9838 Appendix A).
    Wrapped(WrappedKey),
}

/// Why a registration is refused. The member hears exactly this and nothing more (RFC 9838 §4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The group does not exist here.
    InvalidGroupId,
    /// This identity may not be in the group.
    AuthorizationFailed,
    /// A problem of the group and not of the member: try again later.
    RegistrationFailed,
    /// The member's capabilities do not cover the group's policy.
    NoProposalChosen,
}

impl Refusal {
    /// The notification that carries it.
    pub fn notify_type(self) -> NotifyType {
        match self {
            Self::InvalidGroupId => NotifyType::INVALID_GROUP_ID,
            Self::AuthorizationFailed => NotifyType::AUTHORIZATION_FAILED,
            Self::RegistrationFailed => NotifyType::REGISTRATION_FAILED,
            Self::NoProposalChosen => NotifyType::NO_PROPOSAL_CHOSEN,
        }
    }

    /// The refusal a notification carries, if it is one.
    pub fn from_notify_type(notify_type: NotifyType) -> Option<Self> {
        match notify_type {
            NotifyType::INVALID_GROUP_ID => Some(Self::InvalidGroupId),
            NotifyType::AUTHORIZATION_FAILED => Some(Self::AuthorizationFailed),
            NotifyType::REGISTRATION_FAILED => Some(Self::RegistrationFailed),
            NotifyType::NO_PROPOSAL_CHOSEN => Some(Self::NoProposalChosen),
            _ => None,
        }
    }
}

/// An answer that could not be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The request was answered already, or its IKE SA is gone.
    #[error("the registration request is no longer open")]
    Stale,
    /// The grant cannot be written: the key wrap or a payload refused it. The member was told
    /// REGISTRATION_FAILED instead.
    #[error("the grant cannot be encoded")]
    Encoding,
}
