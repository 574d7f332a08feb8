//! IKE_SA_INIT and IKE_INTERMEDIATE from the member's side (RFC 7296 §1.2, §2.6, §2.7, RFC 9370).

use std::net::SocketAddr;

use crate::crypto::key_exchange::PendingKeyExchange;
use crate::exchange::authentication::{self, Transcript};
use crate::exchange::datagram::NAT_TRAVERSAL_PORT;
use crate::exchange::key_schedule::{self, KeySchedule, Role};
use crate::exchange::nat;
use crate::exchange::payloads::Payloads;
use crate::exchange::proposal;
use crate::wire::message::write_clear;
use crate::wire::{
    ExchangeType, IkeSpi, KeyExchange, KeyExchangeMethod, Message, Nonce, Notify, NotifyType,
    Payload, SecurityAssociation, VendorId,
};

use super::state::{Keyed, Opening, Peer, State};
use super::{Config, Initiator, InitiatorError, Purpose, Turn};

/// Octets of our nonces.
const NONCE_LENGTH: usize = 32;

/// Times a key server may ask for a cookie or for another method before we give up.
const MOST_RETRIES: u8 = 6;

impl Initiator {
    /// Sends the first IKE_SA_INIT request.
    pub(super) fn start(&mut self, turn: &mut Turn<'_>) -> Result<(), InitiatorError> {
        let choices = &self.config.key_exchanges;
        let first = choices
            .first()
            .ok_or(InitiatorError::Configuration("no key exchange to offer"))?;
        let key_exchange = PendingKeyExchange::new(first.method(), turn.entropy).map_err(|_| {
            InitiatorError::Configuration("the key exchange method is not available")
        })?;
        let mut nonce = vec![0; NONCE_LENGTH];
        turn.entropy.fill(&mut nonce);
        let childless = matches!(self.config.purpose, Purpose::ChildlessAuthentication);
        let opening = Opening {
            offer: proposal::offer(choices, childless),
            nonce,
            key_exchange,
            cookie: None,
            retries: 0,
            hint: None,
            request: Vec::new(),
        };
        // The number of IKE_SA_INIT and of all its retries is zero.
        self.own_requests.take();
        self.send_opening(turn, opening)
    }

    fn send_opening(
        &mut self,
        turn: &mut Turn<'_>,
        mut opening: Opening,
    ) -> Result<(), InitiatorError> {
        let mut payloads = Vec::new();
        if let Some(cookie) = &opening.cookie {
            payloads.push(Payload::Notify(Notify::new(NotifyType::COOKIE, cookie)));
        }
        payloads.push(Payload::SecurityAssociation(SecurityAssociation {
            proposals: opening.offer.clone(),
        }));
        payloads.push(Payload::KeyExchange(KeyExchange {
            method: opening.key_exchange.method(),
            data: opening.key_exchange.public_value().to_vec(),
        }));
        payloads.push(Payload::Nonce(Nonce(opening.nonce.clone())));
        payloads.extend(nat::notifications(
            self.initiator_spi,
            IkeSpi::ZERO,
            self.local,
            self.remote,
        ));
        let fragmentation = self
            .config
            .fragmentation
            .then_some(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);
        let supported = [NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED];
        for notify_type in fragmentation.into_iter().chain(supported) {
            payloads.push(Payload::Notify(Notify::empty(notify_type)));
        }
        payloads.push(Payload::Notify(Notify::signature_hash_algorithms(
            &authentication::VERIFIABLE_HASHES,
        )));
        if self.config.private_extensions {
            payloads.push(Payload::VendorId(VendorId::ours()));
        }
        let header = self.header(ExchangeType::IKE_SA_INIT, false, 0);
        let request = write_clear(&header, &payloads)
            .map_err(|_| InitiatorError::Configuration("the request does not fit its format"))?;
        opening.request = request.clone();
        self.state = State::Opening(Box::new(opening));
        self.send(turn, ExchangeType::IKE_SA_INIT, 0, vec![request]);
        Ok(())
    }

    /// Takes in an answer to IKE_SA_INIT. Nothing in it is authenticated yet: an error is remembered and believed
    /// only if no better answer comes.
    pub(super) fn handle_opening_answer(
        &mut self,
        turn: &mut Turn<'_>,
        local: SocketAddr,
        remote: SocketAddr,
        message: Message<'_>,
        octets: &[u8],
    ) {
        let header = message.header;
        let Ok(answer) = Payloads::sort(message.clear) else {
            return;
        };
        let State::Opening(opening) = std::mem::replace(&mut self.state, State::Closed) else {
            return;
        };
        let stay = |initiator: &mut Self, opening| initiator.state = State::Opening(opening);

        if let Some(notify) = answer
            .notify(NotifyType::COOKIE)
            .filter(|_| answer.security_association.is_none())
        {
            if !(1..=64).contains(&notify.data.len())
                || opening.cookie.as_deref() == Some(notify.data.as_slice())
            {
                return stay(self, opening);
            }
            let cookie = notify.data.clone();
            return self.retry(turn, opening, |opening, _| {
                opening.cookie = Some(cookie);
                Ok(())
            });
        }
        if let Some(notify) = answer.notify(NotifyType::INVALID_KE_PAYLOAD) {
            let wanted = notify
                .data
                .as_slice()
                .try_into()
                .map(|data| KeyExchangeMethod(u16::from_be_bytes(data)));
            let offered = |method: &KeyExchangeMethod| {
                *method != opening.key_exchange.method()
                    && self
                        .config
                        .key_exchanges
                        .iter()
                        .any(|choice| choice.method() == *method)
            };
            let Some(method) = wanted.ok().filter(offered) else {
                return stay(self, opening);
            };
            return self.retry(turn, opening, |opening, turn| {
                opening.key_exchange =
                    PendingKeyExchange::new(method, turn.entropy).map_err(|_| {
                        InitiatorError::Configuration("the key exchange method is not available")
                    })?;
                Ok(())
            });
        }
        if let Some(notify) = answer.error() {
            let mut opening = opening;
            opening.hint = Some(match notify.notify_type {
                NotifyType::NO_PROPOSAL_CHOSEN => InitiatorError::NoProposalChosen,
                other => InitiatorError::Notified(other),
            });
            return stay(self, opening);
        }
        let Some((keyed, additional)) = agree(
            &opening,
            &self.config,
            &answer,
            header.initiator_spi,
            header.responder_spi,
            octets,
        ) else {
            return stay(self, opening);
        };
        self.responder_spi = header.responder_spi;
        self.outstanding = None;
        let found = nat::detect(
            header.initiator_spi,
            header.responder_spi,
            local,
            remote,
            &answer.notifies,
        );
        if found.any() && self.remote.port() != NAT_TRAVERSAL_PORT {
            self.local.set_port(NAT_TRAVERSAL_PORT);
            self.remote.set_port(NAT_TRAVERSAL_PORT);
        }
        let next = match additional {
            Some(method) => self.send_intermediate(turn, keyed, method),
            None => self.send_authentication(turn, keyed),
        };
        if let Err(error) = next {
            self.fail(error);
        }
    }

    /// Repeats IKE_SA_INIT with something changed.
    fn retry(
        &mut self,
        turn: &mut Turn<'_>,
        mut opening: Box<Opening>,
        change: impl FnOnce(&mut Opening, &mut Turn<'_>) -> Result<(), InitiatorError>,
    ) {
        opening.retries += 1;
        if opening.retries > MOST_RETRIES {
            return self.fail(InitiatorError::TooManyRetries);
        }
        opening.hint = None;
        let sent = change(&mut opening, turn).and_then(|()| self.send_opening(turn, *opening));
        if let Err(error) = sent {
            self.fail(error);
        }
    }

    /// Starts the additional key exchange.
    fn send_intermediate(
        &mut self,
        turn: &mut Turn<'_>,
        mut keyed: Box<Keyed>,
        method: KeyExchangeMethod,
    ) -> Result<(), InitiatorError> {
        let key_exchange = PendingKeyExchange::new(method, turn.entropy).map_err(|_| {
            InitiatorError::Configuration("the key exchange method is not available")
        })?;
        let data = key_exchange.public_value().to_vec();
        let payloads = [Payload::KeyExchange(KeyExchange { method, data })];
        let fragmentation = keyed.peer.fragmentation;
        let exchange = ExchangeType::IKE_INTERMEDIATE;
        self.send_request(
            turn,
            &mut keyed.schedule,
            fragmentation,
            exchange,
            &payloads,
        )?;
        self.state = State::Intermediate(keyed, Box::new(key_exchange));
        Ok(())
    }

    /// Finishes the additional key exchange: fold the answer under the old keys, then mix.
    pub(super) fn handle_intermediate_answer(
        &mut self,
        turn: &mut Turn<'_>,
        mut keyed: Box<Keyed>,
        key_exchange: &PendingKeyExchange,
        answer: &Payloads,
    ) {
        let theirs = answer
            .key_exchange
            .as_ref()
            .filter(|theirs| theirs.method == key_exchange.method());
        let result = match (answer.error(), theirs) {
            (Some(notify), _) => Err(InitiatorError::Notified(notify.notify_type)),
            (None, None) => Err(InitiatorError::PayloadSet(
                "IKE_INTERMEDIATE without the expected KE",
            )),
            (None, Some(theirs)) => key_exchange
                .finish(&theirs.data)
                .map_err(|_| InitiatorError::PayloadSet("key exchange data are not valid"))
                .and_then(|shared| {
                    keyed
                        .schedule
                        .mix(&shared)
                        .map_err(|_| InitiatorError::Keys("keys cannot be derived"))
                })
                .and_then(|()| self.send_authentication(turn, keyed)),
        };
        if let Err(error) = result {
            self.fail(error);
        }
    }
}

/// The keys that follow from an acceptable answer, and the additional method still to run. `None` when the answer
/// is not a legal one for our request; it is ignored then, because anybody on the path can make up such an answer.
fn agree(
    opening: &Opening,
    config: &Config,
    answer: &Payloads,
    initiator_spi: IkeSpi,
    responder_spi: IkeSpi,
    octets: &[u8],
) -> Option<(Box<Keyed>, Option<KeyExchangeMethod>)> {
    let offered = answer.security_association.as_ref()?;
    let theirs = answer.key_exchange.as_ref()?;
    let nonce = answer.nonce.as_ref()?;
    let suite = proposal::chosen(&opening.offer, &offered.proposals)?;
    if responder_spi.is_zero()
        || suite.method != opening.key_exchange.method()
        || theirs.method != suite.method
    {
        return None;
    }
    if suite.additional.is_some() && !answer.has_notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED)
    {
        return None;
    }
    let shared = opening.key_exchange.finish(&theirs.data).ok()?;
    let spis = key_schedule::Opening {
        initiator_spi,
        responder_spi,
        initiator_nonce: opening.nonce.clone(),
        responder_nonce: nonce.0.clone(),
    };
    let schedule = KeySchedule::new(Role::Initiator, suite, spis, &shared).ok()?;
    let peer = Peer {
        fragmentation: config.fragmentation
            && answer.has_notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED),
        ours: config.private_extensions && answer.is_ours(),
        childless: answer.has_notify(NotifyType::CHILDLESS_IKEV2_SUPPORTED),
        hashes: answer
            .notify(NotifyType::SIGNATURE_HASH_ALGORITHMS)
            .and_then(Notify::hash_algorithms)
            .unwrap_or_default(),
    };
    let transcript = Transcript {
        request: opening.request.clone(),
        response: octets.to_vec(),
    };
    Some((
        Box::new(Keyed {
            schedule,
            transcript,
            peer,
        }),
        suite.additional,
    ))
}
