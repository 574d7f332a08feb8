//! Registrations: asking the owner, and carrying its answer (RFC 9838 §2.3.2, §2.3.3, §4.7).

use std::time::Instant;

use crate::Entropy;
use crate::exchange::payloads::Payloads;
use crate::keys::wrap;
use crate::wire::idg::names_a_group;
use crate::wire::{
    DataKeyBag, Header, KeyBag, KeyDownload, MemberKeyBag, Notify, NotifyType, Payload, ProtocolId,
    RekeyKeyBag, WrappedKey,
};
use crate::{Secret, exchange::key_schedule::KeySchedule};

use super::ike_sa::{Deciding, IkeSa, State};
use super::protected::notification;
use super::{
    AnswerError, Arrival, Event, Fate, Grant, GrantKeys, IkeSaHandle, Refusal, RegistrationHandle,
    RegistrationRequest, RejectReason, RekeyKey, Responder, Turn,
};

impl Responder {
    /// Admits the member that asked with `handle`. The answer is ready in [`Self::poll_transmit`] afterwards.
    ///
    /// # Errors
    ///
    /// [`AnswerError::Stale`] when the request is no longer open, [`AnswerError::Encoding`] when the grant cannot be
    /// written; the member was then told REGISTRATION_FAILED.
    pub fn accept(
        &mut self,
        now: Instant,
        handle: RegistrationHandle,
        grant: Grant,
        entropy: &mut dyn Entropy,
    ) -> Result<(), AnswerError> {
        let mut sa = self.take_deciding(handle)?;
        let mut turn = Turn {
            now,
            unix_time: 0,
            entropy,
        };
        let State::Deciding(deciding) = &sa.state else {
            return Err(AnswerError::Stale);
        };
        let mut payloads = deciding.proof.clone();
        let (exchange, message_id) = (deciding.exchange, deciding.message_id);
        let acknowledges = deciding.acknowledges;
        let outcome = encode_keys(&sa.schedule, &grant).and_then(|download| {
            let gsa = if sa.peer.ours {
                grant.gsa
            } else {
                grant.gsa.without_private_attributes()
            };
            payloads.push(Payload::GroupSecurityAssociation(gsa));
            payloads.push(Payload::KeyDownload(download));
            if acknowledges {
                let data = grant.registration_id.to_be_bytes();
                payloads.push(Payload::Notify(Notify::new(
                    NotifyType::GETVPN_REGISTRATION_ID,
                    &data,
                )));
            }
            let arrival = Arrival {
                local: sa.local,
                remote: sa.remote,
            };
            self.try_answer(&mut sa, arrival, exchange, message_id, &payloads)
                .map_err(|_| AnswerError::Encoding)
        });
        let fate = match outcome {
            Ok(()) => {
                sa.state = State::Established;
                sa.deadline = now + self.config.limits.idle_grace;
                Fate::Keep
            }
            Err(_) => self.refuse_registration(&mut turn, &mut sa, Refusal::RegistrationFailed),
        };
        self.settle(sa, fate);
        outcome
    }

    /// Refuses the registration that asked with `handle`.
    ///
    /// # Errors
    ///
    /// [`AnswerError::Stale`] when the request is no longer open.
    pub fn refuse(
        &mut self,
        now: Instant,
        handle: RegistrationHandle,
        refusal: Refusal,
        entropy: &mut dyn Entropy,
    ) -> Result<(), AnswerError> {
        let mut sa = self.take_deciding(handle)?;
        let fate = self.refuse_registration(
            &mut Turn {
                now,
                unix_time: 0,
                entropy,
            },
            &mut sa,
            refusal,
        );
        self.settle(sa, fate);
        Ok(())
    }

    fn take_deciding(&mut self, handle: RegistrationHandle) -> Result<IkeSa, AnswerError> {
        let open = self
            .sas
            .get(&handle.ike_sa)
            .is_some_and(|sa| match &sa.state {
                State::Deciding(deciding) => deciding.message_id == handle.message_id,
                _ => false,
            });
        if !open {
            return Err(AnswerError::Stale);
        }
        self.sas.remove(&handle.ike_sa).ok_or(AnswerError::Stale)
    }

    /// The answer to a registration that leads to nothing; the IKE SA stays up for another try.
    pub(super) fn refuse_registration(
        &mut self,
        turn: &mut Turn<'_>,
        sa: &mut IkeSa,
        refusal: Refusal,
    ) -> Fate {
        let State::Deciding(deciding) = std::mem::replace(&mut sa.state, State::Established) else {
            return Fate::Keep;
        };
        let mut payloads = deciding.proof;
        payloads.push(notification(refusal.notify_type()));
        sa.deadline = turn.now + self.config.limits.idle_grace;
        let arrival = Arrival {
            local: sa.local,
            remote: sa.remote,
        };
        self.reject(sa, RejectReason::Registration(refusal));
        match self.try_answer(
            sa,
            arrival,
            deciding.exchange,
            deciding.message_id,
            &payloads,
        ) {
            Ok(()) => Fate::Keep,
            Err(_) => Fate::Remove,
        }
    }

    /// GSA_REGISTRATION on an established IKE SA.
    pub(super) fn handle_registration(
        &mut self,
        turn: &mut Turn<'_>,
        sa: &mut IkeSa,
        arrival: Arrival,
        header: &Header,
        request: Payloads,
    ) -> Fate {
        let (Some(group), Some(identity)) = (request.group.clone(), sa.identity.clone()) else {
            return self.refuse_payload_set(
                turn,
                sa,
                arrival,
                header,
                "GSA_REGISTRATION without IDg",
            );
        };
        let leaves = [
            NotifyType::NO_PROPOSAL_CHOSEN,
            NotifyType::REGISTRATION_FAILED,
        ];
        if let Some(reason) = leaves
            .into_iter()
            .find(|reason| request.has_notify(*reason))
        {
            sa.deadline = turn.now + self.config.limits.idle_grace;
            let (ike_sa, remote) = (IkeSaHandle(sa.serial), arrival.remote);
            self.events.push_back(Event::Left {
                ike_sa,
                identity,
                group,
                reason,
                remote,
            });
            return self.answer(sa, arrival, header, &[]);
        }
        self.ask_owner(turn, sa, arrival, header, request, Vec::new())
    }

    /// Lays a registration before the owner. `proof` is what the answer begins with.
    pub(super) fn ask_owner(
        &mut self,
        turn: &mut Turn<'_>,
        sa: &mut IkeSa,
        arrival: Arrival,
        header: &Header,
        request: Payloads,
        proof: Vec<Payload>,
    ) -> Fate {
        let (Some(group), Some(identity)) = (request.group.clone(), sa.identity.clone()) else {
            return Fate::Remove;
        };
        let initial = !proof.is_empty();
        let acknowledges =
            sa.peer.ours && request.has_notify(NotifyType::GETVPN_REKEY_ACKNOWLEDGEMENT);
        sa.state = State::Deciding(Box::new(Deciding {
            exchange: header.exchange,
            message_id: header.message_id,
            proof,
            acknowledges,
        }));
        sa.deadline = turn.now + self.config.limits.decision_time;
        if !names_a_group(&group) {
            return self.refuse_registration(turn, sa, Refusal::InvalidGroupId);
        }
        let sender_ids = request
            .notify(NotifyType::GROUP_SENDER)
            .map(|notify| notify.data_u32().unwrap_or(1).max(1));
        let Ok(acknowledgement_key) = sa.schedule.acknowledgement_key() else {
            return Fate::Remove;
        };
        self.events.push_back(Event::Registration {
            handle: RegistrationHandle {
                ike_sa: sa.serial,
                message_id: header.message_id,
            },
            request: Box::new(RegistrationRequest {
                identity,
                certificate: sa.certificate.clone(),
                group,
                capabilities: request
                    .security_association
                    .map(|capabilities| capabilities.proposals),
                sender_ids,
                local: arrival.local,
                remote: arrival.remote,
                behind_nat: sa.peer.behind_nat,
                fragmentation: sa.peer.fragmentation,
                acknowledges,
                acknowledgement_key,
                initial,
            }),
        });
        Fate::Keep
    }
}

/// Wraps the keys of a grant under the IKE SA's GSK_w.
fn encode_keys(schedule: &KeySchedule, grant: &Grant) -> Result<KeyDownload, AnswerError> {
    let default_key = schedule.key_wrap_key().map_err(|_| AnswerError::Encoding)?;
    let wrapped = |key_id: u32, key: &Secret| {
        wrap::wrap(&default_key, key.as_bytes())
            .map(|encrypted| WrappedKey {
                key_id,
                kwk_id: 0,
                encrypted,
            })
            .map_err(|_| AnswerError::Encoding)
    };
    let GrantKeys {
        rekey,
        data,
        plain_wrap_keys,
        wrap_keys,
        auth_key,
        sender_ids,
    } = &grant.keys;
    let mut bags = Vec::new();
    if let Some(rekey) = rekey {
        let sa_key = match &rekey.key {
            RekeyKey::Plain(key) => wrapped(0, key)?,
            RekeyKey::Wrapped(key) => key.clone(),
        };
        bags.push(KeyBag::Rekey(RekeyKeyBag {
            spi: rekey.spi,
            sa_keys: vec![sa_key],
            unknown: Vec::new(),
        }));
    }
    for (spi, key) in data {
        let sa_key = wrapped(0, key)?;
        bags.push(KeyBag::Data(DataKeyBag {
            protocol: ProtocolId::ESP,
            spi: *spi,
            sa_key,
            unknown: Vec::new(),
        }));
    }
    let mut member = MemberKeyBag {
        wrap_keys: wrap_keys.clone(),
        auth_key: auth_key.clone(),
        sender_ids: sender_ids.clone(),
        unknown: Vec::new(),
    };
    for (key_id, key) in plain_wrap_keys {
        member.wrap_keys.push(wrapped(*key_id, key)?);
    }
    if member != MemberKeyBag::default() {
        bags.push(KeyBag::Member(member));
    }
    Ok(KeyDownload { bags })
}
