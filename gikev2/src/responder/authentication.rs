//! GSA_AUTH and childless IKE_AUTH: who is the peer, and our own proof (RFC 9838 §2.3.1, RFC 6023).
//!
//! A peer that fails hears AUTHENTICATION_FAILED whatever was wrong, after the same work.

use crate::exchange::authentication::{self as proofs, AuthenticationError, Proofs};
use crate::exchange::key_schedule::Role;
use crate::exchange::payloads::Payloads;
use crate::wire::{
    Authentication, AuthenticationMethod, ExchangeType, Header, Identification, NotifyType, Payload,
};

use super::ike_sa::{IkeSa, State};
use super::protected::notification;
use super::{Arrival, Event, Fate, IkeSaHandle, RejectReason, Responder, Turn};

impl Responder {
    pub(super) fn handle_authentication(
        &mut self,
        turn: &mut Turn<'_>,
        sa: &mut IkeSa,
        arrival: Arrival,
        header: &Header,
        request: Payloads,
    ) -> Fate {
        let registering = header.exchange == ExchangeType::GSA_AUTH;
        let Some(identity) = request.initiator.clone() else {
            return self.refuse_payload_set(turn, sa, arrival, header, "no IDi");
        };
        if registering && request.group.is_none() {
            return self.refuse_payload_set(turn, sa, arrival, header, "GSA_AUTH without IDg");
        }
        let proof = match self.authenticate(turn, sa, header, &identity, &request) {
            Ok(proof) => proof,
            Err(error) => {
                let fate = self.answer(
                    sa,
                    arrival,
                    header,
                    &[notification(NotifyType::AUTHENTICATION_FAILED)],
                );
                let reason = RejectReason::Authentication(error);
                let identity = Some(identity);
                self.events.push_back(Event::Rejected {
                    remote: arrival.remote,
                    identity,
                    reason,
                });
                self.end(turn, sa);
                return fate;
            }
        };
        sa.identity = Some(identity.clone());
        sa.transcript.clear();
        if registering {
            return self.ask_owner(turn, sa, arrival, header, request, proof);
        }
        sa.state = State::Established;
        sa.deadline = turn.now + self.config.limits.childless_idle;
        let mut answer = proof;
        if request.security_association.is_some() || request.traffic_selectors {
            // The peer wants a Child SA as well. There is none here; the IKE SA stands (RFC 7296 §1.2).
            answer.push(notification(NotifyType::NO_PROPOSAL_CHOSEN));
        }
        let ike_sa = IkeSaHandle(sa.serial);
        self.events.push_back(Event::Authenticated {
            ike_sa,
            identity,
            remote: arrival.remote,
        });
        self.answer(sa, arrival, header, &answer)
    }

    /// Checks the peer's proof and makes ours: IDr, CERT, AUTH.
    fn authenticate(
        &self,
        turn: &Turn<'_>,
        sa: &mut IkeSa,
        header: &Header,
        identity: &Identification,
        request: &Payloads,
    ) -> Result<Vec<Payload>, AuthenticationError> {
        let authentication = request
            .authentication
            .as_ref()
            .ok_or(AuthenticationError::Missing)?;
        let proofs = Proofs {
            schedule: &sa.schedule,
            transcript: &sa.transcript,
            message_id: header.message_id,
        };
        let own = &self.config.identity;
        let mut answer = vec![Payload::IdentificationResponder(own.clone())];
        match authentication {
            Authentication::SharedKey(mic) => {
                let keys =
                    self.config
                        .pre_shared_keys
                        .as_ref()
                        .ok_or(AuthenticationError::Method(
                            AuthenticationMethod::SHARED_KEY,
                        ))?;
                let known = keys.key(identity);
                let key = known.unwrap_or(&self.decoy);
                let matches = proofs.verify_shared_key(Role::Initiator, identity, key, mic);
                match (known, matches) {
                    (None, _) => return Err(AuthenticationError::UnknownIdentity),
                    (Some(_), Err(error)) => return Err(error),
                    (Some(key), Ok(())) => {
                        answer.push(Payload::Authentication(proofs.prove_shared_key(
                            Role::Responder,
                            own,
                            key,
                        )));
                    }
                }
            }
            Authentication::Signature {
                algorithm_identifier,
                signature,
            } => {
                let credentials =
                    self.config
                        .certificate
                        .as_ref()
                        .ok_or(AuthenticationError::Method(
                            AuthenticationMethod::DIGITAL_SIGNATURE,
                        ))?;
                let certificate = proofs.verify_certificate(&proofs::SignedProof {
                    prover: Role::Initiator,
                    identity,
                    certificates: &request.certificates,
                    anchors: &credentials.trust_anchors,
                    unix_time: turn.unix_time,
                    algorithm_identifier,
                    signature,
                })?;
                let (certificates, authentication) =
                    proofs.prove_certificate(Role::Responder, own, credentials, &sa.peer.hashes)?;
                answer.extend(certificates.into_iter().map(Payload::Certificate));
                answer.push(Payload::Authentication(authentication));
                sa.certificate = Some(certificate);
            }
            Authentication::Other { method, .. } => {
                return Err(AuthenticationError::Method(*method));
            }
        }
        Ok(answer)
    }

    /// A request that lacks a payload its exchange needs.
    pub(super) fn refuse_payload_set(
        &mut self,
        turn: &mut Turn<'_>,
        sa: &mut IkeSa,
        arrival: Arrival,
        header: &Header,
        what: &'static str,
    ) -> Fate {
        let fate = self.answer(
            sa,
            arrival,
            header,
            &[notification(NotifyType::INVALID_SYNTAX)],
        );
        self.reject(sa, RejectReason::PayloadSet(what));
        self.end(turn, sa);
        fate
    }
}
