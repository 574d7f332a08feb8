//! Sender-IDs of a group: counted up, never granted twice in an epoch (RFC 9838 §2.5).

use serde::{Deserialize, Serialize};

/// Most Sender-IDs granted to one registration.
pub const MAXIMUM_PER_REGISTRATION: u32 = 16;

/// The Sender-IDs of one epoch of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderIds {
    next: u64,
}

impl SenderIds {
    /// How many were granted.
    pub fn used(&self) -> u64 {
        self.next
    }

    /// How many an epoch has with `bits` bits.
    pub const fn capacity(bits: u8) -> u64 {
        1 << bits
    }

    /// Grants `wanted`, at most [`MAXIMUM_PER_REGISTRATION`]; `None` when the epoch has not enough left.
    pub(crate) fn grant(&mut self, wanted: u32, bits: u8) -> Option<Vec<u32>> {
        let count = u64::from(wanted.min(MAXIMUM_PER_REGISTRATION));
        let end = self
            .next
            .checked_add(count)
            .filter(|end| *end <= Self::capacity(bits))?;
        let granted = (self.next..end)
            .map(u32::try_from)
            .collect::<Result<_, _>>()
            .ok()?;
        self.next = end;
        Some(granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sender_ids_are_granted_once_and_run_out_exactly_at_the_capacity() {
        let mut ids = SenderIds::default();
        assert_eq!(ids.grant(1, 8), Some(vec![0]));
        assert_eq!(ids.grant(2, 8), Some(vec![1, 2]));
        assert_eq!(ids.grant(0, 8), Some(vec![]));
        for id in 3..256 {
            assert_eq!(ids.grant(1, 8), Some(vec![id]));
        }
        assert_eq!(ids.grant(1, 8), None);
        assert_eq!(ids.used(), 256);
    }

    #[test]
    fn a_greedy_request_is_capped_and_a_full_width_epoch_does_not_overflow() {
        let mut ids = SenderIds {
            next: (1 << 32) - 2,
        };
        assert_eq!(ids.grant(1_000, 32), None);
        assert_eq!(ids.grant(2, 32), Some(vec![u32::MAX - 1, u32::MAX]));
        assert_eq!(ids.grant(1, 32), None);
    }
}
