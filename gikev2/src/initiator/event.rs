//! What the initiator tells its owner.

use super::error::InitiatorError;
use super::inband::InbandRekey;
use crate::Secret;
use crate::keys::tree::WorkingKeyPath;
use crate::wire::private::PrivateUse;
use crate::wire::{GroupSecurityAssociation, Identification, RekeySpi, Spi};

pub use crate::responder::Refusal;

/// Something the owner of the initiator has to know.
#[derive(Debug)]
pub enum Event {
    /// The key server admitted us: install this.
    Registered(Box<Registration>),
    /// The key server proved itself and refused the registration. The IKE SA is still up.
    Refused(Refusal),
    /// The key server admitted us with policy and keys that cannot be used; names the rule they break. It is being
    /// told so with GSA_REGISTRATION and NO_PROPOSAL_CHOSEN (RFC 9838 §2.3.2), and [`Event::Left`] follows when it
    /// has heard. The IKE SA is still up.
    Unusable(&'static str),
    /// The key server sent new keys or deletions over the IKE SA (GSA_INBAND_REKEY); it has our confirmation. Apply them.
    Rekeyed(Box<InbandRekey>),
    /// The key server sent such a rekey that cannot be used; names the rule it breaks. Register again.
    RekeyUnusable(&'static str),
    /// Childless IKE_AUTH succeeded.
    Authenticated {
        /// The peer's proven identity.
        peer: Identification,
    },
    /// The request to leave the group was confirmed.
    Left,
    /// The attempt is over without success. Nothing more will happen here.
    Failed(InitiatorError),
    /// The IKE SA was deleted, by the key server or at our own wish. What was registered stays in force when it
    /// includes a Rekey SA (RFC 9838 §2.3.3).
    Deleted,
}

/// Everything a registration gave us. Keys are unwrapped and have the exact lengths their SAs need.
pub struct Registration {
    /// The group that was asked for.
    pub group: Identification,
    /// Policy, structurally validated (RFC 9838 §4.4).
    pub gsa: GroupSecurityAssociation,
    /// Keying material of the Rekey SA (GSK_e ‖ GSK_w), if there is one.
    pub rekey: Option<(RekeySpi, Secret)>,
    /// Keying material of each data SA, by SPI.
    pub data: Vec<(Spi, Secret)>,
    /// The tree keys from just below the Rekey SA's key to our leaf; empty without LKH (RFC 9838 §3.3).
    pub working_key_path: WorkingKeyPath,
    /// DER SubjectPublicKeyInfo that verifies GSA_REKEY signatures.
    pub auth_key: Option<Vec<u8>>,
    /// Sender-IDs for our exclusive use.
    pub sender_ids: Vec<u32>,
    /// Identifier to put in acknowledgements, when the key server wants them.
    pub registration_id: Option<u64>,
    /// What private-use numbers in the rekeys of this group mean.
    pub private: PrivateUse,
    /// Key of acknowledgements.
    pub acknowledgement_key: Secret,
    /// The key server's proven identity.
    pub peer: Identification,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Registration")
            .field("group", &self.group)
            .field("gsa", &self.gsa)
            .field("sender_ids", &self.sender_ids)
            .field("registration_id", &self.registration_id)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
