//! Replicated time: milliseconds stamped into commands by their proposers, never backwards.
//!
//! [`LogTime`] is the only time that replicated state knows. [`LogClock`] is one key server's estimate of it: it goes
//! on from the last applied command by the monotonic clock, so a step of the wall clock changes nothing while the
//! process runs. The wall clock is used once, at start, to bridge the time nobody ran.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A moment of replicated time. It starts near UNIX time but promises only to never go back.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct LogTime(u64);

impl LogTime {
    /// Before everything.
    pub const ZERO: Self = Self(0);

    /// From milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// As milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// `milliseconds` later.
    #[must_use]
    pub const fn plus_millis(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// `milliseconds` earlier, but not before zero.
    #[must_use]
    pub const fn minus_millis(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_sub(milliseconds))
    }

    /// Milliseconds from `earlier` to here; zero when `earlier` is later.
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Longest silence of a primary: it proposes a [`Tick`](crate::command::Action::Tick) at least this often.
pub const TICK_INTERVAL: Duration = Duration::from_secs(10);

/// What an estimate may run ahead of the last applied command when somebody else is primary.
const MAXIMUM_LEAD_MS: u64 = 15_000;

/// One key server's estimate of replicated time.
#[derive(Clone, Copy, Debug)]
pub struct LogClock {
    anchor: LogTime,
    anchored_at: Instant,
}

impl LogClock {
    /// Starts from the last applied command (`applied`, proposed at UNIX time `applied_unix_ms`), bridging the time
    /// since then by the wall clock.
    pub fn new(now: Instant, unix_ms: u64, applied: LogTime, applied_unix_ms: u64) -> Self {
        let anchor = if applied == LogTime::ZERO {
            LogTime(unix_ms)
        } else {
            applied.plus_millis(unix_ms.saturating_sub(applied_unix_ms))
        };
        Self {
            anchor,
            anchored_at: now,
        }
    }

    /// The estimate at `now`.
    pub fn read(&self, now: Instant) -> LogTime {
        let elapsed = now.saturating_duration_since(self.anchored_at);
        self.anchor
            .plus_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    /// The instant at which the estimate will be `at`; `now` when that is past.
    pub fn instant_of(&self, now: Instant, at: LogTime) -> Instant {
        now + Duration::from_millis(at.millis_since(self.read(now)))
    }

    /// Takes in the time of a command that was just applied. `primary` says that this key server is the primary and
    /// so the one whose clock counts.
    pub fn observe(&mut self, now: Instant, applied: LogTime, primary: bool) {
        let mut estimate = self.read(now).max(applied);
        if !primary {
            estimate = estimate.min(applied.plus_millis(MAXIMUM_LEAD_MS));
        }
        self.anchor = estimate;
        self.anchored_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_follows_the_monotonic_clock_and_never_goes_back_below_what_was_applied() {
        let start = Instant::now();
        let mut clock = LogClock::new(start, 5_000, LogTime::ZERO, 0);
        assert_eq!(
            clock.read(start + Duration::from_millis(70)),
            LogTime(5_070)
        );
        clock.observe(start + Duration::from_millis(70), LogTime(9_000), true);
        assert_eq!(
            clock.read(start + Duration::from_millis(70)),
            LogTime(9_000)
        );
        assert_eq!(
            clock.instant_of(start, LogTime(9_100)),
            start + Duration::from_millis(100)
        );
    }

    #[test]
    fn a_restart_with_a_clock_an_hour_ahead_is_pulled_back_by_the_next_command_of_the_primary() {
        let start = Instant::now();
        let mut clock = LogClock::new(start, 3_700_000, LogTime(100_000), 100_000);
        assert_eq!(clock.read(start), LogTime(3_700_000));
        clock.observe(start, LogTime(101_000), false);
        assert_eq!(clock.read(start), LogTime(116_000));
    }

    #[test]
    fn the_time_nobody_ran_is_bridged_by_the_wall_clock() {
        let start = Instant::now();
        let clock = LogClock::new(start, 90_000, LogTime(50_000), 60_000);
        assert_eq!(clock.read(start), LogTime(80_000));
        let stepped_back = LogClock::new(start, 10_000, LogTime(50_000), 60_000);
        assert_eq!(stepped_back.read(start), LogTime(50_000));
    }
}
