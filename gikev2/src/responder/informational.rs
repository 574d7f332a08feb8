//! INFORMATIONAL: liveness, and the peer's Delete of the IKE SA (RFC 7296 §1.4).

use crate::exchange::payloads::Payloads;
use crate::wire::{Delete, Header, NotifyType};

use super::ike_sa::{IkeSa, State};
use super::{Arrival, Fate, Responder, Turn};

impl Responder {
    pub(super) fn handle_informational(
        &mut self,
        turn: &mut Turn<'_>,
        sa: &mut IkeSa,
        arrival: Arrival,
        header: &Header,
        request: &Payloads,
    ) -> Fate {
        let over = request.deletes.contains(&Delete::IkeSa)
            // The peer found our own proof wanting.
            || request.has_notify(NotifyType::AUTHENTICATION_FAILED);
        let fate = self.answer(sa, arrival, header, &[]);
        if over {
            self.end(turn, sa);
        } else if matches!(sa.state, State::Established) {
            sa.deadline = sa.deadline.max(turn.now + self.config.limits.idle_grace);
        }
        fate
    }
}
