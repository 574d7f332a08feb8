//! Retransmission by the side that sent a request (RFC 7296 §2.1, §2.4).
//!
//! Repeats are byte-identical. The waiting time grows by half with each try up to a maximum and is spread by a
//! random quarter, so that members that lost the same key server do not come back in step.

use std::time::{Duration, Instant};

use crate::Entropy;

/// How often and how patiently a request is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetransmissionPolicy {
    /// Wait before the first repetition.
    pub initial: Duration,
    /// Longest wait between two repetitions.
    pub maximum: Duration,
    /// Repetitions before the exchange is given up.
    pub repetitions: u32,
}

impl Default for RetransmissionPolicy {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            maximum: Duration::from_secs(8),
            repetitions: 7,
        }
    }
}

impl RetransmissionPolicy {
    /// The wait before repetition number `repetition` (from zero), spread by up to a quarter either way.
    fn wait(&self, repetition: u32, entropy: &mut dyn Entropy) -> Duration {
        let mut wait = self.initial;
        for _ in 0..repetition {
            wait = wait.saturating_add(wait / 2);
            if wait >= self.maximum {
                break;
            }
        }
        let wait = wait.min(self.maximum);
        let mut random = [0u8; 2];
        entropy.fill(&mut random);
        let spread = u32::from(u16::from_be_bytes(random));
        // Between 3/4 and 5/4 of the wait: 49152/65536 + up to 32767/65536.
        wait.saturating_mul(49_152 + spread / 2) / 65_536
    }
}

/// A request that waits for its answer.
pub(crate) struct Outstanding {
    datagrams: Vec<Vec<u8>>,
    repetition: u32,
    deadline: Instant,
}

/// What to do when the waiting time of an outstanding request is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// The wait is not over yet.
    NotYet,
    /// Send the same datagrams again.
    Repeat,
    /// Every repetition was used.
    GiveUp,
}

impl Outstanding {
    /// Starts waiting for the answer to `datagrams`, which are being sent now.
    pub(crate) fn new(
        datagrams: Vec<Vec<u8>>,
        policy: &RetransmissionPolicy,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Self {
        Self {
            datagrams,
            repetition: 0,
            deadline: now + policy.wait(0, entropy),
        }
    }

    /// The datagrams of the request, without the non-ESP marker.
    pub(crate) fn datagrams(&self) -> &[Vec<u8>] {
        &self.datagrams
    }

    /// When [`Self::handle_timeout`] has something to say.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Says what is due at `now` and starts the next wait.
    pub(crate) fn handle_timeout(
        &mut self,
        policy: &RetransmissionPolicy,
        now: Instant,
        entropy: &mut dyn Entropy,
    ) -> Due {
        if now < self.deadline {
            return Due::NotYet;
        }
        if self.repetition >= policy.repetitions {
            return Due::GiveUp;
        }
        self.repetition += 1;
        self.deadline = now + policy.wait(self.repetition, entropy);
        Due::Repeat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&mut self, out: &mut [u8]) {
            out.fill(self.0);
        }
    }

    #[test]
    fn waits_grow_stay_within_a_quarter_and_stop_at_the_maximum() {
        let policy = RetransmissionPolicy::default();
        assert_eq!(policy.wait(0, &mut Fixed(0)), Duration::from_millis(375));
        assert!(policy.wait(0, &mut Fixed(0xff)) <= Duration::from_millis(625));
        assert!(policy.wait(2, &mut Fixed(0)) > policy.wait(1, &mut Fixed(0)));
        assert!(policy.wait(1000, &mut Fixed(0xff)) <= Duration::from_secs(10));
    }

    #[test]
    fn a_request_is_repeated_the_given_number_of_times_and_then_given_up() {
        let policy = RetransmissionPolicy {
            repetitions: 3,
            ..RetransmissionPolicy::default()
        };
        let mut entropy = Fixed(1);
        let mut outstanding =
            Outstanding::new(vec![vec![1]], &policy, Instant::now(), &mut entropy);
        let before = outstanding.deadline() - Duration::from_millis(1);
        assert_eq!(
            outstanding.handle_timeout(&policy, before, &mut entropy),
            Due::NotYet
        );
        for _ in 0..3 {
            let now = outstanding.deadline();
            assert_eq!(
                outstanding.handle_timeout(&policy, now, &mut entropy),
                Due::Repeat
            );
        }
        let now = outstanding.deadline();
        assert_eq!(
            outstanding.handle_timeout(&policy, now, &mut entropy),
            Due::GiveUp
        );
    }
}
