//! SPIs: allocated from one counter for all groups, so that none is ever used twice.

use std::fmt;

use gikev2::wire::{RekeySpi, Spi};
use serde::{Deserialize, Serialize};

/// SPI of a Data-Security SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DataSpi(pub u32);

impl From<DataSpi> for Spi {
    fn from(spi: DataSpi) -> Self {
        Self(spi.0)
    }
}

impl fmt::Display for DataSpi {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0)
    }
}

/// SPI of a Rekey SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RekeySaSpi(pub [u8; 16]);

impl RekeySaSpi {
    /// Draws an SPI whose halves are both non-zero, so that it never looks like a first IKE_SA_INIT request.
    pub fn random(entropy: &mut dyn gikev2::Entropy) -> Self {
        let mut octets = [0; 16];
        entropy.fill(&mut octets);
        octets[0] |= 0x80;
        octets[8] |= 0x80;
        Self(octets)
    }

    /// Whether both halves are non-zero.
    pub fn is_valid(self) -> bool {
        self.0[..8].iter().any(|octet| *octet != 0) && self.0[8..].iter().any(|octet| *octet != 0)
    }
}

impl From<RekeySaSpi> for RekeySpi {
    fn from(spi: RekeySaSpi) -> Self {
        Self(spi.0)
    }
}

impl fmt::Display for RekeySaSpi {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|octet| write!(formatter, "{octet:02x}"))
    }
}

/// Hands out the SPIs of data SAs.
///
/// A counter sent through a permutation of the 32-bit numbers: values look random, as SPIs of several key server
/// groups at one member should, and none comes twice before the counter wraps, which it never does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpiAllocator {
    seed: Option<[u8; 16]>,
    allocated: u64,
}

impl SpiAllocator {
    /// Chooses the permutation, once.
    pub(crate) fn seed(&mut self, seed: [u8; 16]) {
        self.seed.get_or_insert(seed);
    }

    /// How far the counter is.
    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    /// The SPIs to be allocated next, in order, each with the counter after it.
    pub fn upcoming(&self) -> impl Iterator<Item = (DataSpi, u64)> + '_ {
        let seed = self.seed.unwrap_or_default();
        (self.allocated..=u64::from(u32::MAX)).filter_map(move |counter| {
            let spi = permute(u32::try_from(counter).ok()?, &seed);
            (spi >= Spi::LOWEST.0).then_some((DataSpi(spi), counter + 1))
        })
    }

    /// Allocates exactly `spis` when they are the next ones. Answers `false` and changes nothing otherwise.
    pub(crate) fn allocate(&mut self, spis: impl Iterator<Item = DataSpi>) -> bool {
        let mut allocated = self.allocated;
        {
            let mut upcoming = self.upcoming();
            for spi in spis {
                match upcoming.next() {
                    Some((next, counter)) if next == spi => allocated = counter,
                    _ => return false,
                }
            }
        }
        self.allocated = allocated;
        true
    }
}

/// A permutation of the 32-bit numbers: a Feistel network of eight rounds. Not a cipher, nothing here is secret.
fn permute(value: u32, seed: &[u8; 16]) -> u32 {
    let (mut left, mut right) = (value >> 16, value & 0xffff);
    for round in 0..8 {
        let key = u32::from(seed[2 * round]) << 8 | u32::from(seed[2 * round + 1]);
        let mut mixed = (right ^ key).wrapping_mul(0x9e37_79b1);
        mixed ^= mixed >> 15;
        mixed = mixed.wrapping_mul(0x85eb_ca6b);
        mixed ^= mixed >> 13;
        (left, right) = (right, left ^ (mixed & 0xffff));
    }
    left << 16 | right
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn spis_are_distinct_and_never_reserved() {
        let mut allocator = SpiAllocator::default();
        allocator.seed([7; 16]);
        let spis: Vec<_> = allocator
            .upcoming()
            .take(100_000)
            .map(|(spi, _)| spi)
            .collect();
        assert!(spis.iter().all(|spi| spi.0 >= 256));
        assert_eq!(spis.iter().collect::<BTreeSet<_>>().len(), spis.len());
    }

    #[test]
    fn only_the_next_spis_can_be_allocated() {
        let mut allocator = SpiAllocator::default();
        allocator.seed([1; 16]);
        let spis: Vec<_> = allocator.upcoming().take(3).map(|(spi, _)| spi).collect();
        assert!(!allocator.allocate([spis[1]].into_iter()));
        assert!(allocator.allocate(spis[..2].iter().copied()));
        assert!(!allocator.allocate(spis[..1].iter().copied()));
        assert!(allocator.allocate(spis[2..].iter().copied()));
    }
}
