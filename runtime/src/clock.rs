//! The only reader of clocks.
//!
//! Deadlines run on the boot-time clock, which no administrator can step and which goes on while
//! the machine sleeps. The wall clock is read for certificate validity and for showing times.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// A monotonic instant for timers.
pub fn now() -> Instant {
    Instant::now()
}

/// Time since the machine booted, including time spent suspended (`CLOCK_BOOTTIME`).
///
/// Falls back to zero only when the kernel does not know the clock, which Linux has had since
/// 2.6.39.
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let nanoseconds = u32::try_from(time.tv_nsec()).unwrap_or(0);
        Duration::new(seconds, nanoseconds)
    })
}

/// Wall-clock time since 1970-01-01 UTC; zero when the clock stands before that.
pub fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_advances_with_the_monotonic_clock() {
        let (boot, instant) = (since_boot(), now());
        while now() == instant {}
        assert!(since_boot() > boot);
        assert!(boot > Duration::ZERO);
    }
}
