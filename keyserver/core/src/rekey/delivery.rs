//! Delivery of committed rekeys by the primary: batches, acknowledgements, repetition.
//!
//! Nothing here is replicated. A new primary starts over with every rekey whose delivery is not known to be over, and
//! sends the same octets again; members that have them acknowledge once more. A member gets rekeys in their order:
//! Message IDs must rise, so one that overtook another would make the other unusable.
//!
//! An attempt is the datagrams, and once more the same soon after when no acknowledgement came: a single lost
//! datagram must not cost a whole acknowledgement timeout, because senders switch keys meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use keyserver_api::policy::{RekeyPolicy, RekeyTransport};

use crate::state::group::Group;
use crate::state::membership::Member;
use crate::state::rekey_sa::SentRekey;

/// Pause between two batches while the first is not acknowledged.
const BATCH_PAUSE: Duration = Duration::from_millis(50);

/// After this fraction of the acknowledgement timeout the datagrams are sent once more within an attempt.
const HURRY_FRACTION: u32 = 8;

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
    Unicast(BTreeMap<u64, Progress>),
    Multicast { copies_left: u32, due: Instant },
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    attempts: u32,
    /// Whether this attempt's second copy was sent.
    hurried: bool,
    due: Option<Instant>,
}

impl Delivery {
    /// Starts delivering a rekey.
    pub fn begin(&mut self, now: Instant, sent: &SentRekey, group: &Group) {
        if self.rekeys.iter().any(|rekey| rekey.number == sent.number) {
            return;
        }
        let mode = match group.policy.rekey.transport {
            RekeyTransport::Unicast => Mode::Unicast(
                group
                    .members
                    .iter()
                    .filter(|member| sent.addresses(member))
                    .map(|member| (member.registration_id, Progress::default()))
                    .collect(),
            ),
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
        let Some(rekey) = self.rekeys.iter_mut().find(|rekey| rekey.number == number) else {
            return false;
        };
        let news = match &mut rekey.mode {
            Mode::Unicast(waiting) => waiting.remove(&registration_id).is_some(),
            Mode::Multicast { .. } => true,
        };
        if news {
            rekey.acknowledged += 1;
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
            match group.sent.get(number).filter(|sent| !sent.delivered) {
                Some(sent) => self.send_one(now, index, sent, group, send),
                // Given up for newer ones, or another primary saw it through.
                None => self.rekeys[index].mode = Mode::Unicast(BTreeMap::new()),
            }
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

    fn send_one(
        &mut self,
        now: Instant,
        index: usize,
        sent: &SentRekey,
        group: &Group,
        send: &mut dyn FnMut(Recipient<'_>, &SentRekey),
    ) {
        let policy = &group.policy.rekey;
        let (earlier, rest) = self.rekeys.split_at_mut(index);
        let Some(rekey) = rest.first_mut() else {
            return;
        };
        match &mut rekey.mode {
            Mode::Multicast { copies_left, due } => {
                if *due <= now && *copies_left > 0 {
                    send(Recipient::Group, sent);
                    *copies_left -= 1;
                    *due = now + Duration::from_millis(u64::from(policy.retransmit_period_ms));
                }
            }
            Mode::Unicast(waiting) => {
                let silent = &mut rekey.silent;
                let sent_in_batch = &mut self.sent_in_batch;
                waiting.retain(|registration_id, progress| {
                    let Some(member) = group.members.get(*registration_id) else {
                        return false;
                    };
                    if progress.due.is_some_and(|due| due > now) {
                        return true;
                    }
                    if member.acknowledges
                        && earlier
                            .iter()
                            .any(|rekey| rekey.waits_for(*registration_id))
                    {
                        return true;
                    }
                    let hurry = member.acknowledges && progress.attempts > 0 && !progress.hurried;
                    if !hurry && progress.attempts > u32::from(policy.retransmit_attempts) {
                        if member.acknowledges {
                            silent.push(*registration_id);
                        }
                        return false;
                    }
                    if *sent_in_batch < policy.batch_size {
                        *sent_in_batch += 1;
                        progress.send(
                            now,
                            hurry,
                            member.acknowledges,
                            acknowledgement_timeout(policy),
                        );
                        send(Recipient::Member(member), sent);
                    }
                    true
                });
            }
        }
    }

    fn next_due(&self, now: Instant) -> Option<Instant> {
        let next_batch = self
            .batch_began
            .map_or(now, |began| began + BATCH_PAUSE)
            .max(now);
        let of = |rekey: &OneRekey| match &rekey.mode {
            Mode::Multicast { due, .. } => Some(*due),
            // What is overdue waits for the next batch, or for an earlier rekey.
            Mode::Unicast(waiting) => waiting
                .values()
                .map(|progress| progress.due.filter(|due| *due > now).unwrap_or(next_batch))
                .min(),
        };
        self.rekeys.iter().filter_map(of).min()
    }
}

impl Progress {
    fn send(&mut self, now: Instant, hurry: bool, acknowledges: bool, timeout: Duration) {
        let soon = timeout / HURRY_FRACTION;
        self.hurried = hurry;
        self.attempts += u32::from(!hurry);
        self.due = Some(match (hurry, acknowledges) {
            (true, _) => now + timeout.saturating_sub(soon),
            (false, true) => now + soon,
            (false, false) => now + timeout,
        });
    }
}

impl OneRekey {
    fn waits_for(&self, registration_id: u64) -> bool {
        matches!(&self.mode, Mode::Unicast(waiting) if waiting.contains_key(&registration_id))
    }
}

fn acknowledgement_timeout(policy: &RekeyPolicy) -> Duration {
    Duration::from_millis(u64::from(policy.acknowledgement_timeout_ms))
}

#[cfg(test)]
mod tests;
