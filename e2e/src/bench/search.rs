//! The search for the highest rate without loss: which rate to try next. It decides and sends nothing.

/// Share of the datagrams that may be lost.
const LOSS: f64 = 0.005;
/// A sender that is slower than this share of the rate it should have has not tried the rate.
const PACE: f64 = 0.9;
/// Bounds closer than this are one.
const CLOSE: f64 = 1.04;
/// Lowest first rate, in datagrams a second.
const LEAST: f64 = 1000.0;

/// What came of sending for a while. Rates are in datagrams a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trial {
    /// Sent.
    pub sent: f64,
    /// Received.
    pub received: f64,
}

impl Trial {
    /// Share that was lost: 0 to 1.
    pub(super) fn loss(self) -> f64 {
        if self.sent <= 0.0 {
            return 1.0;
        }
        (1.0 - self.received / self.sent).max(0.0)
    }
}

/// A search that began with a flood.
#[derive(Debug, Clone)]
pub(super) struct Search {
    sustained: f64,
    failed: f64,
    next: Option<f64>,
    left: u32,
}

impl Search {
    /// Begins with what a flood carried; at most `trials` follow.
    pub(super) fn after(flood: Trial, trials: u32) -> Self {
        Self {
            sustained: 0.0,
            failed: flood.sent,
            next: (trials > 0).then(|| flood.received.max(LEAST)),
            left: trials,
        }
    }

    /// The rate to try now; none when the search is over.
    pub(super) fn next(&self) -> Option<f64> {
        self.next
    }

    /// Takes what came of the rate of [`Search::next`].
    pub(super) fn learn(&mut self, trial: Trial) {
        let Some(rate) = self.next else {
            return;
        };
        if trial.loss() <= LOSS && trial.sent > rate * PACE {
            self.sustained = self.sustained.max(trial.sent);
        } else {
            self.failed = self.failed.min(rate);
        }
        self.left = self.left.saturating_sub(1);
        self.next = if self.left == 0 || self.failed <= self.sustained * CLOSE {
            None
        } else if self.sustained == 0.0 {
            Some(self.failed * 0.6)
        } else {
            Some((self.sustained * 1.6).min(f64::midpoint(self.sustained, self.failed)))
        };
    }

    /// The highest rate that was carried; zero when none was.
    pub(super) fn found(&self) -> f64 {
        self.sustained
    }
}

#[cfg(test)]
mod self_tests {
    use super::*;

    /// A path that carries `capacity`, and in a flood only what is left of it.
    fn find(capacity: f64, flood: Trial, trials: u32) -> (f64, u32) {
        let mut search = Search::after(flood, trials);
        let mut tried = 0;
        while let Some(rate) = search.next() {
            tried += 1;
            search.learn(Trial {
                sent: rate,
                received: rate.min(capacity),
            });
        }
        (search.found(), tried)
    }

    #[test]
    fn the_rate_is_found_from_above_and_from_below() {
        for (capacity, carried) in [
            (100_000.0, 250_000.0),
            (100_000.0, 40_000.0),
            (9_000.0, 8_000.0),
        ] {
            let flood = Trial {
                sent: 400_000.0,
                received: carried,
            };
            let (found, tried) = find(capacity, flood, 12);
            assert!(found <= capacity * (1.0 + LOSS) + 1.0, "{found}");
            assert!(found > capacity * 0.9, "{found} of {capacity}");
            assert!(tried <= 12);
        }
    }

    #[test]
    fn a_sender_that_cannot_keep_the_pace_proves_nothing() {
        let flood = Trial {
            sent: 100_000.0,
            received: 100_000.0,
        };
        let mut search = Search::after(flood, 3);
        let slow = Trial {
            sent: 50_000.0,
            received: 50_000.0,
        };
        search.learn(slow);
        assert_eq!(search.found(), 0.0);
        assert_eq!(search.next(), Some(60_000.0));
    }

    #[test]
    fn the_number_of_trials_is_bounded_and_a_dead_path_carries_nothing() {
        let dead = Trial {
            sent: 300_000.0,
            received: 0.0,
        };
        assert_eq!(find(0.0, dead, 7), (0.0, 7));
        assert_eq!(find(1e6, dead, 0), (0.0, 0));
        assert_eq!(
            Trial {
                sent: 0.0,
                received: 0.0
            }
            .loss(),
            1.0
        );
    }
}
