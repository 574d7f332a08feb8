//! Keys for tools that read captures: tests let an independent dissector open what we sealed.
//!
//! This module does not exist in release builds; no configuration can bring it back.

use super::Initiator;
use super::state::State;
use crate::Secret;
use crate::wire::IkeSpi;

/// What a dissector needs to open the protected messages of one IKE SA.
pub struct DissectorKeys {
    /// SPIi.
    pub initiator_spi: IkeSpi,
    /// SPIr.
    pub responder_spi: IkeSpi,
    /// SK_d, from which GSK_w follows (RFC 9838 §3.1.1).
    pub derivation: Secret,
    /// SK_ei, with its salt.
    pub initiator_encryption: Secret,
    /// SK_er, with its salt.
    pub responder_encryption: Secret,
}

impl Initiator {
    /// The keys in force now; `None` before IKE_SA_INIT is answered and after the end. Debug builds only.
    pub fn dissector_keys(&self) -> Option<DissectorKeys> {
        let schedule = match &self.state {
            State::Intermediate(keyed, _) | State::Authenticating(keyed) => &keyed.schedule,
            State::Established(secured, _) => &secured.schedule,
            State::Opening(_) | State::Closed => return None,
        };
        let [derivation, initiator_encryption, responder_encryption] = schedule.dissection();
        Some(DissectorKeys {
            initiator_spi: self.initiator_spi,
            responder_spi: self.responder_spi,
            derivation,
            initiator_encryption,
            responder_encryption,
        })
    }
}
