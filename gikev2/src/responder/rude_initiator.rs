//! Tests with an initiator that has good keys and bad manners: messages that verify and still must not work.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::crypto::digest::sha256;
use crate::crypto::key_exchange::PendingKeyExchange;
use crate::exchange::authentication::{PreSharedKeys, Proofs, Transcript};
use crate::exchange::key_schedule::{KeySchedule, Opening, Role};
use crate::exchange::payloads::Payloads;
use crate::exchange::proposal::{self, KeyExchangeChoice};
use crate::exchange::protect::Opened;
use crate::exchange::reassembly::Reassembly;
use crate::wire::message::write_clear;
use crate::wire::payload::Chain;
use crate::wire::{
    Authentication, AuthenticationMethod, Delete, ExchangeType, Flags, Header, Identification,
    IkeSpi, KeyExchange, KeyExchangeMethod, Message, Nonce, Notify, NotifyType, Payload,
    PayloadType, SecurityAssociation,
};
use crate::{Entropy, Secret};

use super::{Config, Event, Refusal, RejectReason, Responder};

struct Counter(u64);

impl Entropy for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            self.0 += 1;
            chunk.copy_from_slice(&sha256(&[&self.0.to_be_bytes()])[..chunk.len()]);
        }
    }
}

struct One(Secret);

impl PreSharedKeys for One {
    fn key(&self, _: &Identification) -> Option<&Secret> {
        Some(&self.0)
    }
}

const SPI: IkeSpi = IkeSpi([3; 8]);

struct Rude {
    now: Instant,
    responder: Responder,
    responder_spi: IkeSpi,
    schedule: KeySchedule,
    transcript: Transcript,
    entropy: Counter,
}

impl Rude {
    /// Past IKE_SA_INIT, with a plain key exchange: authentication comes next.
    fn new() -> Self {
        let (now, mut entropy) = (Instant::now(), Counter(0));
        let mut config = Config::new(Identification::fqdn("ks-0.keyserver.getvpn"));
        config.pre_shared_keys = Some(Box::new(One(Secret::new(vec![7; 32]))));
        let mut responder = Responder::new(config, now, &mut entropy);
        let pending = PendingKeyExchange::new(KeyExchangeMethod::CURVE25519, &mut entropy)
            .expect("a supported method");
        let proposals = proposal::offer(&[KeyExchangeChoice::X25519], false);
        let payloads = [
            Payload::SecurityAssociation(SecurityAssociation {
                proposals: proposals.clone(),
            }),
            Payload::KeyExchange(KeyExchange {
                method: pending.method(),
                data: pending.public_value().to_vec(),
            }),
            Payload::Nonce(Nonce(vec![5; 32])),
        ];
        let request = write_clear(
            &header(IkeSpi::ZERO, ExchangeType::IKE_SA_INIT, 0),
            &payloads,
        )
        .expect("a message");
        responder.handle_datagram(now, 0, local(), remote(), &request, &mut entropy);
        let response = responder.poll_transmit().expect("an answer").payload;
        let message = Message::parse(&response).expect("parses");
        let responder_spi = message.header.responder_spi;
        let answer = Payloads::sort(message.clear).expect("sorted");
        let theirs = answer.key_exchange.expect("KE");
        let shared = pending.finish(&theirs.data).expect("a secret");
        let chosen = answer.security_association.expect("SA").proposals;
        let suite = proposal::chosen(&proposals, &chosen).expect("a suite");
        let opening = Opening {
            initiator_spi: SPI,
            responder_spi,
            initiator_nonce: vec![5; 32],
            responder_nonce: answer.nonce.expect("nonce").0,
        };
        let schedule =
            KeySchedule::new(Role::Initiator, suite, opening, &shared).expect("supported");
        let transcript = Transcript { request, response };
        Self {
            now,
            responder,
            responder_spi,
            schedule,
            transcript,
            entropy,
        }
    }

    /// Sends a chain that verifies and returns what the key server answers inside its own protection.
    fn say(&mut self, exchange: ExchangeType, message_id: u32, chain: &Chain) -> Option<Payloads> {
        let header = header(self.responder_spi, exchange, message_id);
        let datagrams = self.schedule.seal(&header, chain, None).expect("short");
        for datagram in datagrams {
            self.responder.handle_datagram(
                self.now,
                0,
                local(),
                remote(),
                &datagram,
                &mut self.entropy,
            );
        }
        self.answer(exchange, message_id)
    }

    /// What the key server answers inside its own protection, if it does.
    fn answer(&mut self, exchange: ExchangeType, message_id: u32) -> Option<Payloads> {
        let answer = self.responder.poll_transmit()?.payload;
        let message = Message::parse(&answer).expect("parses");
        assert_eq!(
            (message.header.message_id, message.header.exchange),
            (message_id, exchange)
        );
        let Opened::Complete(chain, _) =
            self.schedule
                .open(self.now, &message, &mut Reassembly::default())
        else {
            panic!("the answer does not verify");
        };
        Some(Payloads::sort(chain.parse().expect("parses")).expect("sorted"))
    }

    fn gsa_auth(&self, message_id: u32) -> Vec<Payload> {
        let identity = Identification::fqdn("m-1.member.getvpn");
        let proofs = Proofs {
            schedule: &self.schedule,
            transcript: &self.transcript,
            message_id,
        };
        let key = Secret::new(vec![7; 32]);
        let authentication = proofs.prove_shared_key(Role::Initiator, &identity, &key);
        vec![
            Payload::IdentificationInitiator(identity),
            Payload::Authentication(authentication),
            Payload::GroupIdentification(Identification::group(1234)),
        ]
    }

    fn asked(&mut self) -> bool {
        matches!(
            self.responder.poll_event(),
            Some(Event::Registration { .. })
        )
    }

    fn rejected(&mut self) -> RejectReason {
        match self.responder.poll_event() {
            Some(Event::Rejected { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }
}

fn local() -> SocketAddr {
    SocketAddr::from(([172, 20, 0, 2], 848))
}

fn remote() -> SocketAddr {
    SocketAddr::from(([10, 1, 0, 2], 848))
}

fn header(responder_spi: IkeSpi, exchange: ExchangeType, message_id: u32) -> Header {
    Header {
        initiator_spi: SPI,
        responder_spi,
        next_payload: PayloadType::NONE,
        exchange,
        flags: Flags::new(true, false),
        message_id,
    }
}

fn chain(payloads: &[Payload]) -> Chain {
    Chain::write(payloads).expect("a chain")
}

fn raw(first: u8, octets: &[u8]) -> Chain {
    Chain {
        first: PayloadType(first),
        octets: zeroize::Zeroizing::new(octets.to_vec()),
    }
}

#[test]
fn exchanges_out_of_order_are_dropped_although_they_verify() {
    let mut rude = Rude::new();
    let group = Payload::GroupIdentification(Identification::group(1234));
    let delete = Payload::Delete(Delete::IkeSa);
    for exchange in [34, 36, 37, 40, 41, 42, 43, 44, 99, 240] {
        let message = chain(&[group.clone(), delete.clone()]);
        assert!(
            rude.say(ExchangeType(exchange), 1, &message).is_none(),
            "exchange {exchange}"
        );
    }
    assert!(rude.responder.poll_event().is_none());
    // Nothing of that left a trace: the right exchange with the same number goes on.
    let message = chain(&rude.gsa_auth(1));
    assert!(
        rude.say(ExchangeType::GSA_AUTH, 1, &message).is_none(),
        "the owner decides first"
    );
    assert!(rude.asked());
    // While the owner decides nothing else is taken, and afterwards nobody authenticates again.
    let leave = chain(&[
        group,
        Payload::Notify(Notify::empty(NotifyType::REGISTRATION_FAILED)),
    ]);
    assert!(
        rude.say(ExchangeType::GSA_REGISTRATION, 2, &leave)
            .is_none()
    );
    assert!(rude.responder.poll_event().is_none());
}

#[test]
fn message_ids_that_skip_ahead_are_dropped_although_they_verify() {
    let mut rude = Rude::new();
    for message_id in [2, 3, 1000, u32::MAX] {
        let message = chain(&rude.gsa_auth(message_id));
        assert!(
            rude.say(ExchangeType::GSA_AUTH, message_id, &message)
                .is_none()
        );
    }
    assert!(rude.responder.poll_event().is_none());
}

#[test]
fn an_unknown_critical_payload_inside_is_named_and_ends_an_unproven_ike_sa() {
    let mut rude = Rude::new();
    let answer = rude
        .say(ExchangeType::GSA_AUTH, 1, &raw(200, &[0, 0x80, 0, 4]))
        .expect("an answer");
    let notify = answer
        .notify(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD)
        .expect("the reason");
    assert_eq!(notify.data, [200]);
    assert!(matches!(rude.rejected(), RejectReason::Malformed(_)));
    let message = chain(&rude.gsa_auth(2));
    assert!(rude.say(ExchangeType::GSA_AUTH, 2, &message).is_none());
    assert!(rude.responder.poll_event().is_none());
}

#[test]
fn bad_syntax_inside_is_told_and_ends_the_ike_sa() {
    let doubled = |payloads: &[Payload]| chain(&[payloads, &payloads[..1]].concat());
    let sample = Rude::new().gsa_auth(1);
    let truncated = {
        let whole = chain(&sample);
        raw(whole.first.0, &whole.octets[..whole.octets.len() - 3])
    };
    let oversized = raw(
        PayloadType::IDENTIFICATION_INITIATOR.0,
        &[0, 0, 0xff, 0xff, 2, 0, 0, 0],
    );
    let nested = raw(PayloadType::ENCRYPTED.0, &[0; 60]);
    let no_identity = chain(&sample[1..]);
    let no_group = chain(&sample[..2]);
    for message in [
        doubled(&sample),
        truncated,
        oversized,
        nested,
        no_identity,
        no_group,
    ] {
        let mut rude = Rude::new();
        let answer = rude
            .say(ExchangeType::GSA_AUTH, 1, &message)
            .expect("an answer");
        assert!(answer.has_notify(NotifyType::INVALID_SYNTAX));
        assert!(answer.responder.is_none() && answer.authentication.is_none());
        rude.rejected();
        let again = chain(&rude.gsa_auth(2));
        assert!(rude.say(ExchangeType::GSA_AUTH, 2, &again).is_none());
        rude.responder
            .handle_timeout(rude.now + Duration::from_secs(40), &mut rude.entropy);
        assert_eq!(rude.responder.ike_sa_counts(), (0, 0));
    }
}

#[test]
fn no_proof_null_proof_and_foreign_proof_are_all_the_same_failure() {
    let sample = Rude::new().gsa_auth(1);
    let null = Authentication::Other {
        method: AuthenticationMethod::NULL,
        data: vec![0; 32],
    };
    let rsa = Authentication::Other {
        method: AuthenticationMethod::RSA_DIGITAL_SIGNATURE,
        data: vec![0; 256],
    };
    let unsigned = Authentication::Signature {
        algorithm_identifier: vec![0x30, 0],
        signature: Vec::new(),
    };
    let wrong = Authentication::SharedKey(vec![0; 32]);
    let empty = Authentication::SharedKey(Vec::new());
    let mut answers = Vec::new();
    for proof in [
        None,
        Some(null),
        Some(rsa),
        Some(unsigned),
        Some(wrong),
        Some(empty),
    ] {
        let mut rude = Rude::new();
        let mut payloads = vec![sample[0].clone(), sample[2].clone()];
        payloads.extend(proof.map(Payload::Authentication));
        let answer = rude
            .say(ExchangeType::GSA_AUTH, 1, &chain(&payloads))
            .expect("an answer");
        assert!(matches!(rude.rejected(), RejectReason::Authentication(_)));
        assert!(
            rude.responder.poll_event().is_none(),
            "the owner never hears of it"
        );
        assert!(answer.responder.is_none() && answer.certificates.is_empty());
        answers.push(answer.notifies);
    }
    let failed = vec![Notify::empty(NotifyType::AUTHENTICATION_FAILED)];
    assert!(answers.iter().all(|answer| *answer == failed));
}

#[test]
fn a_proof_of_another_ike_sa_does_not_count() {
    let (mut rude, other) = (Rude::new(), {
        let mut other = Rude::new();
        other.transcript.request.push(0);
        other
    });
    let message = chain(&other.gsa_auth(1));
    let answer = rude
        .say(ExchangeType::GSA_AUTH, 1, &message)
        .expect("an answer");
    assert!(answer.has_notify(NotifyType::AUTHENTICATION_FAILED));
}

#[test]
fn a_refusal_carries_neither_policy_nor_keys() {
    for refusal in [
        Refusal::InvalidGroupId,
        Refusal::AuthorizationFailed,
        Refusal::RegistrationFailed,
        Refusal::NoProposalChosen,
    ] {
        let mut rude = Rude::new();
        let message = chain(&rude.gsa_auth(1));
        assert!(rude.say(ExchangeType::GSA_AUTH, 1, &message).is_none());
        let Some(Event::Registration { handle, .. }) = rude.responder.poll_event() else {
            panic!("the owner is asked");
        };
        rude.responder
            .refuse(rude.now, handle, refusal, &mut rude.entropy)
            .expect("an open request");
        let answer = rude.answer(ExchangeType::GSA_AUTH, 1).expect("the refusal");
        assert!(answer.authentication.is_some());
        assert!(answer.has_notify(refusal.notify_type()));
        assert!(answer.policy.is_none() && answer.key_download.is_none());
    }
}

#[test]
fn no_child_sa_comes_of_a_create_child_sa() {
    let mut rude = Rude::new();
    let message = chain(&rude.gsa_auth(1));
    assert!(rude.say(ExchangeType::GSA_AUTH, 1, &message).is_none());
    let Some(Event::Registration { handle, .. }) = rude.responder.poll_event() else {
        panic!("the owner is asked");
    };
    let (now, refusal) = (rude.now, Refusal::RegistrationFailed);
    let refused = rude
        .responder
        .refuse(now, handle, refusal, &mut rude.entropy);
    assert_eq!(refused, Ok(()));
    rude.answer(ExchangeType::GSA_AUTH, 1).expect("the refusal");
    let wanted = chain(&[
        Payload::SecurityAssociation(SecurityAssociation {
            proposals: proposal::offer(&[KeyExchangeChoice::X25519], false),
        }),
        Payload::Nonce(Nonce(vec![6; 32])),
    ]);
    for message_id in [2, 3] {
        let answer = rude
            .say(ExchangeType::CREATE_CHILD_SA, message_id, &wanted)
            .expect("an answer");
        assert_eq!(
            answer.notifies,
            [Notify::empty(NotifyType::NO_ADDITIONAL_SAS)]
        );
        assert!(answer.security_association.is_none() && answer.nonce.is_none());
        assert!(answer.key_exchange.is_none() && !answer.traffic_selectors);
    }
    assert_eq!(rude.responder.ike_sa_counts(), (1, 0));
}

#[test]
fn a_group_may_be_named_by_an_address_a_domain_or_a_mail_address() {
    for group in [
        Identification::address([239, 1, 2, 3].into()),
        Identification::address([0xff0e, 0, 0, 0, 0, 0, 0, 1].into()),
        Identification::fqdn("voice.example.org"),
        Identification::mail("voice@example.org"),
    ] {
        let mut rude = Rude::new();
        let mut payloads = rude.gsa_auth(1);
        payloads[2] = Payload::GroupIdentification(group.clone());
        assert!(
            rude.say(ExchangeType::GSA_AUTH, 1, &chain(&payloads))
                .is_none()
        );
        match rude.responder.poll_event() {
            Some(Event::Registration { request, .. }) => assert_eq!(request.group, group),
            other => panic!("{other:?}"),
        }
    }
}
