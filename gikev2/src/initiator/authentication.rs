//! GSA_AUTH and childless IKE_AUTH from the member's side: prove who we are, and that the key server is one we may
//! listen to (RFC 9838 §2.3.1, §2.3.3).

use crate::exchange::authentication::{AuthenticationError, Credentials, Proofs, SignedProof};
use crate::exchange::key_schedule::Role;
use crate::exchange::payloads::Payloads;
use crate::wire::{
    Authentication, ExchangeType, Identification, Notify, NotifyType, Payload, SecurityAssociation,
};

use super::registration::{Terms, unwrap_registration};
use super::state::{Keyed, Pending, Secured, State};
use super::{Event, Initiator, InitiatorError, Purpose, Refusal, RegistrationParameters, Turn};

impl Initiator {
    /// Sends our proof with whatever we want of the key server.
    pub(super) fn send_authentication(
        &mut self,
        turn: &mut Turn<'_>,
        mut keyed: Box<Keyed>,
    ) -> Result<(), InitiatorError> {
        let own = &self.config.identity;
        let proofs = Proofs {
            schedule: &keyed.schedule,
            transcript: &keyed.transcript,
            message_id: self.own_requests.next(),
        };
        let mut payloads = vec![Payload::IdentificationInitiator(own.clone())];
        let authentication = match &self.config.credentials {
            Credentials::PreSharedKey(key) => proofs.prove_shared_key(Role::Initiator, own, key),
            Credentials::Certificate(credentials) => {
                let (certificates, authentication) = proofs
                    .prove_certificate(Role::Initiator, own, credentials, &keyed.peer.hashes)
                    .map_err(InitiatorError::Authentication)?;
                payloads.extend(certificates.into_iter().map(Payload::Certificate));
                payloads.push(Payload::CertificateRequest(
                    credentials.certificate_request(),
                ));
                authentication
            }
        };
        payloads.push(Payload::Authentication(authentication));
        let exchange = match &self.config.purpose {
            Purpose::Registration(parameters) => {
                if !keyed.schedule.suite().key_wrap {
                    return Err(InitiatorError::NoProposalChosen);
                }
                payloads.extend(registration_payloads(parameters, keyed.peer.ours));
                ExchangeType::GSA_AUTH
            }
            Purpose::ChildlessAuthentication => {
                if !keyed.peer.childless {
                    return Err(InitiatorError::PayloadSet(
                        "the peer cannot do childless IKE_AUTH",
                    ));
                }
                ExchangeType::IKE_AUTH
            }
        };
        let fragmentation = keyed.peer.fragmentation;
        self.send_request(
            turn,
            &mut keyed.schedule,
            fragmentation,
            exchange,
            &payloads,
        )?;
        self.state = State::Authenticating(keyed);
        Ok(())
    }

    /// Takes in the answer to our proof.
    pub(super) fn handle_authentication_answer(
        &mut self,
        turn: &mut Turn<'_>,
        keyed: Box<Keyed>,
        message_id: u32,
        answer: Payloads,
    ) {
        if answer.authentication.is_none()
            && let Some(notify) = answer.error()
        {
            return self.fail(match notify.notify_type {
                NotifyType::AUTHENTICATION_FAILED => InitiatorError::RefusedByPeer,
                other => InitiatorError::Notified(other),
            });
        }
        let identity = match self.authenticate(turn, &keyed, message_id, &answer) {
            Ok(identity) => identity,
            Err(error) => {
                self.denounce(turn, keyed);
                return self.fail(InitiatorError::Authentication(error));
            }
        };
        let Keyed { schedule, peer, .. } = *keyed;
        let secured = Box::new(Secured {
            schedule,
            peer,
            identity,
            registered: false,
        });
        match &self.config.purpose {
            Purpose::ChildlessAuthentication => {
                self.events.push_back(Event::Authenticated {
                    peer: secured.identity.clone(),
                });
                self.state = State::Established(secured, Pending::Nothing);
            }
            Purpose::Registration(parameters) => {
                let parameters = parameters.clone();
                self.conclude_registration(turn, secured, &parameters, answer);
            }
        }
    }

    /// Turns an authenticated answer into its event.
    pub(super) fn conclude_registration(
        &mut self,
        turn: &mut Turn<'_>,
        mut secured: Box<Secured>,
        parameters: &RegistrationParameters,
        answer: Payloads,
    ) {
        let refusal = answer.error().map(|notify| notify.notify_type);
        if let Some(notify_type) = refusal {
            let Some(refusal) = Refusal::from_notify_type(notify_type) else {
                return self.fail(InitiatorError::Notified(notify_type));
            };
            self.state = State::Established(secured, Pending::Nothing);
            return self.events.push_back(Event::Refused(refusal));
        }
        let terms = Terms {
            schedule: &secured.schedule,
            peer: &secured.identity,
            private: secured.peer.private(),
            parameters,
        };
        match unwrap_registration(&terms, answer) {
            Ok(registration) => {
                secured.registered = true;
                self.state = State::Established(secured, Pending::Nothing);
                self.events
                    .push_back(Event::Registered(Box::new(registration)));
            }
            Err(InitiatorError::Keys(rule)) => {
                secured.registered = false;
                self.state = State::Established(secured, Pending::Nothing);
                self.leave(turn.now, &parameters.group, true, turn.entropy);
                self.events.push_back(Event::Unusable(rule));
            }
            Err(error) => self.fail(error),
        }
    }

    /// Checks who the key server is: first whether it may be one at all, then whether it proves it.
    fn authenticate(
        &self,
        turn: &Turn<'_>,
        keyed: &Keyed,
        message_id: u32,
        answer: &Payloads,
    ) -> Result<Identification, AuthenticationError> {
        let identity = answer
            .responder
            .as_ref()
            .ok_or(AuthenticationError::Missing)?;
        let authentication = answer
            .authentication
            .as_ref()
            .ok_or(AuthenticationError::Missing)?;
        let allowed = &self.config.key_server_identities;
        if !allowed.iter().any(|pattern| pattern.matches(identity)) {
            return Err(AuthenticationError::IdentityNotAllowed);
        }
        let proofs = Proofs {
            schedule: &keyed.schedule,
            transcript: &keyed.transcript,
            message_id,
        };
        match (&self.config.credentials, authentication) {
            (Credentials::PreSharedKey(key), Authentication::SharedKey(mic)) => {
                proofs.verify_shared_key(Role::Responder, identity, key, mic)?;
            }
            (
                Credentials::Certificate(credentials),
                Authentication::Signature {
                    algorithm_identifier,
                    signature,
                },
            ) => {
                proofs.verify_certificate(&SignedProof {
                    prover: Role::Responder,
                    identity,
                    certificates: &answer.certificates,
                    anchors: &credentials.trust_anchors,
                    unix_time: turn.unix_time,
                    algorithm_identifier,
                    signature,
                })?;
            }
            (_, other) => return Err(AuthenticationError::Method(other.method())),
        }
        Ok(identity.clone())
    }

    /// Tells a peer that failed to prove itself, once; no answer is awaited (RFC 7296 §2.21.2).
    fn denounce(&mut self, turn: &mut Turn<'_>, mut keyed: Box<Keyed>) {
        let payloads = [Payload::Notify(Notify::empty(
            NotifyType::AUTHENTICATION_FAILED,
        ))];
        let fragmentation = keyed.peer.fragmentation;
        let exchange = ExchangeType::INFORMATIONAL;
        let _ = self.send_request(
            turn,
            &mut keyed.schedule,
            fragmentation,
            exchange,
            &payloads,
        );
    }
}

/// IDg, SAg and notifications of a registration.
pub(super) fn registration_payloads(
    parameters: &RegistrationParameters,
    ours: bool,
) -> Vec<Payload> {
    let mut payloads = vec![Payload::GroupIdentification(parameters.group.clone())];
    if !parameters.capabilities.is_empty() {
        let proposals = parameters.capabilities.clone();
        payloads.push(Payload::SecurityAssociation(SecurityAssociation {
            proposals,
        }));
    }
    if let Some(sender_ids) = parameters.sender_ids {
        payloads.push(Payload::Notify(Notify::group_sender(sender_ids)));
    }
    if parameters.acknowledges && ours {
        payloads.push(Payload::Notify(Notify::empty(
            NotifyType::GETVPN_REKEY_ACKNOWLEDGEMENT,
        )));
    }
    payloads
}
