//! Messages inside an IKE SA: windows, the state's legal requests, answers, and what time brings.

use crate::exchange::key_schedule::Role;
use crate::exchange::message_id::Position;
use crate::exchange::payloads::Payloads;
use crate::exchange::protect::Opened;
use crate::exchange::reassembly::Reassembly;
use crate::exchange::retransmit::{Due, Outstanding};
use crate::wire::payload::Chain;
use crate::wire::{
    Delete, ExchangeType, Header, Message, Notify, NotifyType, ParseError, Payload, Protected,
    WriteError,
};

use super::ike_sa::{Asked, IkeSa, State};
use super::{Arrival, Event, Fate, IkeSaHandle, Refusal, RejectReason, Responder, Turn};

/// How long an IKE SA that is over still answers repetitions of its last request.
const AFTERGLOW: std::time::Duration = std::time::Duration::from_secs(5);

/// Bounds what a request of ours may take, whatever the retransmission policy says.
pub(super) const REQUEST_TIME: std::time::Duration = std::time::Duration::from_secs(120);

impl Responder {
    /// Takes in a message for `sa`.
    pub(super) fn handle_protected(
        &mut self,
        turn: &mut Turn<'_>,
        sa: &mut IkeSa,
        arrival: Arrival,
        datagram: &[u8],
    ) -> Fate {
        let Ok(message) = Message::parse(datagram) else {
            return Fate::Keep;
        };
        let header = message.header;
        if matches!(message.protected, Some(Protected::Fragment(_))) && !sa.peer.fragmentation {
            return Fate::Keep;
        }
        if header.flags.is_response() {
            return self.handle_answer(turn, sa, &message);
        }
        match sa.window.position(header.message_id) {
            Position::Outside => return Fate::Keep,
            Position::Repeated => {
                let answer = sa.repeated_answer(turn.now, arrival.remote, &message, datagram);
                self.transmit(arrival, answer);
                return Fate::Keep;
            }
            Position::Next => {}
        }
        let key_wrap = sa.schedule.suite().key_wrap;
        if !sa
            .state
            .allows(header.exchange, key_wrap, self.config.childless)
        {
            return Fate::Keep;
        }
        let (chain, flags) = match sa.schedule.open(turn.now, &message, &mut sa.reassembly) {
            Opened::Refused => return Fate::Keep,
            Opened::Incomplete => {
                sa.remember_request(&message, datagram);
                return Fate::Keep;
            }
            Opened::Complete(chain, flags) => (chain, flags),
        };
        sa.remember_request(&message, datagram);
        sa.window.advance();
        sa.follow(arrival.local, arrival.remote);
        self.handle_request(turn, sa, arrival, &header, flags, &chain)
    }

    fn handle_request(
        &mut self,
        turn: &mut Turn<'_>,
        sa: &mut IkeSa,
        arrival: Arrival,
        header: &Header,
        flags: u8,
        chain: &Chain,
    ) -> Fate {
        let request = match chain.parse().and_then(Payloads::sort) {
            Ok(request) => request,
            Err(error) => return self.handle_malformed(turn, sa, arrival, header, error),
        };
        match header.exchange {
            ExchangeType::IKE_INTERMEDIATE => {
                if sa
                    .schedule
                    .fold(Role::Initiator, header, flags, chain)
                    .is_err()
                {
                    return Fate::Remove;
                }
                self.handle_intermediate(turn, sa, arrival, header, &request)
            }
            ExchangeType::GSA_AUTH | ExchangeType::IKE_AUTH => {
                self.handle_authentication(turn, sa, arrival, header, request)
            }
            ExchangeType::GSA_REGISTRATION => {
                self.handle_registration(turn, sa, arrival, header, request)
            }
            ExchangeType::INFORMATIONAL => {
                self.handle_informational(turn, sa, arrival, header, &request)
            }
            _ => {
                // CREATE_CHILD_SA: there is nothing to create, and the IKE SA lives too short to be rekeyed.
                sa.deadline = turn.now + self.config.limits.idle_grace;
                self.answer(
                    sa,
                    arrival,
                    header,
                    &[notification(NotifyType::NO_ADDITIONAL_SAS)],
                )
            }
        }
    }

    /// An authentic message that cannot be read: unknown critical payloads cost only the request, bad syntax costs
    /// the IKE SA (RFC 7296 §2.5, §2.21.3).
    fn handle_malformed(
        &mut self,
        turn: &mut Turn<'_>,
        sa: &mut IkeSa,
        arrival: Arrival,
        header: &Header,
        error: ParseError,
    ) -> Fate {
        let notify = match error {
            ParseError::UnsupportedCriticalPayload { payload_type } => {
                Notify::unsupported_critical_payload(payload_type)
            }
            _ => Notify::empty(NotifyType::INVALID_SYNTAX),
        };
        let survives = notify.notify_type == NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD
            && matches!(sa.state, State::Established);
        let fate = self.answer(sa, arrival, header, &[Payload::Notify(notify)]);
        self.reject(sa, RejectReason::Malformed(error));
        if !survives {
            self.end(turn, sa);
        }
        fate
    }

    /// Sends and keeps the answer to `request`.
    pub(super) fn answer(
        &mut self,
        sa: &mut IkeSa,
        arrival: Arrival,
        request: &Header,
        payloads: &[Payload],
    ) -> Fate {
        match self.try_answer(sa, arrival, request.exchange, request.message_id, payloads) {
            Ok(()) => Fate::Keep,
            Err(_) => Fate::Remove,
        }
    }

    /// As [`Self::answer`], for answers that may not fit.
    pub(super) fn try_answer(
        &mut self,
        sa: &mut IkeSa,
        arrival: Arrival,
        exchange: ExchangeType,
        message_id: u32,
        payloads: &[Payload],
    ) -> Result<(), WriteError> {
        let datagrams = sa.answer(exchange, message_id, payloads)?;
        self.transmit(arrival, datagrams);
        Ok(())
    }

    pub(super) fn reject(&mut self, sa: &IkeSa, reason: RejectReason) {
        let identity = sa.identity.clone();
        self.events.push_back(Event::Rejected {
            remote: sa.remote,
            identity,
            reason,
        });
    }

    /// Ends an IKE SA; for a while it still answers repetitions of the last request.
    pub(super) fn end(&mut self, turn: &Turn<'_>, sa: &mut IkeSa) {
        sa.state = State::Over;
        sa.asked = None;
        sa.deadline = turn.now + AFTERGLOW;
    }

    /// Asks the peer to delete the IKE SA.
    pub(super) fn close(&mut self, turn: &mut Turn<'_>, sa: &mut IkeSa) -> Fate {
        if !matches!(sa.state, State::Established | State::Deciding(_)) {
            return if matches!(sa.state, State::Closing | State::Over) {
                Fate::Keep
            } else {
                Fate::Remove
            };
        }
        if sa.asked.is_some() {
            // One request at a time: the Delete has to wait, but not for ever.
            if sa.close_when_answered && turn.now >= sa.deadline {
                return Fate::Remove;
            }
            if !std::mem::replace(&mut sa.close_when_answered, true) {
                sa.deadline = turn.now + REQUEST_TIME;
            }
            return Fate::Keep;
        }
        let exchange = ExchangeType::INFORMATIONAL;
        let delete = [Payload::Delete(Delete::IkeSa)];
        let Some((message_id, datagrams)) = sa.request(exchange, &delete) else {
            return Fate::Remove;
        };
        self.transmit(
            Arrival {
                local: sa.local,
                remote: sa.remote,
            },
            datagrams.clone(),
        );
        let outstanding = Outstanding::new(
            datagrams,
            &self.config.retransmission,
            turn.now,
            turn.entropy,
        );
        sa.asked = Some(Asked {
            exchange,
            message_id,
            outstanding,
        });
        sa.state = State::Closing;
        sa.deadline = turn.now + REQUEST_TIME;
        Fate::Keep
    }

    /// The peer's answer to a request of ours: a Delete or an inband rekey.
    fn handle_answer(
        &mut self,
        turn: &mut Turn<'_>,
        sa: &mut IkeSa,
        message: &Message<'_>,
    ) -> Fate {
        let header = message.header;
        let expected = sa.asked.as_ref().is_some_and(|asked| {
            (asked.message_id, asked.exchange) == (header.message_id, header.exchange)
        });
        // Every such answer is short: what is cut is none. The fragments that are being collected are a request's.
        if !expected || !matches!(message.protected, Some(Protected::Whole(_))) {
            return Fate::Keep;
        }
        let opened = sa
            .schedule
            .open(turn.now, message, &mut Reassembly::default());
        if !matches!(opened, Opened::Complete(..)) {
            return Fate::Keep;
        }
        if header.exchange != ExchangeType::GSA_INBAND_REKEY {
            return Fate::Remove;
        }
        sa.asked = None;
        sa.deadline = turn.now + self.config.limits.idle_grace;
        if let Some(identity) = sa.identity.clone() {
            self.events.push_back(Event::InbandRekeyed {
                ike_sa: IkeSaHandle(sa.serial),
                identity,
            });
        }
        if std::mem::take(&mut sa.close_when_answered) {
            return self.close(turn, sa);
        }
        Fate::Keep
    }

    /// What time brings to an IKE SA.
    pub(super) fn handle_ike_sa_timeout(&mut self, turn: &mut Turn<'_>, sa: &mut IkeSa) -> Fate {
        sa.reassembly.handle_timeout(turn.now);
        if let Some(Asked { outstanding, .. }) = &mut sa.asked {
            match outstanding.handle_timeout(&self.config.retransmission, turn.now, turn.entropy) {
                Due::NotYet => {}
                Due::GiveUp => return Fate::Remove,
                Due::Repeat => {
                    let datagrams = outstanding.datagrams().to_vec();
                    self.transmit(
                        Arrival {
                            local: sa.local,
                            remote: sa.remote,
                        },
                        datagrams,
                    );
                }
            }
        }
        if turn.now < sa.deadline {
            return Fate::Keep;
        }
        match &sa.state {
            State::KeyExchange(_) | State::Authentication | State::Closing | State::Over => {
                Fate::Remove
            }
            State::Established => self.close(turn, sa),
            State::Deciding(_) => {
                // The owner did not decide in time: the member may try elsewhere.
                self.refuse_registration(turn, sa, Refusal::RegistrationFailed)
            }
        }
    }
}

/// A notification without data as a payload.
pub(super) fn notification(notify_type: NotifyType) -> Payload {
    Payload::Notify(Notify::empty(notify_type))
}
