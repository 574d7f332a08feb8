//! A member's side of GSA_REKEY (RFC 9838 §2.4.1): verify, then change state, never the other way round.

use std::time::Instant;

use crate::Secret;
use crate::initiator::Registration;
use crate::wire::{GroupSecurityAssociation, Notify, RekeySpi, Spi};

use super::error::RekeyError;

/// The Rekey SAs of one group, as a member holds them.
pub struct Receiver {
    _private: (),
}

/// What a datagram was.
#[derive(Debug)]
pub enum Received {
    /// A new, authentic message: apply it.
    Accepted(Box<Accepted>),
    /// An exact copy of the last accepted message: nothing changes.
    Duplicate {
        /// The acknowledgement to send once more, to the address the copy came from. Without non-ESP marker.
        acknowledgement: Option<Vec<u8>>,
    },
    /// A fragment of a message that is not complete yet.
    Incomplete,
}

/// An authentic GSA_REKEY message, completely validated, keys unwrapped.
pub struct Accepted {
    /// The Rekey SA it came over.
    pub spi: RekeySpi,
    /// Its Message ID.
    pub message_id: u32,
    /// New policy; `None` in a message that only deletes.
    pub gsa: Option<GroupSecurityAssociation>,
    /// Keying material of each new data SA.
    pub data: Vec<(Spi, Secret)>,
    /// The new Rekey SA, already installed in the [`Receiver`].
    pub new_rekey: Option<RekeySpi>,
    /// What to delete.
    pub deletes: Deletes,
    /// Notifications.
    pub notifies: Vec<Notify>,
    /// The acknowledgement to send to the address the message came from, once it is applied. Without non-ESP marker.
    pub acknowledgement: Option<Vec<u8>>,
}

impl std::fmt::Debug for Accepted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Accepted")
            .field("spi", &self.spi)
            .field("message_id", &self.message_id)
            .field("gsa", &self.gsa)
            .field("new_rekey", &self.new_rekey)
            .field("deletes", &self.deletes)
            .finish_non_exhaustive()
    }
}

/// SAs named in Delete payloads (RFC 9838 §2.4.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletes {
    /// Data SAs to delete after the deactivation delay.
    pub data: Vec<Spi>,
    /// Whether all data SAs are to be deleted.
    pub all_data: bool,
    /// Whether this member is out of the group. To stay it must register again, after a random delay.
    pub excluded: bool,
}

impl Receiver {
    /// The receiver of the group that `registration` joined; takes the Rekey SA's key, the working key path and the
    /// acknowledgement key out of it. `None` when the group has no Rekey SA.
    ///
    /// # Errors
    ///
    /// [`RekeyError::Setup`] when policy, keys and AUTH_KEY do not fit together.
    pub fn from_registration(now: Instant, registration: &mut Registration) -> Result<Option<Self>, RekeyError> {
        let _ = (now, registration);
        Ok(None)
    }

    /// Takes over a newer registration of the same group. A Rekey SA that is already known keeps the Message ID it
    /// has reached: a registration that raced with a rekey cannot turn it back (RFC 9838 §2.4.1.4).
    ///
    /// # Errors
    ///
    /// [`RekeyError::Setup`]; the receiver is unchanged.
    pub fn handle_registration(&mut self, now: Instant, registration: &mut Registration) -> Result<(), RekeyError> {
        let _ = (now, registration);
        Ok(())
    }

    /// Whether a datagram's IKE header names one of our Rekey SAs; for routing among groups.
    pub fn owns(&self, message: &[u8]) -> bool {
        let _ = message;
        false
    }

    /// Takes in an IKE message (without non-ESP marker) with exchange type GSA_REKEY.
    ///
    /// # Errors
    ///
    /// [`RekeyError`] says why the message was not accepted. Unless the variant says otherwise nothing has changed.
    pub fn handle(&mut self, now: Instant, message: &[u8]) -> Result<Received, RekeyError> {
        let _ = (now, message);
        Ok(Received::Incomplete)
    }

    /// Forgets Rekey SAs whose lifetime or deactivation delay is over, and incomplete fragment sets.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When [`Self::handle_timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }

    /// When the newest Rekey SA ends; the member must have registered again by then.
    pub fn expires(&self) -> Option<Instant> {
        None
    }
}
