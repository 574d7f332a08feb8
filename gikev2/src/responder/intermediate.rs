//! IKE_INTERMEDIATE with an additional key exchange (RFC 9242, RFC 9370 §2.2.2).

use crate::crypto::key_exchange;
use crate::exchange::payloads::Payloads;
use crate::wire::{Header, KeyExchange, NotifyType, Payload};

use super::ike_sa::{IkeSa, State};
use super::protected::notification;
use super::{Arrival, Fate, RejectReason, Responder, Turn};

impl Responder {
    /// Answers the additional key exchange. The answer still travels under the old keys; everything after it under
    /// the mixed ones.
    pub(super) fn handle_intermediate(
        &mut self,
        turn: &mut Turn<'_>,
        sa: &mut IkeSa,
        arrival: Arrival,
        header: &Header,
        request: &Payloads,
    ) -> Fate {
        let State::KeyExchange(method) = sa.state else {
            return Fate::Keep;
        };
        let theirs = request
            .key_exchange
            .as_ref()
            .filter(|theirs| theirs.method == method);
        let responded =
            theirs.map(|theirs| key_exchange::respond(method, &theirs.data, turn.entropy));
        let Some(Ok((public_value, shared))) = responded else {
            let fate = self.answer(
                sa,
                arrival,
                header,
                &[notification(NotifyType::INVALID_SYNTAX)],
            );
            self.reject(sa, RejectReason::KeyExchange);
            self.end(turn, sa);
            return fate;
        };
        let payload = Payload::KeyExchange(KeyExchange {
            method,
            data: public_value,
        });
        let fate = self.answer(sa, arrival, header, &[payload]);
        if sa.schedule.mix(&shared).is_err() {
            return Fate::Remove;
        }
        sa.state = State::Authentication;
        fate
    }
}
