//! The member's estimate of the group's pseudotime: a counter of milliseconds that the key server
//! keeps and states in every message.
//!
//! A registration sets the estimate; a rekey only moves it forward, since a message on its way says
//! less than the time that has passed. The difference is the message's age, from which the relative
//! times in it are counted: a repeated rekey that arrives late still takes effect at the same
//! instant everywhere.

use std::time::{Duration, Instant};

use crate::data_plane::Pseudotime;

/// No message is taken to be older than this.
const OLDEST: Duration = Duration::from_secs(600);

/// The estimate, if there is one.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Estimate(Option<Pseudotime>);

impl Estimate {
    /// What the packet path needs.
    pub(super) fn get(&self) -> Option<Pseudotime> {
        self.0
    }

    /// Takes over the pseudotime of a registration.
    pub(super) fn set(&mut self, now: Instant, milliseconds: u64) {
        self.0 = Some(Pseudotime {
            at: now,
            milliseconds,
        });
    }

    /// Takes in the pseudotime of a rekey and returns the age of the message, zero when it cannot
    /// be known.
    pub(super) fn advance(&mut self, now: Instant, milliseconds: u64) -> Duration {
        let ours = self.0.map(|estimate| estimate.milliseconds_at(now));
        match ours.and_then(|ours| ours.checked_sub(milliseconds)) {
            Some(behind) => Duration::from_millis(behind).min(OLDEST),
            None => {
                self.set(now, milliseconds);
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rekeys_move_the_estimate_forward_only_and_tell_their_age() {
        let start = Instant::now();
        let mut estimate = Estimate::default();
        assert_eq!(estimate.advance(start, 5_000), Duration::ZERO);
        let later = start + Duration::from_secs(10);
        // Our estimate is 15 000 by now.
        assert_eq!(estimate.advance(later, 12_000), Duration::from_secs(3));
        let of = |estimate: &Estimate| estimate.get().map(|value| value.milliseconds_at(later));
        assert_eq!(of(&estimate), Some(15_000));
        assert_eq!(estimate.advance(later, 15_500), Duration::ZERO);
        assert_eq!(of(&estimate), Some(15_500));
        estimate.set(later, 100);
        assert_eq!(of(&estimate), Some(100));
    }
}
