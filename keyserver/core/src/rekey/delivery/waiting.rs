//! Members that a unicast rekey still has to reach, in the order in which they are due.
//!
//! Finding who is due costs the logarithm of the group and not its size: an acknowledgement makes room for one more
//! datagram, and a large group sends thousands of them a second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// After this fraction of the acknowledgement timeout the datagrams are sent once more within an attempt.
const HURRY_FRACTION: u32 = 8;

/// While so few are left, those who left the group are looked for at every step, so that a rekey ends with its last
/// acknowledgement. Among more, one who left is noticed when its next copy is due.
const FEW: usize = 64;

/// How far the delivery to one member is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    attempts: u32,
    /// Whether this attempt's second copy was sent.
    hurried: bool,
    due: Option<Instant>,
}

/// Members without acknowledgement.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    progress: BTreeMap<u64, Progress>,
    /// When each is due: those to whom nothing was sent come first. Who waits for an earlier rekey is not in it.
    queue: BTreeSet<(Option<Instant>, u64)>,
}

/// What is due for a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The datagrams, as the first copy of an attempt or, with `hurry`, as its second.
    Copy {
        /// Whether it is the second one.
        hurry: bool,
    },
    /// Nothing more: every attempt was used.
    GiveUp,
}

impl Waiting {
    /// Adds a member. One that is `held` gets nothing before [`Self::release`].
    pub(super) fn add(&mut self, registration_id: u64, held: bool) {
        self.progress.insert(registration_id, Progress::default());
        if !held {
            self.queue.insert((None, registration_id));
        }
    }

    /// Lets a held member have its datagrams.
    pub(super) fn release(&mut self, registration_id: u64) {
        if let Some(progress) = self.progress.get(&registration_id) {
            self.queue.insert((progress.due, registration_id));
        }
    }

    /// Takes a member out. Answers whether it was here.
    pub(super) fn remove(&mut self, registration_id: u64) -> bool {
        match self.progress.remove(&registration_id) {
            Some(progress) => {
                self.queue.remove(&(progress.due, registration_id));
                true
            }
            None => false,
        }
    }

    /// Takes everybody out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = u64> + use<> {
        self.queue.clear();
        std::mem::take(&mut self.progress).into_keys()
    }

    /// Whether a member is here, held or not.
    pub(super) fn contains(&self, registration_id: u64) -> bool {
        self.progress.contains_key(&registration_id)
    }

    /// Whether nobody is.
    pub(super) fn is_empty(&self) -> bool {
        self.progress.is_empty()
    }

    /// The members, when they are few.
    pub(super) fn few(&self) -> impl Iterator<Item = u64> + '_ {
        let looked_at = self.progress.len() <= FEW;
        self.progress.keys().copied().filter(move |_| looked_at)
    }

    /// The member that is due first, if one is at `now`.
    pub(super) fn due(&self, now: Instant) -> Option<u64> {
        let (due, registration_id) = self.queue.first()?;
        due.is_none_or(|due| due <= now).then_some(*registration_id)
    }

    /// When the first is due; `overdue` for one that already is.
    pub(super) fn next_due(&self, now: Instant, overdue: Instant) -> Option<Instant> {
        let (due, _) = self.queue.first()?;
        Some(due.filter(|due| *due > now).unwrap_or(overdue))
    }

    /// What is due for a member that [`Self::due`] gave. `attempts` is how often it may be tried.
    pub(super) fn step(&self, registration_id: u64, acknowledges: bool, attempts: u32) -> Step {
        let progress = self.progress.get(&registration_id);
        let progress = progress.copied().unwrap_or_default();
        let hurry = acknowledges && progress.attempts > 0 && !progress.hurried;
        if !hurry && progress.attempts >= attempts {
            Step::GiveUp
        } else {
            Step::Copy { hurry }
        }
    }

    /// A copy was sent: the next is due after the rest of `timeout`.
    pub(super) fn sent(
        &mut self,
        now: Instant,
        registration_id: u64,
        hurry: bool,
        acknowledges: bool,
        timeout: Duration,
    ) {
        if let Some(progress) = self.progress.get_mut(&registration_id) {
            self.queue.remove(&(progress.due, registration_id));
            progress.send(now, hurry, acknowledges, timeout);
            self.queue.insert((progress.due, registration_id));
        }
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
