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
pub const TICK_INTERVAL: Duration = Duration::from_secs(3);

/// Greatest age of a primary's last command that is believed: it speaks once in [`TICK_INTERVAL`].
const OLDEST_MS: u64 = 5_000;

/// One key server's estimate of replicated time.
///
/// The primary's clock is the one that counts. Another key server knows the time from the primary's commands, and
/// carries it on by its monotonic clock; its own wall clock, by which it bridged the time before its start, counts no
/// more once it heard the first of them.
#[derive(Clone, Copy, Debug)]
pub struct LogClock {
    anchor: LogTime,
    anchored_at: Instant,
    /// Whether the anchor comes from commands of the present primary, which is another key server.
    follows: bool,
    /// Whether nobody's role is known since the start: what is applied is what the disk holds.
    starting: bool,
    /// What commands alone say, each carried on since it was applied: perhaps late, never early.
    heard: (LogTime, Instant),
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
            follows: false,
            starting: true,
            heard: (applied, now),
        }
    }

    /// The estimate at `now`.
    pub fn read(&self, now: Instant) -> LogTime {
        carried(self.anchor, self.anchored_at, now)
    }

    /// The instant at which the estimate will be `at`; `now` when that is past.
    pub fn instant_of(&self, now: Instant, at: LogTime) -> Instant {
        now + Duration::from_millis(at.millis_since(self.read(now)))
    }

    /// Takes in the time of a command that was just applied. `follows` says that another key server is primary and
    /// proposed it; `age_ms`, how old the command is by both key servers' wall clocks.
    ///
    /// Commands that are applied again after a start are old, by as much as wall clocks say. So are those that come late
    /// after a partition; they do not pull the estimate back, which would lose the time since then. Where the first one
    /// heard of a primary is old, wall clocks say by how much; when they cannot be right, the estimate is late until the
    /// next command, at most by [`TICK_INTERVAL`].
    pub fn observe(&mut self, now: Instant, applied: LogTime, follows: bool, age_ms: Option<u64>) {
        let first = follows && !self.follows;
        self.anchor = if self.starting {
            // The last command on the disk was written nearest to now: a wall clock that was set before it counts only
            // for the time since.
            applied.plus_millis(age_ms.unwrap_or(0))
        } else if first {
            applied.plus_millis(age_ms.filter(|age| *age <= OLDEST_MS).unwrap_or(0))
        } else {
            self.read(now).max(applied)
        };
        self.anchored_at = now;
        self.follows |= follows;
        let (time, since) = self.heard;
        self.heard = (carried(time, since, now).max(applied), now);
    }

    /// Somebody else leads from now on, or nobody, or this key server: the estimate goes on from where it is until the
    /// first command of another primary.
    pub fn change_primary(&mut self) {
        self.follows = false;
        self.starting = false;
    }

    /// Whether no role is known since the start.
    pub fn is_starting(&self) -> bool {
        self.starting
    }

    /// Whether the present primary, another key server, was heard.
    pub fn follows(&self) -> bool {
        self.follows
    }

    /// The last command applied, while this process ran, is one of the present primary: that is enough to follow it.
    pub fn follow(&mut self, now: Instant) {
        let (time, since) = self.heard;
        self.anchor = carried(time, since, now);
        self.anchored_at = now;
        self.follows = true;
    }

    /// What a key server that is not primary may tell and write into a command: never more than commands say, or a wrong
    /// wall clock here would move the time of all.
    pub fn follower(&self, now: Instant) -> LogTime {
        if self.follows {
            self.read(now)
        } else {
            let (time, since) = self.heard;
            carried(time, since, now)
        }
    }
}

/// `time` at `since`, carried on to `now`.
fn carried(time: LogTime, since: Instant, now: Instant) -> LogTime {
    let elapsed = now.saturating_duration_since(since).as_millis();
    time.plus_millis(u64::try_from(elapsed).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_follows_the_monotonic_clock_and_never_goes_back_below_what_was_applied() {
        let start = Instant::now();
        let mut clock = LogClock::new(start, 5_000, LogTime::ZERO, 0);
        clock.change_primary();
        assert_eq!(
            clock.read(start + Duration::from_millis(70)),
            LogTime(5_070)
        );
        clock.observe(
            start + Duration::from_millis(70),
            LogTime(9_000),
            false,
            None,
        );
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
    fn a_wall_clock_an_hour_ahead_counts_no_more_once_the_primary_spoke() {
        let start = Instant::now();
        let mut clock = LogClock::new(start, 3_700_000, LogTime(100_000), 100_000);
        clock.change_primary();
        assert_eq!(clock.read(start), LogTime(3_700_000));
        assert_eq!(clock.follower(start), LogTime(100_000));
        clock.observe(start, LogTime(101_000), true, None);
        let later = start + Duration::from_secs(7);
        assert_eq!(clock.read(later), LogTime(108_000));
        assert_eq!(clock.follower(later), LogTime(108_000));
        // The next primary's time is behind what this key server carried on.
        clock.change_primary();
        assert_eq!(
            clock.follower(later),
            LogTime(108_000),
            "nothing heard of it yet"
        );
        clock.observe(later, LogTime(107_500), true, None);
        assert_eq!(clock.read(later), LogTime(107_500));
    }

    #[test]
    fn the_first_command_heard_of_a_primary_is_as_old_as_the_wall_clocks_say_unless_they_cannot_be_right()
     {
        let start = Instant::now();
        let heard = |age| {
            let mut clock = LogClock::new(start, 0, LogTime(1_000), 0);
            clock.change_primary();
            clock.observe(start, LogTime(50_000), true, age);
            clock.read(start)
        };
        assert_eq!(heard(Some(4_000)), LogTime(54_000));
        assert_eq!(heard(Some(3_600_000)), LogTime(50_000));
        assert_eq!(heard(None), LogTime(50_000));
    }

    #[test]
    fn old_commands_that_are_applied_late_do_not_pull_the_estimate_back() {
        let start = Instant::now();
        let minute = Duration::from_secs(60);
        // Nobody ran for a minute; then what is on the disk is applied again. The wall clock was set an hour ahead
        // before the last command was written.
        let mut clock = LogClock::new(start, 3_760_000, LogTime(90_000), 90_000);
        for (old, age) in [(91_000, 3_669_000), (100_000, 60_000)] {
            clock.observe(start, LogTime(old), false, Some(age));
        }
        assert_eq!(clock.read(start), LogTime(160_000));
        clock.change_primary();
        // Cut off from its primary for a minute, a key server hears everything at once.
        clock.observe(start, LogTime(160_000), true, None);
        for late in [161_000, 200_000, 215_000] {
            clock.observe(start + minute, LogTime(late), true, None);
        }
        assert_eq!(clock.read(start + minute), LogTime(220_000));
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
