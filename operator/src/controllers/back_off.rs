//! How long to wait after a failure: twice as long each time, and never all at the same moment.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// After the first failure.
const SHORTEST: Duration = Duration::from_secs(1);
/// At most.
const LONGEST: Duration = Duration::from_secs(120);

/// Failures in a row of each object.
#[derive(Debug, Default)]
pub(super) struct BackOff {
    failures: Mutex<HashMap<u64, u32>>,
}

impl BackOff {
    /// Counts a failure; how long to wait.
    pub(super) fn failed(&self, object: &u64) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(*object).or_default();
        *count = count.saturating_add(1);
        pause(*count, u8::from_le_bytes(runtime::entropy::bytes()))
    }

    /// Forgets the failures.
    pub(super) fn succeeded(&self, object: &u64) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(object);
    }
}

/// `period`, spread by up to a tenth either way.
pub(super) fn about(period: Duration) -> Duration {
    let random = u32::from(u8::from_le_bytes(runtime::entropy::bytes()));
    period * 9 / 10 + period * random / 1275
}

/// The pause after so many failures in a row: between half of its full length and all of it.
fn pause(failures: u32, random: u8) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let full = SHORTEST.saturating_mul(1_u32 << doublings).min(LONGEST);
    full / 2 + full * u32::from(random) / 510
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_differ_between_objects() {
        assert_eq!(pause(1, 0), Duration::from_millis(500));
        assert_eq!(pause(1, 255), Duration::from_secs(1));
        assert_eq!(pause(3, 255), Duration::from_secs(4));
        assert_eq!(pause(1000, 255), LONGEST);
        assert_eq!(pause(u32::MAX, 0), LONGEST / 2);
    }

    #[test]
    fn success_begins_anew() {
        let back_off = BackOff::default();
        for _ in 0..10 {
            back_off.failed(&7);
        }
        assert!(back_off.failed(&7) > Duration::from_secs(50));
        back_off.succeeded(&7);
        assert!(back_off.failed(&7) <= Duration::from_secs(1));
    }

    #[test]
    fn a_period_is_spread_by_a_tenth() {
        let period = Duration::from_secs(100);
        for _ in 0..200 {
            let spread = about(period);
            assert!(
                spread >= period * 9 / 10 && spread <= period * 11 / 10,
                "{spread:?}"
            );
        }
    }
}
