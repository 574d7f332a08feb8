//! Where an attempt stands: each state has one request on its way, or none.

use crate::crypto::key_exchange::PendingKeyExchange;
use crate::exchange::authentication::Transcript;
use crate::exchange::key_schedule::KeySchedule;
use crate::wire::private::PrivateUse;
use crate::wire::{HashAlgorithmId, Proposal};

use super::{InitiatorError, RegistrationParameters};

/// The states of an [`super::Initiator`].
pub(super) enum State {
    /// IKE_SA_INIT is on its way.
    Opening(Box<Opening>),
    /// IKE_INTERMEDIATE with our half of an additional key exchange is on its way.
    Intermediate(Box<Keyed>, Box<PendingKeyExchange>),
    /// GSA_AUTH or IKE_AUTH is on its way.
    Authenticating(Box<Keyed>),
    /// The IKE SA is up.
    Established(Box<Secured>, Pending),
    /// Over.
    Closed,
}

/// What IKE_SA_INIT needs until it is answered.
pub(super) struct Opening {
    /// Everything we offer; never narrowed by a retry.
    pub(super) offer: Vec<Proposal>,
    /// Our nonce, the same in every retry.
    pub(super) nonce: Vec<u8>,
    /// Our half of the key exchange.
    pub(super) key_exchange: PendingKeyExchange,
    /// The key server's last cookie.
    pub(super) cookie: Option<Vec<u8>>,
    /// Retries for a cookie or another method so far.
    pub(super) retries: u8,
    /// What an unauthenticated error notification claimed. Believed only when nothing better comes.
    pub(super) hint: Option<InitiatorError>,
    /// The request as sent last.
    pub(super) request: Vec<u8>,
}

/// An IKE SA with keys, the key server not authenticated yet.
pub(super) struct Keyed {
    pub(super) schedule: KeySchedule,
    pub(super) transcript: Transcript,
    pub(super) peer: Peer,
}

/// An IKE SA whose key server is authenticated.
pub(super) struct Secured {
    pub(super) schedule: KeySchedule,
    pub(super) peer: Peer,
    /// Its identity.
    pub(super) identity: crate::wire::Identification,
    /// Whether we are in a group by a registration over this IKE SA.
    pub(super) registered: bool,
}

/// What IKE_SA_INIT told us about the key server.
pub(super) struct Peer {
    /// It can take fragments.
    pub(super) fragmentation: bool,
    /// It has our private extensions.
    pub(super) ours: bool,
    /// It can do without a Child SA in IKE_AUTH.
    pub(super) childless: bool,
    /// Hashes of signatures it can verify.
    pub(super) hashes: Vec<HashAlgorithmId>,
}

impl Peer {
    /// What its private-use numbers mean.
    pub(super) fn private(&self) -> PrivateUse {
        PrivateUse::of_peer(self.ours)
    }
}

/// The request that is on its way in an IKE SA that is up.
pub(super) enum Pending {
    /// None.
    Nothing,
    /// GSA_REGISTRATION to join.
    Register(Box<RegistrationParameters>),
    /// GSA_REGISTRATION to leave.
    Leave,
    /// INFORMATIONAL, empty.
    Probe,
    /// INFORMATIONAL with a Delete of the IKE SA.
    Delete,
}
