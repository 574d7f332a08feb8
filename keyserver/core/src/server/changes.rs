//! Changes of keys on the primary: one at a time in each group, from plan to delivery.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gikev2::exchange::datagram::with_marker;
use gikev2::{Entropy, Transmit};
use keyserver_api::policy::{RekeyTransport, SignatureAlgorithm};

use super::admin::{AdminAnswer, AdminError, AdminTicket};
use super::{KeyServer, Role};
use crate::audit::AuditEvent;
use crate::command::{Action, Command, CommandKey, Rekey};
use crate::outcome::{Outcome, Refused};
use crate::rekey::delivery::{Delivery, Recipient};
use crate::rekey::plan::{Change, Planner};
use crate::rekey::schedule::{self, Need};
use crate::state::group::Group;

/// How long the traffic keys after an eviction wait for the others to have the new key encryption key.
const EVICTION_PATIENCE_MS: u64 = 500;
/// How long a change that could not be planned is left alone.
const PLAN_RETRY: Duration = Duration::from_secs(5);
/// How long the process may take to make a signing key before it is asked again.
const SIGNING_KEY_PATIENCE: Duration = Duration::from_secs(120);

/// What the primary does for one group. Not replicated: a new primary starts from the state.
#[derive(Debug, Default)]
pub(super) struct GroupWork {
    wanted: VecDeque<Wanted>,
    in_flight: Option<InFlight>,
    pub(super) delivery: Delivery,
    retry_at: Option<Instant>,
    signing_key_asked: Option<Instant>,
    all_acknowledged: bool,
}

/// A change an administrator asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) change: Change,
    pub(super) ticket: Option<AdminTicket>,
}

#[derive(Debug)]
struct InFlight {
    key: CommandKey,
    wanted: Option<Wanted>,
}

impl KeyServer {
    /// Queues a change an administrator asked for.
    pub(super) fn want(&mut self, group_id: u32, wanted: Wanted) {
        self.work
            .entry(group_id)
            .or_default()
            .wanted
            .push_back(wanted);
    }

    /// Plans what is wanted or due in every group that has nothing in flight.
    pub(super) fn start_changes(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let groups: Vec<u32> = self.state.groups().keys().copied().collect();
        for group_id in groups {
            self.start_change(now, group_id, entropy);
        }
    }

    fn start_change(&mut self, now: Instant, group_id: u32, entropy: &mut dyn Entropy) {
        let work = self.work.entry(group_id).or_default();
        if work
            .in_flight
            .as_ref()
            .is_some_and(|in_flight| self.proposals.contains(&in_flight.key))
        {
            return;
        }
        work.in_flight = None;
        if work.retry_at.is_some_and(|retry| retry > now) {
            return;
        }
        let Some(group) = self.state.group(group_id) else {
            return;
        };
        let wanted = match next_wanted(group, work) {
            Some(wanted) => Some(wanted),
            None if self.change_due(now, group_id).is_some_and(|due| due <= now) => None,
            None => return,
        };
        let change = match (&wanted, schedule::next(group)) {
            (Some(wanted), _) => wanted.change.clone(),
            (None, Some((_, Need::SigningKey))) => {
                self.ask_for_signing_key(now, group_id);
                return;
            }
            (None, Some((_, need))) => Change::Due(need),
            (None, None) => return,
        };
        self.plan(now, group_id, &change, wanted, entropy);
    }

    fn plan(
        &mut self,
        now: Instant,
        group_id: u32,
        change: &Change,
        wanted: Option<Wanted>,
        entropy: &mut dyn Entropy,
    ) {
        let planner = Planner {
            state: &self.state,
            group_id,
            time: self.clock.read(now),
            fragment_size: self.own.fragment_size,
            all_acknowledged: self
                .work
                .get(&group_id)
                .is_some_and(|work| work.all_acknowledged),
        };
        match planner.plan(change, entropy) {
            Ok(Some(rekey)) => {
                let key = self.propose(now, Action::Rekey(Box::new(rekey)), entropy);
                self.work.entry(group_id).or_default().in_flight = Some(InFlight { key, wanted });
            }
            Ok(None) => {
                if let Some(ticket) = wanted.and_then(|wanted| wanted.ticket) {
                    self.desk.answer(ticket, Ok(AdminAnswer::Done));
                }
            }
            Err(error) => {
                self.work.entry(group_id).or_default().retry_at = Some(now + PLAN_RETRY);
                if let Some(ticket) = wanted.and_then(|wanted| wanted.ticket) {
                    self.desk
                        .answer(ticket, Err(AdminError::Plan(error.to_string())));
                }
                self.audit.push_back(AuditEvent::PlanFailed {
                    group: self.group_name(group_id),
                    error,
                });
            }
        }
    }

    fn ask_for_signing_key(&mut self, now: Instant, group_id: u32) {
        let Some(group) = self.state.group(group_id) else {
            return;
        };
        let (name, algorithm): (String, SignatureAlgorithm) =
            (group.policy.name.clone(), group.policy.rekey.signature);
        let work = self.work.entry(group_id).or_default();
        work.signing_key_asked = Some(now);
        self.audit.push_back(AuditEvent::SigningKeyNeeded {
            group_id,
            group: name,
            algorithm,
        });
    }

    /// When a group's next change is due; `None` when nothing is, or something is in flight.
    fn change_due(&self, now: Instant, group_id: u32) -> Option<Instant> {
        let group = self.state.group(group_id)?;
        let work = self.work.get(&group_id);
        if work.is_some_and(|work| {
            work.in_flight
                .as_ref()
                .is_some_and(|it| self.proposals.contains(&it.key))
        }) {
            return None;
        }
        let (due, need) = schedule::next(group)?;
        let mut due = self.clock.instant_of(now, due);
        if let Some(work) = work {
            if need == Need::EvictionTrafficKeys && !work.delivery.is_idle() {
                let committed = group.sent.last().map(|sent| sent.committed);
                let patience = committed.map(|at| {
                    self.clock
                        .instant_of(now, at.plus_millis(EVICTION_PATIENCE_MS))
                });
                due = due.max(patience.unwrap_or(due));
            }
            if need == Need::SigningKey {
                due = due.max(
                    work.signing_key_asked
                        .map_or(due, |asked| asked + SIGNING_KEY_PATIENCE),
                );
            }
            if !work.wanted.is_empty() && next_wanted_ready(group) {
                due = now;
            }
            due = due.max(work.retry_at.unwrap_or(due));
        }
        Some(due)
    }

    /// When the first change of any group is due.
    pub(super) fn next_change(&self, now: Instant) -> Option<Instant> {
        if self.role != Role::Primary {
            return None;
        }
        self.state
            .groups()
            .keys()
            .filter_map(|group_id| self.change_due(now, *group_id))
            .min()
    }

    /// A command was applied: what follows from it here. `first` is false for one that was applied before.
    pub(super) fn follow_up(
        &mut self,
        now: Instant,
        command: &Command,
        outcome: &Outcome,
        first: bool,
        entropy: &mut dyn Entropy,
    ) {
        match &command.action {
            Action::Tick => {}
            Action::Register(_) => self.answer_registration(now, &command.key, outcome, entropy),
            Action::Rekey(rekey) => {
                if first {
                    self.announce(now, rekey, outcome);
                }
                self.settle_change(rekey.group_id, &command.key, outcome);
            }
            Action::Delivered {
                group_id,
                number,
                silent,
            } => {
                if first {
                    self.finish_delivery(now, *group_id, *number, silent, entropy);
                }
            }
            Action::RemoveMembers {
                group_id,
                registration_ids,
            } => {
                if first {
                    let group = self.group_name(*group_id);
                    self.audit.push_back(AuditEvent::Removed {
                        group,
                        registration_ids: registration_ids.clone(),
                    });
                    registration_ids
                        .iter()
                        .for_each(|id| _ = self.acknowledged_at.remove(id));
                }
            }
            Action::DeleteGroup { group_id } => {
                self.work.remove(group_id);
                self.desk.settle(&command.key, outcome);
            }
            Action::SetSigningKey(change) => {
                if let Some(work) = self.work.get_mut(&change.group_id) {
                    work.signing_key_asked = None;
                }
                self.desk.settle(&command.key, outcome);
            }
            Action::PutGroup(_) | Action::Admit { .. } => self.desk.settle(&command.key, outcome),
        }
    }

    /// Tells the audit trail about a rekey, and starts its delivery when this is the primary.
    fn announce(&mut self, now: Instant, rekey: &Rekey, outcome: &Outcome) {
        let Outcome::Rekeyed {
            number: Some(number),
            ..
        } = outcome
        else {
            return;
        };
        let Some(group) = self.state.group(rekey.group_id) else {
            return;
        };
        let Some(sent) = group.sent.get(*number) else {
            return;
        };
        self.audit.push_back(AuditEvent::Rekeyed {
            group: group.policy.name.clone(),
            reason: sent.reason,
            message_id: sent.message.message_id,
            members: sent.addressed,
            datagrams: sent.message.datagrams.len(),
        });
        if self.role != Role::Primary {
            return;
        }
        if group.policy.rekey.transport == RekeyTransport::Unicast {
            let excluded = rekey.rekey_sa.iter().flat_map(|sa| &sa.excluded);
            let told: Vec<Transmit> = excluded
                .flat_map(|it| self.addressed(it.remote, it.local.port(), &sent.message.datagrams))
                .collect();
            self.transmits.extend(told);
        }
        if !sent.delivered {
            let work = self.work.entry(rekey.group_id).or_default();
            work.all_acknowledged = false;
            work.delivery.begin(now, sent, group);
        }
    }

    /// A planned change came back from the log.
    fn settle_change(&mut self, group_id: u32, key: &CommandKey, outcome: &Outcome) {
        let Some(work) = self.work.get_mut(&group_id) else {
            return;
        };
        let Some(in_flight) = work.in_flight.take_if(|in_flight| in_flight.key == *key) else {
            return;
        };
        let Some(wanted) = in_flight.wanted else {
            return;
        };
        let answer = match outcome {
            // Planned against an older state: plan it again.
            Outcome::Superseded | Outcome::Refused(Refused::SpiTaken) => {
                work.wanted.push_front(wanted);
                return;
            }
            Outcome::Rekeyed { generation, number } => {
                let group = self.state.group(group_id);
                let sent = number.and_then(|number| group.and_then(|group| group.sent.get(number)));
                Ok(AdminAnswer::Rekeyed {
                    generation: *generation,
                    members: sent.map_or(0, |sent| sent.addressed),
                })
            }
            Outcome::Done | Outcome::Registered { .. } => Ok(AdminAnswer::Done),
            Outcome::Refused(refused) => Err(AdminError::Refused(*refused)),
        };
        if let Some(ticket) = wanted.ticket {
            self.desk.answer(ticket, answer);
        }
    }

    /// Delivers again whatever may not have reached everybody: this key server just became primary.
    pub(super) fn resume_deliveries(&mut self, now: Instant) {
        for (group_id, group) in self.state.groups() {
            let work = self.work.entry(*group_id).or_default();
            work.all_acknowledged = group
                .sent
                .last()
                .is_none_or(|sent| sent.delivered && sent.silent == 0);
            group
                .sent
                .undelivered()
                .for_each(|sent| work.delivery.begin(now, sent, group));
        }
    }

    /// Sends what is due of every rekey that is being delivered.
    pub(super) fn deliver(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let groups: Vec<u32> = self.work.keys().copied().collect();
        for group_id in groups {
            let Some(group) = self.state.group(group_id) else {
                continue;
            };
            let Some(work) = self.work.get_mut(&group_id) else {
                continue;
            };
            let mut delivery = std::mem::take(&mut work.delivery);
            let mut outgoing = Vec::new();
            let finished = delivery.handle_timeout(now, group, &mut |recipient, sent| {
                outgoing.extend(self.datagrams(group, &recipient, &sent.message.datagrams));
            });
            self.transmits.extend(outgoing);
            if let Some(work) = self.work.get_mut(&group_id) {
                work.delivery = delivery;
            }
            for over in finished {
                if self
                    .state
                    .group(group_id)
                    .and_then(|group| group.sent.get(over.number))
                    .is_some()
                {
                    let action = Action::Delivered {
                        group_id,
                        number: over.number,
                        silent: over.silent,
                    };
                    self.propose(now, action, entropy);
                }
            }
        }
    }

    fn datagrams(
        &self,
        group: &Group,
        recipient: &Recipient<'_>,
        datagrams: &[Vec<u8>],
    ) -> Vec<Transmit> {
        match (recipient, &group.policy.rekey.transport) {
            (Recipient::Member(member), _) => {
                self.addressed(member.remote, member.local.port(), datagrams)
            }
            (Recipient::Group, RekeyTransport::Multicast { address, port, .. }) => {
                self.addressed(SocketAddr::new(*address, *port), self.own.port, datagrams)
            }
            (Recipient::Group, RekeyTransport::Unicast) => Vec::new(),
        }
    }

    /// Datagrams from this key server's own address and `port`; none when it has no address of that family.
    fn addressed(&self, remote: SocketAddr, port: u16, datagrams: &[Vec<u8>]) -> Vec<Transmit> {
        let Some(local) = self.source_for(remote, port) else {
            return Vec::new();
        };
        let payloads = datagrams
            .iter()
            .map(|datagram| with_marker(local, remote, datagram.clone()));
        payloads
            .map(|payload| Transmit {
                local,
                remote,
                payload,
            })
            .collect()
    }

    fn finish_delivery(
        &mut self,
        now: Instant,
        group_id: u32,
        number: u64,
        silent: &[u64],
        entropy: &mut dyn Entropy,
    ) {
        let Some(group) = self.state.group(group_id) else {
            return;
        };
        if let Some(sent) = group.sent.get(number) {
            self.audit.push_back(AuditEvent::Delivered {
                group: group.policy.name.clone(),
                message_id: sent.message.message_id,
                addressed: sent.addressed,
                silent: sent.silent,
            });
            // Without acknowledgements nobody knows what arrived.
            let all_answer = group
                .members
                .iter()
                .filter(|member| sent.addresses(member))
                .all(|it| it.acknowledges);
            let unicast = group.policy.rekey.transport == RekeyTransport::Unicast;
            if let Some(work) = self.work.get_mut(&group_id) {
                work.all_acknowledged =
                    silent.is_empty() && all_answer && unicast && work.delivery.is_idle();
            }
        }
        if self.role != Role::Primary {
            return;
        }
        let threshold = u32::from(group.policy.rekey.eviction_threshold);
        let registration_ids: Vec<u64> = group
            .members
            .iter()
            .filter(|member| member.missed_rekeys >= threshold)
            .map(|member| member.registration_id)
            .collect();
        if !registration_ids.is_empty() {
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

    pub(super) fn next_delivery(&self) -> Option<Instant> {
        self.work
            .values()
            .filter_map(|work| work.delivery.poll_timeout())
            .min()
    }
}

/// Whether the group can take an administrator's change now: an eviction is finished and keys exist.
fn next_wanted_ready(group: &Group) -> bool {
    group.rekey_sa.is_some() && !group.eviction_pending
}

fn next_wanted(group: &Group, work: &mut GroupWork) -> Option<Wanted> {
    if next_wanted_ready(group) {
        work.wanted.pop_front()
    } else {
        None
    }
}
