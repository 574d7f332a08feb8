//! Delivery of committed rekeys by the primary: batches, acknowledgements, repetition.
//!
//! Nothing here is replicated. A new primary starts over with every rekey whose delivery is not known to be over, and
//! sends the same octets again; members that have them acknowledge once more. A member gets rekeys in their order:
//! Message IDs must rise, so one that overtook another would make the other unusable.
//!
//! An attempt is the datagrams, and once more the same soon after when no acknowledgement came: a single lost
//! datagram must not cost a whole acknowledgement timeout, because senders switch keys meanwhile.

mod waiting;

use std::time::{Duration, Instant};

use keyserver_api::policy::{RekeyPolicy, RekeyTransport};

use crate::state::group::Group;
use crate::state::membership::Member;
use crate::state::rekey_sa::SentRekey;
use waiting::{Step, Waiting};

/// Pause between two batches while the first is not acknowledged.
const BATCH_PAUSE: Duration = Duration::from_millis(50);

/// To whom a rekey goes now.
pub enum Recipient<'a> {
    /// One member.
    Member(&'a Member),
    /// The group address.
    Group,
}

/// Delivery of one group's rekeys.
#[derive(Debug, Default)]
pub struct Delivery {
    rekeys: Vec<OneRekey>,
    batch_began: Option<Instant>,
    sent_in_batch: u32,
    due: Option<Instant>,
}

/// A rekey whose delivery is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its number.
    pub number: u64,
    /// Members that can acknowledge and did not.
    pub silent: Vec<u64>,
}

#[derive(Debug)]
struct OneRekey {
    number: u64,
    mode: Mode,
    acknowledged: u32,
    silent: Vec<u64>,
}

#[derive(Debug)]
enum Mode {
    Unicast(Waiting),
    Multicast { copies_left: u32, due: Instant },
}

impl Delivery {
    /// Starts delivering a rekey.
    pub fn begin(&mut self, now: Instant, sent: &SentRekey, group: &Group) {
        if self.rekeys.iter().any(|rekey| rekey.number == sent.number) {
            return;
        }
        let mode = match group.policy.rekey.transport {
            RekeyTransport::Unicast => {
                let mut waiting = Waiting::default();
                for member in group.members.iter().filter(|it| sent.addresses(it)) {
                    let id = member.registration_id;
                    let held = member.acknowledges && self.rekeys.iter().any(|it| it.waits_for(id));
                    waiting.add(id, held);
                }
                Mode::Unicast(waiting)
            }
            RekeyTransport::Multicast { .. } => Mode::Multicast {
                copies_left: 1 + u32::from(group.policy.rekey.retransmit_attempts),
                due: now,
            },
        };
        self.rekeys.push(OneRekey {
            number: sent.number,
            mode,
            acknowledged: 0,
            silent: Vec::new(),
        });
        self.due = Some(now);
    }

    /// Forgets everything: this key server is not primary any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether nothing is being delivered.
    pub fn is_idle(&self) -> bool {
        self.rekeys.is_empty()
    }

    /// Members that acknowledged a rekey that is being delivered.
    pub fn acknowledged(&self, number: u64) -> Option<u32> {
        self.rekeys
            .iter()
            .find(|rekey| rekey.number == number)
            .map(|rekey| rekey.acknowledged)
    }

    /// A member acknowledged. Answers whether that is news.
    pub fn handle_acknowledgement(
        &mut self,
        now: Instant,
        number: u64,
        registration_id: u64,
    ) -> bool {
        let Some(index) = self.rekeys.iter().position(|rekey| rekey.number == number) else {
            return false;
        };
        let rekey = &mut self.rekeys[index];
        let news = match &mut rekey.mode {
            Mode::Unicast(waiting) => waiting.remove(registration_id),
            Mode::Multicast { .. } => true,
        };
        if news {
            rekey.acknowledged += 1;
            self.release(index, registration_id);
            self.sent_in_batch = self.sent_in_batch.saturating_sub(1);
            self.due = Some(now);
        }
        news
    }

    /// Sends what is due through `send` and answers what is over.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        group: &Group,
        send: &mut dyn FnMut(Recipient<'_>, &SentRekey),
    ) -> Vec<Finished> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        if self
            .batch_began
            .is_none_or(|began| now.saturating_duration_since(began) >= BATCH_PAUSE)
        {
            self.batch_began = Some(now);
            self.sent_in_batch = 0;
        }
        for index in 0..self.rekeys.len() {
            let number = self.rekeys[index].number;
            let gone = match group.sent.get(number).filter(|sent| !sent.delivered) {
                Some(sent) => self.send_one(now, index, sent, group, send),
                // Given up for newer ones, or another primary saw it through.
                None => self.rekeys[index].abandon(),
            };
            gone.into_iter().for_each(|id| self.release(index, id));
        }
        let mut finished = Vec::new();
        self.rekeys.retain_mut(|rekey| {
            let over = match &rekey.mode {
                Mode::Unicast(waiting) => waiting.is_empty(),
                Mode::Multicast { copies_left, .. } => *copies_left == 0,
            };
            if over {
                finished.push(Finished {
                    number: rekey.number,
                    silent: std::mem::take(&mut rekey.silent),
                });
            }
            !over
        });
        self.due = self.next_due(now);
        finished
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Sends what is due of one rekey; members it waits for no longer.
    fn send_one(
        &mut self,
        now: Instant,
        index: usize,
        sent: &SentRekey,
        group: &Group,
        send: &mut dyn FnMut(Recipient<'_>, &SentRekey),
    ) -> Vec<u64> {
        let policy = &group.policy.rekey;
        let rekey = &mut self.rekeys[index];
        let mut gone = Vec::new();
        let waiting = match &mut rekey.mode {
            Mode::Multicast { copies_left, due } => {
                if *due <= now && *copies_left > 0 {
                    send(Recipient::Group, sent);
                    *copies_left -= 1;
                    *due = now + Duration::from_millis(u64::from(policy.retransmit_period_ms));
                }
                return gone;
            }
            Mode::Unicast(waiting) => waiting,
        };
        gone.extend(waiting.few().filter(|id| group.members.get(*id).is_none()));
        gone.iter().for_each(|id| _ = waiting.remove(*id));
        let attempts = u32::from(policy.retransmit_attempts) + 1;
        while let Some(id) = waiting.due(now) {
            let Some(member) = group.members.get(id) else {
                waiting.remove(id);
                gone.push(id);
                continue;
            };
            match waiting.step(id, member.acknowledges, attempts) {
                Step::GiveUp => {
                    if member.acknowledges {
                        rekey.silent.push(id);
                    }
                    waiting.remove(id);
                    gone.push(id);
                }
                Step::Copy { .. } if self.sent_in_batch >= policy.batch_size => break,
                Step::Copy { hurry } => {
                    self.sent_in_batch += 1;
                    let timeout = acknowledgement_timeout(policy);
                    waiting.sent(now, id, hurry, member.acknowledges, timeout);
                    send(Recipient::Member(member), sent);
                }
            }
        }
        gone
    }

    /// The rekey at `index` waits for a member no longer: the next one that does may be sent to it, if no other
    /// earlier one waits.
    fn release(&mut self, index: usize, registration_id: u64) {
        let mut waits = self
            .rekeys
            .iter_mut()
            .enumerate()
            .filter(|(_, rekey)| rekey.waits_for(registration_id));
        if let Some((next, rekey)) = waits.next()
            && next > index
            && let Mode::Unicast(waiting) = &mut rekey.mode
        {
            waiting.release(registration_id);
        }
    }

    fn next_due(&self, now: Instant) -> Option<Instant> {
        // What is overdue waits for the next batch.
        let next_batch = self
            .batch_began
            .map_or(now, |began| began + BATCH_PAUSE)
            .max(now);
        let of = |rekey: &OneRekey| match &rekey.mode {
            Mode::Multicast { due, .. } => Some(*due),
            Mode::Unicast(waiting) => waiting.next_due(now, next_batch),
        };
        self.rekeys.iter().filter_map(of).min()
    }
}

impl OneRekey {
    fn waits_for(&self, registration_id: u64) -> bool {
        matches!(&self.mode, Mode::Unicast(waiting) if waiting.contains(registration_id))
    }

    /// Waits for nobody any more; those it waited for.
    fn abandon(&mut self) -> Vec<u64> {
        match std::mem::replace(&mut self.mode, Mode::Unicast(Waiting::default())) {
            Mode::Unicast(mut waiting) => waiting.drain().collect(),
            Mode::Multicast { .. } => Vec::new(),
        }
    }
}

fn acknowledgement_timeout(policy: &RekeyPolicy) -> Duration {
    Duration::from_millis(u64::from(policy.acknowledgement_timeout_ms))
}

#[cfg(test)]
mod tests;
