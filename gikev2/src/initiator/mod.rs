//! The group member's end of a registration (RFC 9838 §2.3): one [`Initiator`] is one IKE SA to one key server.
//!
//! It proves who it is, checks that the key server is one it may listen to, and hands over policy and keys. Whether
//! to accept the policy, when to try again and with which key server is the owner's business.

mod config;
mod error;
mod event;

use std::net::SocketAddr;
use std::time::Instant;

pub use config::{Config, Purpose, RegistrationParameters};
pub use error::InitiatorError;
pub use event::{Event, Refusal, Registration};

use crate::wire::Identification;
use crate::{Entropy, Transmit};

/// One registration attempt, and the IKE SA that comes of it.
pub struct Initiator {
    _config: Config,
}

impl Initiator {
    /// Starts a registration at `remote`; the first datagram is ready in [`Self::poll_transmit`].
    pub fn new(
        config: Config,
        local: SocketAddr,
        remote: SocketAddr,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Self {
        let _ = (local, remote, now, entropy);
        Self { _config: config }
    }

    /// Takes a datagram in. `unix_time` (seconds) decides whether certificates are valid. Datagrams that are not
    /// from our key server, or not for this IKE SA, change nothing.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        unix_time: u64,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
        entropy: &mut dyn Entropy,
    ) {
        let _ = (now, unix_time, local, remote, datagram, entropy);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let _ = (now, entropy);
    }

    /// Registers to another group, or to the same one again, over the IKE SA that is up (GSA_REGISTRATION).
    /// Answers `false` when that is not possible now.
    pub fn register(&mut self, now: Instant, parameters: RegistrationParameters, entropy: &mut dyn Entropy) -> bool {
        let _ = (now, parameters, entropy);
        false
    }

    /// Leaves `group`: `unacceptable` says that its policy cannot be used here (NO_PROPOSAL_CHOSEN) rather than any
    /// other reason (REGISTRATION_FAILED). Answers `false` when that is not possible now.
    pub fn leave(
        &mut self,
        now: Instant,
        group: &Identification,
        unacceptable: bool,
        entropy: &mut dyn Entropy,
    ) -> bool {
        let _ = (now, group, unacceptable, entropy);
        false
    }

    /// Asks the key server whether it is alive: [`Event::Failed`] follows when it is not. Answers `false` when
    /// that is not possible now.
    pub fn probe(&mut self, now: Instant, entropy: &mut dyn Entropy) -> bool {
        let _ = (now, entropy);
        false
    }

    /// Deletes the IKE SA. Answers `false` when that is not possible now.
    pub fn delete(&mut self, now: Instant, entropy: &mut dyn Entropy) -> bool {
        let _ = (now, entropy);
        false
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    /// The next thing to tell the owner.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// When [`Self::handle_timeout`] is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }

    /// Whether nothing more will happen: drop it.
    pub fn is_closed(&self) -> bool {
        false
    }
}
