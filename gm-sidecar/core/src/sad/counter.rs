//! Counters that outlive data planes: IVs above all.
//!
//! Two packets under one key with one IV would give the key away, so a counter belongs to the pair
//! of key and Sender-ID for the life of the process. Whoever installs that pair again, in whatever
//! data plane, under whatever SPI, gets the same counter.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::esp::KeyFingerprint;
use crate::esp::iv::IvFormat;
use crate::sad::SenderId;

/// The counter of one Sender-ID under one key.
#[derive(Debug)]
pub struct SenderCounter {
    next: AtomicU64,
    last: u64,
}

/// No counter is left: this Sender-ID must not seal with this key again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sender's counter under this key is used up")]
pub struct Exhausted;

impl SenderCounter {
    fn new(format: IvFormat) -> Self {
        Self {
            next: AtomicU64::new(1),
            last: format.last_counter(),
        }
    }

    /// Takes `count` numbers nobody had before and nobody gets again.
    ///
    /// # Errors
    /// When fewer are left; then none is taken.
    #[inline]
    pub fn reserve(&self, count: usize) -> Result<Range<u64>, Exhausted> {
        let count = u64::try_from(count).map_err(|_| Exhausted)?;
        let first = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                // The largest number stays unused so that the sum cannot wrap.
                next.checked_add(count).filter(|&end| end <= self.last)
            })
            .map_err(|_| Exhausted)?;
        Ok(first..first + count)
    }

    /// How many numbers are left.
    pub fn left(&self) -> u64 {
        self.last.saturating_sub(self.next.load(Ordering::Relaxed))
    }
}

/// What passed under one key.
#[derive(Debug, Default)]
pub struct SaCounters {
    /// Packets sealed.
    pub sent_packets: AtomicU64,
    /// Octets of their inner packets.
    pub sent_octets: AtomicU64,
    /// Packets opened and accepted.
    pub received_packets: AtomicU64,
    /// Octets of their inner packets.
    pub received_octets: AtomicU64,
}

impl SaCounters {
    /// Adds sealed packets.
    pub fn add_sent(&self, packets: u64, octets: u64) {
        self.sent_packets.fetch_add(packets, Ordering::Relaxed);
        self.sent_octets.fetch_add(octets, Ordering::Relaxed);
    }

    /// Adds accepted packets.
    pub fn add_received(&self, packets: u64, octets: u64) {
        self.received_packets.fetch_add(packets, Ordering::Relaxed);
        self.received_octets.fetch_add(octets, Ordering::Relaxed);
    }
}

/// Every counter this process ever handed out. It only grows: by a few dozen octets for each key.
#[derive(Debug, Default)]
pub struct Registry {
    senders: BTreeMap<(KeyFingerprint, SenderId), Arc<SenderCounter>>,
    totals: BTreeMap<KeyFingerprint, Arc<SaCounters>>,
}

impl Registry {
    /// The counter of this key and Sender-ID. The narrower of two formats wins: a key's IV format
    /// cannot change.
    pub fn sender(
        &mut self,
        key: KeyFingerprint,
        sender: SenderId,
        format: IvFormat,
    ) -> Arc<SenderCounter> {
        self.senders
            .entry((key, sender))
            .or_insert_with(|| Arc::new(SenderCounter::new(format)))
            .clone()
    }

    /// The totals of this key.
    pub fn totals(&mut self, key: KeyFingerprint) -> Arc<SaCounters> {
        self.totals.entry(key).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(bits: u8) -> IvFormat {
        IvFormat::new(bits).expect("a width")
    }

    #[test]
    fn counters_start_at_one_and_never_repeat() {
        let counter = SenderCounter::new(format(24));
        assert_eq!(counter.reserve(3), Ok(1..4));
        assert_eq!(counter.reserve(1), Ok(4..5));
    }

    #[test]
    fn an_exhausted_counter_stays_exhausted_and_never_wraps() {
        let counter = SenderCounter::new(format(32));
        let all = usize::try_from(u32::MAX - 1).expect("64-bit");
        assert_eq!(counter.reserve(all), Ok(1..u64::from(u32::MAX)));
        for count in [1, 2, usize::MAX] {
            assert_eq!(counter.reserve(count), Err(Exhausted));
        }
        assert_eq!(counter.left(), 0);
    }

    #[test]
    fn threads_share_a_counter_without_repeating() {
        let counter = Arc::new(SenderCounter::new(format(24)));
        let mut all: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let counter = &counter;
                    scope.spawn(move || -> Vec<u64> {
                        (0..1000)
                            .flat_map(|n| counter.reserve(n % 5).expect("left"))
                            .collect()
                    })
                })
                .collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn the_same_key_and_sender_get_the_same_counter() {
        let mut registry = Registry::default();
        let key = KeyFingerprint([1; 16]);
        let first = registry.sender(key, SenderId(5), format(24));
        assert_eq!(first.reserve(10), Ok(1..11));
        assert_eq!(
            registry.sender(key, SenderId(5), format(24)).reserve(1),
            Ok(11..12)
        );
        assert_eq!(
            registry.sender(key, SenderId(6), format(24)).reserve(1),
            Ok(1..2)
        );
        assert_eq!(
            registry
                .sender(KeyFingerprint([2; 16]), SenderId(5), format(24))
                .reserve(1),
            Ok(1..2)
        );
    }
}
