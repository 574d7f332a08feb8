//! The key server's end of registrations (RFC 9838 §2.3): every IKE SA of one key server.
//!
//! It agrees keys, checks who the member is and carries requests and answers. Whether a member may join, and what it
//! gets, is decided by the owner alone: [`Event::Registration`] asks, [`Responder::accept`] and
//! [`Responder::refuse`] answer. No answer leaves before the owner has spoken, so it can commit first.

mod config;
mod error;
mod event;

use std::net::SocketAddr;
use std::time::Instant;

pub use config::{Config, Limits};
pub use error::RejectReason;
pub use event::{
    AnswerError, Event, Grant, GrantKeys, IkeSaHandle, Refusal, RegistrationHandle, RegistrationRequest, RekeyKey,
    RekeyKeyGrant,
};

use crate::{Entropy, Transmit};

/// All IKE SAs of a key server.
pub struct Responder {
    _config: Config,
}

impl Responder {
    /// A responder without any IKE SA. `entropy` gives the first cookie secret.
    pub fn new(config: Config, now: Instant, entropy: &mut dyn Entropy) -> Self {
        let _ = (now, entropy);
        Self { _config: config }
    }

    /// Takes a datagram in that arrived at our address `local` from `remote`. `unix_time` (seconds) decides whether
    /// certificates are valid.
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

    /// Admits the member that asked with `handle`. The answer is ready in [`Self::poll_transmit`] afterwards.
    ///
    /// # Errors
    ///
    /// [`AnswerError::Stale`] when the request is no longer open, [`AnswerError::Encoding`] when the grant cannot be
    /// written; the member was then told REGISTRATION_FAILED.
    pub fn accept(
        &mut self,
        now: Instant,
        handle: RegistrationHandle,
        grant: Grant,
        entropy: &mut dyn Entropy,
    ) -> Result<(), AnswerError> {
        let _ = (now, handle, grant, entropy);
        Err(AnswerError::Stale)
    }

    /// Refuses the registration that asked with `handle`.
    ///
    /// # Errors
    ///
    /// [`AnswerError::Stale`] when the request is no longer open.
    pub fn refuse(
        &mut self,
        now: Instant,
        handle: RegistrationHandle,
        refusal: Refusal,
        entropy: &mut dyn Entropy,
    ) -> Result<(), AnswerError> {
        let _ = (now, handle, refusal, entropy);
        Err(AnswerError::Stale)
    }

    /// Deletes an IKE SA, telling the peer.
    pub fn delete_ike_sa(&mut self, now: Instant, ike_sa: IkeSaHandle, entropy: &mut dyn Entropy) {
        let _ = (now, ike_sa, entropy);
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
}
