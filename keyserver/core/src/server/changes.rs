//! Changes of keys on the primary: one at a time in each group, from wish or schedule to the log and back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use gikev2::Entropy;
use keyserver_api::policy::SignatureAlgorithm;

use super::admin::{AdminAnswer, AdminError, AdminTicket};
use super::{KeyServer, Role};
use crate::audit::AuditEvent;
use crate::command::{Action, Command, CommandKey};
use crate::outcome::{Outcome, Refused};
use crate::rekey::delivery::Delivery;
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
    pub(super) all_acknowledged: bool,
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
