//! IKE_SA_INIT: cookies, the choice of algorithms, the first key exchange (RFC 7296 §1.2, §2.6, §2.7).
//!
//! Until the request is acceptable nothing is kept about its sender, and no answer is longer than its request.

use std::net::SocketAddr;

use crate::crypto::key_exchange;
use crate::exchange::authentication::{self, Transcript};
use crate::exchange::key_schedule::{KeySchedule, Opening, Role};
use crate::exchange::nat;
use crate::exchange::payloads::Payloads;
use crate::exchange::proposal;
use crate::wire::message::write_clear;
use crate::wire::{
    ExchangeType, Flags, Header, IkeSpi, KeyExchange, Message, Nonce, Notify, NotifyType,
    ParseError, Payload, PayloadType, SecurityAssociation, VendorId,
};

use super::half_open::Room;
use super::ike_sa::{Beginning, IkeSa, Peer, State};
use super::{Arrival, Event, RejectReason, Responder, Turn};

/// Octets of our nonces.
const NONCE_LENGTH: usize = 32;

impl Responder {
    /// Answers an IKE_SA_INIT request.
    pub(super) fn handle_opening(&mut self, turn: &mut Turn<'_>, arrival: Arrival, message: &[u8]) {
        let Ok(header) = Header::parse(message) else {
            return;
        };
        if header.message_id != 0 || header.initiator_spi.is_zero() {
            return;
        }
        if let Some(serial) = self.by_opening.get(&(arrival.remote, header.initiator_spi))
            && let Some(sa) = self.sas.get(serial)
        {
            let answer = sa.repeated_opening(message).to_vec();
            if !answer.is_empty() {
                return self.transmit(arrival, answer);
            }
        }
        if let Err(refused) = self.open_ike_sa(turn, arrival, &header, message) {
            if let Some(notify) = refused.notify {
                self.answer_in_clear(arrival, &header, notify);
            }
            if let Some(reason) = refused.reason {
                self.events.push_back(Event::Rejected {
                    remote: arrival.remote,
                    identity: None,
                    reason,
                });
            }
        }
    }

    fn open_ike_sa(
        &mut self,
        turn: &mut Turn<'_>,
        arrival: Arrival,
        header: &Header,
        datagram: &[u8],
    ) -> Result<(), Refused> {
        let message = Message::parse(datagram).map_err(Refused::malformed)?;
        let request = Payloads::sort(message.clear).map_err(Refused::malformed)?;
        let (Some(offer), Some(theirs), Some(nonce)) = (
            &request.security_association,
            &request.key_exchange,
            &request.nonce,
        ) else {
            return Err(Refused::invalid_syntax(RejectReason::PayloadSet(
                "IKE_SA_INIT without SA, KE or nonce",
            )));
        };
        self.check_cookie(turn, arrival, header, &request, &nonce.0)?;
        let evicted = self.make_room(arrival.remote)?;

        let (mut suite, mut answer) = proposal::choose(
            &offer.proposals,
            &self.config.key_exchanges,
            self.config.childless,
        )
        .ok_or_else(|| {
            Refused::new(
                NotifyType::NO_PROPOSAL_CHOSEN,
                RejectReason::NoProposalChosen,
            )
        })?;
        // An additional key exchange needs IKE_INTERMEDIATE; a peer that cannot do it gets a plain one.
        if suite.additional.is_some()
            && !request.has_notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED)
        {
            let plain: Vec<_> = self
                .config
                .key_exchanges
                .iter()
                .copied()
                .filter(|choice| choice.additional_method().is_none())
                .collect();
            (suite, answer) = proposal::choose(&offer.proposals, &plain, self.config.childless)
                .ok_or_else(|| {
                    Refused::new(
                        NotifyType::NO_PROPOSAL_CHOSEN,
                        RejectReason::NoProposalChosen,
                    )
                })?;
        }
        if theirs.method != suite.method {
            let wanted = Notify::new(
                NotifyType::INVALID_KE_PAYLOAD,
                &suite.method.0.to_be_bytes(),
            );
            return Err(Refused {
                notify: Some(wanted),
                reason: None,
            });
        }
        let (public_value, shared) =
            key_exchange::respond(suite.method, &theirs.data, turn.entropy)
                .map_err(|_| Refused::invalid_syntax(RejectReason::KeyExchange))?;

        let mut own_nonce = vec![0; NONCE_LENGTH];
        turn.entropy.fill(&mut own_nonce);
        let responder_spi = self.fresh_spi(turn);
        let opening = Opening {
            initiator_spi: header.initiator_spi,
            responder_spi,
            initiator_nonce: nonce.0.clone(),
            responder_nonce: own_nonce.clone(),
        };
        let schedule =
            KeySchedule::new(Role::Responder, suite, opening, &shared).map_err(|_| {
                Refused::new(
                    NotifyType::NO_PROPOSAL_CHOSEN,
                    RejectReason::NoProposalChosen,
                )
            })?;

        let found = nat::detect(
            header.initiator_spi,
            header.responder_spi,
            arrival.local,
            arrival.remote,
            &request.notifies,
        );
        let peer = Peer {
            fragmentation: request.has_notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED),
            ours: self.config.private_extensions && request.is_ours(),
            hashes: request
                .notify(NotifyType::SIGNATURE_HASH_ALGORITHMS)
                .and_then(Notify::hash_algorithms)
                .unwrap_or_default(),
            behind_nat: found.peer,
            nat: found.any(),
        };
        let mut payloads = vec![
            Payload::SecurityAssociation(SecurityAssociation {
                proposals: vec![answer],
            }),
            Payload::KeyExchange(KeyExchange {
                method: suite.method,
                data: public_value,
            }),
            Payload::Nonce(Nonce(own_nonce)),
        ];
        if request.has_notify(NotifyType::NAT_DETECTION_SOURCE_IP) {
            payloads.extend(nat::notifications(
                header.initiator_spi,
                responder_spi,
                arrival.local,
                arrival.remote,
            ));
        }
        if peer.fragmentation {
            payloads.push(Payload::Notify(Notify::empty(
                NotifyType::IKEV2_FRAGMENTATION_SUPPORTED,
            )));
        }
        if suite.additional.is_some() {
            payloads.push(Payload::Notify(Notify::empty(
                NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED,
            )));
        }
        if self.config.childless {
            payloads.push(Payload::Notify(Notify::empty(
                NotifyType::CHILDLESS_IKEV2_SUPPORTED,
            )));
        }
        payloads.push(Payload::Notify(Notify::signature_hash_algorithms(
            &authentication::VERIFIABLE_HASHES,
        )));
        if let Some(credentials) = &self.config.certificate {
            payloads.push(Payload::CertificateRequest(
                credentials.certificate_request(),
            ));
        }
        if peer.ours {
            payloads.push(Payload::VendorId(VendorId::ours()));
        }
        let response_header = Header {
            responder_spi,
            next_payload: PayloadType::NONE,
            exchange: ExchangeType::IKE_SA_INIT,
            flags: Flags::new(false, true),
            ..*header
        };
        let response = write_clear(&response_header, &payloads).map_err(|_| {
            Refused::new(
                NotifyType::NO_PROPOSAL_CHOSEN,
                RejectReason::NoProposalChosen,
            )
        })?;

        if let Some(oldest) = evicted {
            self.forget(oldest);
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        let sa = IkeSa::new(Beginning {
            serial,
            initiator_spi: header.initiator_spi,
            responder_spi,
            local: arrival.local,
            remote: arrival.remote,
            peer,
            schedule,
            transcript: Transcript {
                request: datagram.to_vec(),
                response: response.clone(),
            },
            state: match suite.additional {
                Some(method) => State::KeyExchange(method),
                None => State::Authentication,
            },
            deadline: turn.now + self.config.limits.half_open_lifetime,
            fragment_size: self.config.fragment_size,
        });
        self.half_open.insert(arrival.remote.ip(), serial);
        self.by_spi.insert(responder_spi, serial);
        self.by_opening
            .insert((arrival.remote, header.initiator_spi), serial);
        self.put(sa);
        self.transmit(arrival, vec![response]);
        Ok(())
    }

    /// Demands a cookie under load. The answer carries nothing but the cookie and leaves no state.
    fn check_cookie(
        &mut self,
        turn: &mut Turn<'_>,
        arrival: Arrival,
        header: &Header,
        request: &Payloads,
        nonce: &[u8],
    ) -> Result<(), Refused> {
        if !self
            .half_open
            .wants_cookie(arrival.remote.ip(), &self.config.limits)
        {
            return Ok(());
        }
        self.cookies.rotate(turn.now, turn.entropy);
        let shown = request.cookie.as_deref().unwrap_or_default();
        if self
            .cookies
            .accepts(shown, nonce, arrival.remote, header.initiator_spi)
        {
            return Ok(());
        }
        let cookie = self
            .cookies
            .bake(nonce, arrival.remote, header.initiator_spi);
        Err(Refused {
            notify: Some(Notify::new(NotifyType::COOKIE, &cookie)),
            reason: None,
        })
    }

    /// Room for one more IKE SA; names one that has to go for it.
    fn make_room(&self, remote: SocketAddr) -> Result<Option<u64>, Refused> {
        if self.sas.len() >= self.config.limits.ike_sas {
            return Err(Refused::silent(RejectReason::IkeSaLimit));
        }
        match self.half_open.room(remote.ip(), &self.config.limits) {
            Room::Free => Ok(None),
            Room::Evict(oldest) => Ok(Some(oldest)),
            Room::Full => Err(Refused::silent(RejectReason::HalfOpenLimit)),
        }
    }

    fn fresh_spi(&self, turn: &mut Turn<'_>) -> IkeSpi {
        loop {
            let mut octets = [0; 8];
            turn.entropy.fill(&mut octets);
            let spi = IkeSpi(octets);
            if !spi.is_zero() && !self.by_spi.contains_key(&spi) {
                return spi;
            }
        }
    }

    /// Answers a request without keys, with one notification and the SPIs of the request.
    pub(super) fn answer_in_clear(&mut self, arrival: Arrival, request: &Header, notify: Notify) {
        let header = Header {
            next_payload: PayloadType::NONE,
            flags: Flags::new(false, true),
            ..*request
        };
        if let Ok(answer) = write_clear(&header, &[Payload::Notify(notify)]) {
            self.transmit(arrival, vec![answer]);
        }
    }
}

/// An IKE_SA_INIT request that led to nothing.
struct Refused {
    notify: Option<Notify>,
    reason: Option<RejectReason>,
}

impl Refused {
    fn new(notify_type: NotifyType, reason: RejectReason) -> Self {
        Self {
            notify: Some(Notify::empty(notify_type)),
            reason: Some(reason),
        }
    }

    fn invalid_syntax(reason: RejectReason) -> Self {
        Self::new(NotifyType::INVALID_SYNTAX, reason)
    }

    fn silent(reason: RejectReason) -> Self {
        Self {
            notify: None,
            reason: Some(reason),
        }
    }

    fn malformed(error: ParseError) -> Self {
        let notify = match error {
            ParseError::UnsupportedCriticalPayload { payload_type } => {
                Notify::unsupported_critical_payload(payload_type)
            }
            _ => Notify::empty(NotifyType::INVALID_SYNTAX),
        };
        Self {
            notify: Some(notify),
            reason: Some(RejectReason::Malformed(error)),
        }
    }
}
