//! Registrations and acknowledgements: what members send.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gikev2::Entropy;
use gikev2::exchange::datagram::without_marker;
use gikev2::rekey::acknowledgement;
use gikev2::responder::{Event, IkeSaHandle, RegistrationHandle, RegistrationRequest};
use gikev2::wire::{Identification, NotifyType};

use super::{KeyServer, Role};
use crate::audit::{AuditEvent, RefusalCause};
use crate::command::{Action, CommandKey, Register};
use crate::identity::MemberIdentity;
use crate::outcome::Outcome;
use crate::registration;
use crate::secret::SecretBytes;
use crate::state::key_tree::JOIN_ENTROPY_OCTETS;

/// How long a registration may take to be committed. Shorter than the responder's own patience.
const DECISION_TIME: Duration = Duration::from_secs(20);

/// Registrations that wait for the log, and which registration came over which IKE SA.
#[derive(Debug, Default)]
pub(super) struct Registrations {
    waiting: BTreeMap<CommandKey, Waiting>,
    sessions: BTreeMap<IkeSaHandle, Vec<(u32, u64)>>,
}

#[derive(Debug)]
struct Waiting {
    handle: RegistrationHandle,
    group_id: u32,
    identity: MemberIdentity,
    remote: SocketAddr,
    deadline: Instant,
}

impl Registrations {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.deadline).min()
    }
}

impl KeyServer {
    pub(super) fn handle_ike_events(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        while let Some(event) = self.responder.poll_event() {
            match event {
                Event::Registration { handle, request } => {
                    self.handle_registration(now, handle, &request, entropy)
                }
                Event::Left {
                    ike_sa,
                    identity,
                    group,
                    reason,
                    remote,
                } => {
                    self.audit.push_back(AuditEvent::Left {
                        group: group
                            .group_id()
                            .map_or_else(String::new, |id| self.group_name(id)),
                        identity: identity.to_string(),
                        remote,
                        policy_unusable: reason == NotifyType::NO_PROPOSAL_CHOSEN,
                    });
                    self.handle_left(now, ike_sa, &identity, &group, entropy);
                }
                Event::Authenticated {
                    identity, remote, ..
                } => {
                    self.audit.push_back(AuditEvent::Authenticated {
                        identity: identity.to_string(),
                        remote,
                    });
                }
                // This key server rekeys by GSA_REKEY only.
                Event::InbandRekeyed { .. } => {}
                Event::Closed { ike_sa, .. } => {
                    self.registrations.sessions.remove(&ike_sa);
                }
                Event::Rejected {
                    remote,
                    identity,
                    reason,
                } => {
                    let identity = identity.map(|identity| identity.to_string());
                    self.audit.push_back(AuditEvent::Rejected {
                        remote,
                        identity,
                        reason,
                    });
                }
            }
        }
    }

    fn handle_registration(
        &mut self,
        now: Instant,
        handle: RegistrationHandle,
        request: &RegistrationRequest,
        entropy: &mut dyn Entropy,
    ) {
        let subject = request
            .certificate
            .as_ref()
            .map(|certificate| certificate.subject().to_owned());
        let identity = MemberIdentity::new(&request.identity, subject.as_deref());
        let known = request
            .group
            .group_id()
            .and_then(|id| self.state.group(id).map(|group| (id, group)));
        let decision = match known {
            None => Err(RefusalCause::Group),
            Some((group_id, group)) => {
                registration::authorise(group, &identity, request).map(|()| group_id)
            }
        };
        let decision = decision.and_then(|group_id| match self.role {
            Role::NoQuorum => Err(RefusalCause::NoQuorum),
            Role::Primary | Role::Secondary { .. } => Ok(group_id),
        });
        let group_id = match decision {
            Ok(group_id) => group_id,
            Err(cause) => {
                let group = request
                    .group
                    .group_id()
                    .map_or_else(String::new, |id| self.group_name(id));
                self.refuse(
                    now,
                    handle,
                    group,
                    &identity,
                    request.remote,
                    cause,
                    entropy,
                );
                return;
            }
        };
        let register = Register {
            group_id,
            identity: identity.clone(),
            sender_ids: request.sender_ids.map_or(0, |wanted| wanted.max(1)),
            local: request.local,
            remote: request.remote,
            acknowledges: request.acknowledges,
            acknowledgement_key: SecretBytes::from(&request.acknowledgement_key),
            fragmentation: request.fragmentation,
            tree_entropy: SecretBytes::random(JOIN_ENTROPY_OCTETS, entropy),
            key_server: self.own.name.clone(),
        };
        let key = self.propose(now, Action::Register(Box::new(register)), entropy);
        let waiting = Waiting {
            handle,
            group_id,
            identity,
            remote: request.remote,
            deadline: now + DECISION_TIME,
        };
        self.registrations.waiting.insert(key, waiting);
    }

    /// A registration was committed: now the member may hear about it.
    pub(super) fn answer_registration(
        &mut self,
        now: Instant,
        key: &CommandKey,
        outcome: &Outcome,
        entropy: &mut dyn Entropy,
    ) {
        let Some(waiting) = self.registrations.waiting.remove(key) else {
            return;
        };
        let group = self.group_name(waiting.group_id);
        let time = self.group_time(now);
        let granted = match outcome {
            Outcome::Registered {
                registration_id, ..
            } => self
                .state
                .group(waiting.group_id)
                .and_then(|group| registration::grant(group, *registration_id, time))
                .ok_or(RefusalCause::Internal),
            Outcome::Refused(refused) => Err(registration::cause_of(*refused)),
            Outcome::Done | Outcome::Rekeyed { .. } | Outcome::Superseded => {
                Err(RefusalCause::Internal)
            }
        };
        match granted {
            Ok(grant) => {
                let (registration_id, sender_ids) =
                    (grant.registration_id, grant.keys.sender_ids.clone());
                // A stale handle means that the member has given up; its record falls to the next registration.
                if self
                    .responder
                    .accept(now, waiting.handle, grant, entropy)
                    .is_ok()
                {
                    let session = self
                        .registrations
                        .sessions
                        .entry(waiting.handle.ike_sa())
                        .or_default();
                    session.push((waiting.group_id, registration_id));
                    self.audit.push_back(AuditEvent::Registered {
                        group,
                        identity: waiting.identity.to_string(),
                        registration_id,
                        remote: waiting.remote,
                        sender_ids,
                    });
                }
            }
            Err(cause) => {
                self.refuse(
                    now,
                    waiting.handle,
                    group,
                    &waiting.identity,
                    waiting.remote,
                    cause,
                    entropy,
                );
            }
        }
    }

    pub(super) fn expire_registrations(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.give_up(
            now,
            RefusalCause::TimedOut,
            |waiting| waiting.deadline <= now,
            entropy,
        );
    }

    /// No quorum: nobody waiting can be admitted.
    pub(super) fn refuse_waiting(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.give_up(now, RefusalCause::NoQuorum, |_| true, entropy);
    }

    fn give_up(
        &mut self,
        now: Instant,
        cause: RefusalCause,
        which: impl Fn(&Waiting) -> bool,
        entropy: &mut dyn Entropy,
    ) {
        let over: Vec<CommandKey> = self
            .registrations
            .waiting
            .iter()
            .filter(|(_, waiting)| which(waiting))
            .map(|(key, _)| *key)
            .collect();
        for key in over {
            self.proposals.withdraw(&key);
            if let Some(waiting) = self.registrations.waiting.remove(&key) {
                let group = self.group_name(waiting.group_id);
                self.refuse(
                    now,
                    waiting.handle,
                    group,
                    &waiting.identity,
                    waiting.remote,
                    cause,
                    entropy,
                );
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn refuse(
        &mut self,
        now: Instant,
        handle: RegistrationHandle,
        group: String,
        identity: &MemberIdentity,
        remote: SocketAddr,
        cause: RefusalCause,
        entropy: &mut dyn Entropy,
    ) {
        // A stale handle: the member does not wait for an answer any more.
        let _stale = self
            .responder
            .refuse(now, handle, registration::refusal(cause), entropy);
        self.audit.push_back(AuditEvent::Refused {
            group,
            identity: identity.to_string(),
            remote,
            cause,
        });
    }

    fn handle_left(
        &mut self,
        now: Instant,
        ike_sa: IkeSaHandle,
        identity: &Identification,
        group: &Identification,
        entropy: &mut dyn Entropy,
    ) {
        let Some(group_id) = group.group_id() else {
            return;
        };
        let session = self
            .registrations
            .sessions
            .get(&ike_sa)
            .into_iter()
            .flatten();
        let over_this_sa = session
            .filter(|(id, _)| *id == group_id)
            .map(|(_, registration)| *registration)
            .next_back();
        let registration_id = over_this_sa.or_else(|| {
            let identity = MemberIdentity::new(identity, None);
            Some(
                self.state
                    .group(group_id)?
                    .members
                    .by_identity(&identity)?
                    .registration_id,
            )
        });
        if let Some(registration_id) = registration_id {
            let registration_ids = vec![registration_id];
            self.propose(
                now,
                Action::RemoveMembers {
                    group_id,
                    registration_ids,
                },
                entropy,
            );
        }
    }

    /// Takes in a rekey acknowledgement. Answers `false` when the datagram is something else.
    pub(super) fn handle_acknowledgement(
        &mut self,
        now: Instant,
        local: SocketAddr,
        remote: SocketAddr,
        datagram: &[u8],
    ) -> bool {
        let Some(message) = without_marker(local, remote, datagram) else {
            return false;
        };
        let Ok(acknowledgement) = acknowledgement::parse(message) else {
            return false;
        };
        let found = self.state.groups().iter().find_map(|(group_id, group)| {
            let member = group.members.get(acknowledgement.registration_id)?;
            let sent = group.sent.undelivered().find(|sent| {
                gikev2::wire::RekeySpi::from(sent.message.spi) == acknowledgement.spi
                    && sent.message.message_id == acknowledgement.message_id
            })?;
            Some((*group_id, group, member, sent))
        });
        let Some((group_id, group, member, sent)) = found else {
            return true;
        };
        if !sent.addresses(member)
            || !member.acknowledges
            || !acknowledgement.verify(&member.acknowledgement_key.to_secret())
        {
            return true;
        }
        let delivery = self.work.get_mut(&group_id).map(|work| &mut work.delivery);
        if delivery
            .is_some_and(|it| it.handle_acknowledgement(now, sent.number, member.registration_id))
        {
            self.acknowledged_at
                .insert(member.registration_id, self.unix.read(now));
            self.audit.push_back(AuditEvent::Acknowledged {
                group: group.policy.name.clone(),
                registration_id: member.registration_id,
                message_id: acknowledgement.message_id,
            });
        }
        true
    }
}
