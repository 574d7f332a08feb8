//! The keys of one IKE SA through its life: derived in IKE_SA_INIT, mixed anew by each additional key exchange
//! (RFC 9370 §2.2.2), with every IKE_INTERMEDIATE message folded into what AUTH will cover (RFC 9242 §3.3).

use std::time::Instant;

use crate::Secret;
use crate::crypto::aead::{AeadAlgorithm, AeadKey, IV_LENGTH};
use crate::crypto::prf::Prf;
use crate::keys::ike_sa::{DerivationError, IkeSaKeys, KeySeed};
use crate::wire::encrypted::authenticated_octets;
use crate::wire::payload::Chain;
use crate::wire::private::{ACKNOWLEDGEMENT_KEY_LABEL, ACKNOWLEDGEMENT_KEY_LENGTH};
use crate::wire::{Header, IkeSpi, Message, WriteError};

use super::proposal::Suite;
use super::protect::{self, Opened};
use super::reassembly::Reassembly;

/// Which end of the IKE SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The member.
    Initiator,
    /// The key server.
    Responder,
}

/// What both ends said in the clear; it stays the same for the life of the IKE SA.
pub(crate) struct Opening {
    /// SPIi.
    pub(crate) initiator_spi: IkeSpi,
    /// SPIr.
    pub(crate) responder_spi: IkeSpi,
    /// Ni, without payload header.
    pub(crate) initiator_nonce: Vec<u8>,
    /// Nr, without payload header.
    pub(crate) responder_nonce: Vec<u8>,
}

impl Opening {
    fn seed(&self) -> KeySeed<'_> {
        KeySeed {
            initiator_spi: &self.initiator_spi.0,
            responder_spi: &self.responder_spi.0,
            initiator_nonce: &self.initiator_nonce,
            responder_nonce: &self.responder_nonce,
        }
    }
}

/// The current keys of an IKE SA.
pub(crate) struct KeySchedule {
    role: Role,
    suite: Suite,
    opening: Opening,
    prf: Prf,
    keys: IkeSaKeys,
    next_iv: u64,
    initiator_fold: Option<Secret>,
    responder_fold: Option<Secret>,
}

impl KeySchedule {
    /// The first keys, from the shared secret of IKE_SA_INIT.
    pub(crate) fn new(
        role: Role,
        suite: Suite,
        opening: Opening,
        shared: &Secret,
    ) -> Result<Self, DerivationError> {
        let prf = Prf::from_id(suite.prf).ok_or(DerivationError)?;
        let aead =
            AeadAlgorithm::from_id(suite.encryption, suite.key_bits).ok_or(DerivationError)?;
        let keys = IkeSaKeys::initial(prf, aead, &opening.seed(), shared)?;
        Ok(Self {
            role,
            suite,
            opening,
            prf,
            keys,
            next_iv: 1,
            initiator_fold: None,
            responder_fold: None,
        })
    }

    /// Replaces every key by the result of an additional key exchange.
    pub(crate) fn mix(&mut self, shared: &Secret) -> Result<(), DerivationError> {
        self.keys = self.keys.mixed(&self.opening.seed(), shared)?;
        Ok(())
    }

    /// The algorithms.
    pub(crate) fn suite(&self) -> Suite {
        self.suite
    }

    /// SPIs and nonces.
    pub(crate) fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The pseudorandom function.
    pub(crate) fn prf(&self) -> Prf {
        self.prf
    }

    /// Seals one of our messages.
    pub(crate) fn seal(
        &mut self,
        header: &Header,
        chain: &Chain,
        fragment_size: Option<usize>,
    ) -> Result<Vec<Vec<u8>>, WriteError> {
        let key = match self.role {
            Role::Initiator => &self.keys.initiator_encryption,
            Role::Responder => &self.keys.responder_encryption,
        };
        let next_iv = &mut self.next_iv;
        let iv = |_| {
            let iv: [u8; IV_LENGTH] = next_iv.to_be_bytes();
            *next_iv += 1;
            iv
        };
        protect::seal(header, key, iv, chain, fragment_size)
    }

    /// Opens one of the peer's messages.
    pub(crate) fn open(
        &self,
        now: Instant,
        message: &Message<'_>,
        reassembly: &mut Reassembly,
    ) -> Opened {
        protect::open(now, message, self.peer_key(), reassembly)
    }

    /// Whether the ICV of one datagram of the peer verifies.
    pub(crate) fn verifies(&self, message: &Message<'_>) -> bool {
        protect::verifies(message, self.peer_key())
    }

    fn peer_key(&self) -> &AeadKey {
        match self.role {
            Role::Initiator => &self.keys.responder_encryption,
            Role::Responder => &self.keys.initiator_encryption,
        }
    }

    /// SK_d, SK_ei and SK_er in force now, the latter with their salts, for a dissector. Absent from release builds.
    #[cfg(debug_assertions)]
    pub(crate) fn dissection(&self) -> [Secret; 3] {
        self.keys.dissection()
    }

    /// SK_pi or SK_pr, for AUTH.
    pub(crate) fn proof_key(&self, prover: Role) -> &[u8] {
        match prover {
            Role::Initiator => self.keys.initiator_proof.as_bytes(),
            Role::Responder => self.keys.responder_proof.as_bytes(),
        }
    }

    /// Folds an IKE_INTERMEDIATE message of `sender` into what AUTH covers, under the keys in force before the
    /// exchange: call it before [`Self::mix`].
    pub(crate) fn fold(
        &mut self,
        sender: Role,
        header: &Header,
        flags: u8,
        chain: &Chain,
    ) -> Result<(), WriteError> {
        let octets = authenticated_octets(header, flags, chain)?;
        let key = self.proof_key(sender);
        let fold = match sender {
            Role::Initiator => &self.initiator_fold,
            Role::Responder => &self.responder_fold,
        };
        let folded = match fold {
            Some(previous) => self.prf.compute(key, &[previous.as_bytes(), &octets]),
            None => self.prf.compute(key, &[&octets]),
        };
        match sender {
            Role::Initiator => self.initiator_fold = Some(folded),
            Role::Responder => self.responder_fold = Some(folded),
        }
        Ok(())
    }

    /// IntAuth (RFC 9242 §3.3): empty without IKE_INTERMEDIATE. `message_id` is that of the first GSA_AUTH or
    /// IKE_AUTH request.
    pub(crate) fn intermediate_authentication(&self, message_id: u32) -> Vec<u8> {
        let mut octets = Vec::new();
        if let (Some(initiator), Some(responder)) = (&self.initiator_fold, &self.responder_fold) {
            octets.extend_from_slice(initiator.as_bytes());
            octets.extend_from_slice(responder.as_bytes());
            octets.extend_from_slice(&message_id.to_be_bytes());
        }
        octets
    }

    /// GSK_w, the default key wrap key (RFC 9838 §3.1.1).
    pub(crate) fn key_wrap_key(&self) -> Result<Secret, DerivationError> {
        self.keys.key_wrap_key()
    }

    /// The key of this registration's rekey acknowledgements.
    pub(crate) fn acknowledgement_key(&self) -> Result<Secret, DerivationError> {
        self.keys
            .from_derivation_key(ACKNOWLEDGEMENT_KEY_LABEL, ACKNOWLEDGEMENT_KEY_LENGTH)
    }
}
