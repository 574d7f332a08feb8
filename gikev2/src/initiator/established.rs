//! The IKE SA once it is up: further registrations, leaving, liveness, Delete in both directions.

use std::time::Instant;

use crate::Entropy;
use crate::crypto::digest::sha256;
use crate::exchange::key_schedule::Role;
use crate::exchange::message_id::Position;
use crate::exchange::payloads::Payloads;
use crate::exchange::protect::{self, Opened};
use crate::wire::payload::Chain;
use crate::wire::{
    Delete, ExchangeType, Identification, Message, Notify, NotifyType, ParseError, Payload,
    Protected,
};

use super::authentication::registration_payloads;
use super::inband;
use super::state::{Pending, Secured, State};
use super::{Event, Initiator, InitiatorError, RegistrationParameters, Turn};

/// Our last answer, for repetitions of its request.
pub(super) struct Answered {
    message_id: u32,
    datagrams: Vec<Vec<u8>>,
}

impl Initiator {
    /// Registers to another group, or to the same one again, over the IKE SA that is up (GSA_REGISTRATION).
    /// Answers `false` when that is not possible now.
    pub fn register(
        &mut self,
        now: Instant,
        parameters: RegistrationParameters,
        entropy: &mut dyn Entropy,
    ) -> bool {
        let Some(ours) = self.idle(|secured| {
            secured
                .schedule
                .suite()
                .key_wrap
                .then_some(secured.peer.ours)
        }) else {
            return false;
        };
        let payloads = registration_payloads(&parameters, ours);
        let pending = Pending::Register(Box::new(parameters));
        self.ask(
            now,
            ExchangeType::GSA_REGISTRATION,
            &payloads,
            pending,
            entropy,
        )
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
        let reason = if unacceptable {
            NotifyType::NO_PROPOSAL_CHOSEN
        } else {
            NotifyType::REGISTRATION_FAILED
        };
        let payloads = [
            Payload::GroupIdentification(group.clone()),
            Payload::Notify(Notify::empty(reason)),
        ];
        self.ask(
            now,
            ExchangeType::GSA_REGISTRATION,
            &payloads,
            Pending::Leave,
            entropy,
        )
    }

    /// Asks the key server whether it is alive: [`Event::Failed`] follows when it is not. Answers `false` when
    /// that is not possible now.
    pub fn probe(&mut self, now: Instant, entropy: &mut dyn Entropy) -> bool {
        self.ask(
            now,
            ExchangeType::INFORMATIONAL,
            &[],
            Pending::Probe,
            entropy,
        )
    }

    /// Deletes the IKE SA. Answers `false` when that is not possible now.
    pub fn delete(&mut self, now: Instant, entropy: &mut dyn Entropy) -> bool {
        let payloads = [Payload::Delete(Delete::IkeSa)];
        self.ask(
            now,
            ExchangeType::INFORMATIONAL,
            &payloads,
            Pending::Delete,
            entropy,
        )
    }

    /// Something about the IKE SA when it is up and no request is on its way.
    fn idle<T>(&self, about: impl FnOnce(&Secured) -> Option<T>) -> Option<T> {
        match &self.state {
            State::Established(secured, Pending::Nothing) => about(secured),
            _ => None,
        }
    }

    fn ask(
        &mut self,
        now: Instant,
        exchange: ExchangeType,
        payloads: &[Payload],
        pending: Pending,
        entropy: &mut dyn Entropy,
    ) -> bool {
        if self.idle(|_| Some(())).is_none() {
            return false;
        }
        let State::Established(mut secured, _) = std::mem::replace(&mut self.state, State::Closed)
        else {
            return false;
        };
        let fragmentation = secured.peer.fragmentation;
        let mut turn = Turn {
            now,
            unix_time: 0,
            entropy,
        };
        let sent = self.send_request(
            &mut turn,
            &mut secured.schedule,
            fragmentation,
            exchange,
            payloads,
        );
        let pending = if sent.is_ok() {
            pending
        } else {
            Pending::Nothing
        };
        self.state = State::Established(secured, pending);
        sent.is_ok()
    }

    /// Takes in the answer to the request that is on its way.
    pub(super) fn handle_answer(&mut self, turn: &mut Turn<'_>, message: &Message<'_>) {
        if !self.is_expected(message) {
            return;
        }
        let header = message.header;
        let (schedule, peer) = match &self.state {
            State::Intermediate(keyed, _) | State::Authenticating(keyed) => {
                (&keyed.schedule, &keyed.peer)
            }
            State::Established(secured, _) => (&secured.schedule, &secured.peer),
            State::Opening(_) | State::Closed => return,
        };
        let private = peer.private();
        if matches!(message.protected, Some(Protected::Fragment(_))) && !peer.fragmentation {
            return;
        }
        let Opened::Complete(chain, flags) = schedule.open(turn.now, message, &mut self.reassembly)
        else {
            return;
        };
        self.outstanding = None;
        let answer = match chain.parse_from(private).and_then(Payloads::sort) {
            Ok(answer) => answer,
            Err(error) => return self.fail(InitiatorError::Malformed(error)),
        };
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Intermediate(mut keyed, key_exchange) => {
                if keyed
                    .schedule
                    .fold(Role::Responder, &header, flags, &chain)
                    .is_err()
                {
                    return self.fail(InitiatorError::PayloadSet("IKE_INTERMEDIATE is too long"));
                }
                self.handle_intermediate_answer(turn, keyed, &key_exchange, &answer);
            }
            State::Authenticating(keyed) => {
                self.handle_authentication_answer(turn, keyed, header.message_id, answer);
            }
            State::Established(secured, Pending::Register(parameters)) => {
                self.conclude_registration(turn, secured, &parameters, answer);
            }
            State::Established(mut secured, Pending::Leave) => {
                secured.registered = false;
                self.state = State::Established(secured, Pending::Nothing);
                self.events.push_back(Event::Left);
            }
            State::Established(_, Pending::Delete) => self.close(Event::Deleted),
            State::Established(secured, Pending::Probe | Pending::Nothing) => {
                self.state = State::Established(secured, Pending::Nothing);
            }
            State::Opening(_) | State::Closed => {}
        }
    }

    /// Takes in a request of the key server: liveness, Delete, or an inband rekey.
    pub(super) fn handle_request(
        &mut self,
        turn: &mut Turn<'_>,
        message: &Message<'_>,
        octets: &[u8],
    ) {
        let header = message.header;
        match self.window.position(header.message_id) {
            Position::Outside => return,
            Position::Repeated => {
                if let Some(answered) = &self.answered
                    && answered.message_id == header.message_id
                    && self.last_request == sha256(&[octets])
                    && protect::asks_for_answer(message)
                {
                    let datagrams = answered.datagrams.clone();
                    self.transmit(datagrams);
                }
                return;
            }
            Position::Next => {}
        }
        let State::Established(secured, _) = &self.state else {
            return;
        };
        let whole = matches!(message.protected, Some(Protected::Whole(_)));
        let allowed = match header.exchange {
            // These are short; a fragmented one is none of ours.
            ExchangeType::INFORMATIONAL | ExchangeType::CREATE_CHILD_SA => whole,
            ExchangeType::GSA_INBAND_REKEY => {
                secured.registered && (whole || secured.peer.fragmentation)
            }
            _ => false,
        };
        if !allowed {
            return;
        }
        let opened = secured
            .schedule
            .open(turn.now, message, &mut self.request_reassembly);
        if matches!(opened, Opened::Complete(..) | Opened::Incomplete)
            && protect::asks_for_answer(message)
        {
            self.last_request = sha256(&[octets]);
        }
        let Opened::Complete(chain, _) = opened else {
            return;
        };
        self.window.advance();
        let request = chain
            .parse_from(secured.peer.private())
            .and_then(Payloads::sort);
        let request = match request {
            Ok(request) if header.exchange == ExchangeType::GSA_INBAND_REKEY => {
                let event = match inband::read(&secured.schedule, header.message_id, request) {
                    Ok(rekey) => Event::Rekeyed(Box::new(rekey)),
                    Err(rule) => Event::RekeyUnusable(rule),
                };
                self.send_answer(header.exchange, header.message_id, &[]);
                return self.events.push_back(event);
            }
            other => other,
        };
        let deleted = request
            .as_ref()
            .is_ok_and(|request| request.deletes.contains(&Delete::IkeSa));
        let answer: Vec<Payload> = match request {
            Err(ParseError::UnsupportedCriticalPayload { payload_type }) => {
                vec![Payload::Notify(Notify::unsupported_critical_payload(
                    payload_type,
                ))]
            }
            Err(_) => vec![Payload::Notify(Notify::empty(NotifyType::INVALID_SYNTAX))],
            Ok(_) if header.exchange == ExchangeType::CREATE_CHILD_SA => {
                vec![Payload::Notify(Notify::empty(
                    NotifyType::NO_ADDITIONAL_SAS,
                ))]
            }
            Ok(_) => Vec::new(),
        };
        self.send_answer(header.exchange, header.message_id, &answer);
        if deleted {
            self.close(Event::Deleted);
        }
    }

    fn send_answer(&mut self, exchange: ExchangeType, message_id: u32, payloads: &[Payload]) {
        let header = self.header(exchange, true, message_id);
        let State::Established(secured, _) = &mut self.state else {
            return;
        };
        let Ok(chain) = Chain::write(payloads) else {
            return;
        };
        let Ok(datagrams) = secured.schedule.seal(&header, &chain, None) else {
            return;
        };
        self.answered = Some(Answered {
            message_id,
            datagrams: datagrams.clone(),
        });
        self.transmit(datagrams);
    }
}
