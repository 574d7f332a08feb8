//! The member's estimate of the group's pseudotime: a counter of milliseconds that the key server
//! keeps and states in every message.
//!
//! A registration sets the estimate; a rekey by itself only moves it forward, since a message on its way says
//! less than the time that has passed. The difference is the message's age, from which the relative
//! times in it are counted: a repeated rekey that arrives late still takes effect at the same
//! instant everywhere.

use std::time::{Duration, Instant};

use crate::data_plane::Pseudotime;

/// No message is taken to be older than this.
const OLDEST: Duration = Duration::from_secs(600);

/// Messages take this long at times; what two in a row exceed it by is not their way but our estimate.
const ON_THE_WAY: Duration = Duration::from_millis(250);

/// The estimate, if there is one.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Estimate {
    known: Option<Pseudotime>,
    /// Age of the last rekey.
    last_age: Duration,
}

/// What a rekey says about time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advance {
    /// How old the message is; zero when that cannot be known.
    pub(super) age: Duration,
    /// By how much our estimate was early until now, and with it every instant that was counted from it.
    pub(super) early: Duration,
}

impl Estimate {
    /// What the packet path needs.
    pub(super) fn get(&self) -> Option<Pseudotime> {
        self.known
    }

    /// Takes over the pseudotime of a registration.
    pub(super) fn set(&mut self, now: Instant, milliseconds: u64) {
        self.known = Some(Pseudotime {
            at: now,
            milliseconds,
        });
        self.last_age = Duration::ZERO;
    }

    /// Takes in the pseudotime of a rekey.
    ///
    /// A message may be late, so one that says less than our estimate does not move it back. When two different
    /// messages in a row do, it is our estimate that is early, by as much as both of them say: a key server that took
    /// over may count a little less than the one that told us.
    pub(super) fn advance(&mut self, now: Instant, milliseconds: u64) -> Advance {
        let ours = self.known.map(|estimate| estimate.milliseconds_at(now));
        let Some(behind) = ours.and_then(|ours| ours.checked_sub(milliseconds)) else {
            self.set(now, milliseconds);
            return Advance::default();
        };
        let age = Duration::from_millis(behind).min(OLDEST);
        let early = age.min(self.last_age);
        if early < ON_THE_WAY {
            self.last_age = age;
            return Advance {
                age,
                early: Duration::ZERO,
            };
        }
        let age = age.saturating_sub(early);
        let late = u64::try_from(age.as_millis()).unwrap_or(0);
        self.set(now, milliseconds.saturating_add(late));
        self.last_age = age;
        Advance { age, early }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rekeys_move_the_estimate_forward_only_and_tell_their_age() {
        let start = Instant::now();
        let mut estimate = Estimate::default();
        assert_eq!(estimate.advance(start, 5_000).age, Duration::ZERO);
        let later = start + Duration::from_secs(10);
        // Our estimate is 15 000 by now.
        assert_eq!(estimate.advance(later, 12_000).age, Duration::from_secs(3));
        let of = |estimate: &Estimate| estimate.get().map(|value| value.milliseconds_at(later));
        assert_eq!(of(&estimate), Some(15_000));
        assert_eq!(estimate.advance(later, 15_500).age, Duration::ZERO);
        assert_eq!(of(&estimate), Some(15_500));
        estimate.set(later, 100);
        assert_eq!(of(&estimate), Some(100));
    }

    #[test]
    fn two_messages_in_a_row_that_seem_old_say_that_the_estimate_is_early() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut estimate = Estimate::default();
        estimate.set(start, 8_000);
        // The group is at 5 000 then; its rekeys come at once, the first one a second late.
        assert_eq!(estimate.advance(at(11), 15_000).age, Duration::from_secs(4));
        assert_eq!(
            estimate.advance(at(20), 25_000),
            Advance {
                age: Duration::ZERO,
                early: Duration::from_secs(3),
            }
        );
        let of = |estimate: &Estimate| estimate.get().map(|value| value.milliseconds_at(at(20)));
        assert_eq!(of(&estimate), Some(25_000));
        // One that is late alone changes nothing.
        assert_eq!(estimate.advance(at(35), 35_000).age, Duration::from_secs(5));
        assert_eq!(estimate.advance(at(40), 45_000).age, Duration::ZERO);
        assert_eq!(of(&estimate), Some(25_000));
    }
}
