//! Random decisions and random octets, all from the seed.

use std::time::Duration;

use gikev2::Entropy;

/// A stream of random numbers (SplitMix64): good enough to choose faults, and repeatable everywhere.
#[derive(Clone)]
pub(super) struct Chance(u64);

impl Chance {
    /// The stream of a seed for one purpose, so that more draws here do not change what happens there.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        let mut chance = Self(seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        chance.next();
        chance
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or(0)
    }

    /// True this many times of a thousand.
    pub(super) fn per_mille(&mut self, of_thousand: u64) -> bool {
        self.next() % 1000 < of_thousand
    }

    /// A time from `least` to `most`.
    pub(super) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(u64::MAX);
        least + Duration::from_micros(self.next() % span.max(1))
    }

    /// Milliseconds from `least` to `most`.
    pub(super) fn millis(&mut self, least: u64, most: u64) -> Duration {
        self.between(Duration::from_millis(least), Duration::from_millis(most))
    }
}

impl Entropy for Chance {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let octets = self.next().to_be_bytes();
            chunk.copy_from_slice(&octets[..chunk.len()]);
        }
    }
}
