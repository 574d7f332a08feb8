//! Collects the decrypted chunks of a fragmented message (RFC 7383 §2.6).
//!
//! Only chunks whose ICV was verified are ever handed in, so nobody without the keys can fill this memory. There is
//! one set per IKE SA or Rekey SA; its number of fragments, its octets and its life are bounded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// Most fragments one message may have. At the smallest fragment size in use this is more than any message of ours.
pub(crate) const MAXIMUM_FRAGMENTS: u16 = 128;

/// Most octets of inner payloads one fragmented message may have.
pub(crate) const MAXIMUM_OCTETS: usize = 128 * 1024;

/// How long an incomplete set is kept after its first fragment.
pub(crate) const LIFETIME: Duration = Duration::from_secs(20);

/// The numbers in an SKF payload header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FragmentNumbers {
    /// Message ID of the IKE header.
    pub(crate) message_id: u32,
    /// Fragment Number, from one.
    pub(crate) number: u16,
    /// Total Fragments.
    pub(crate) total: u16,
}

/// A message put together again.
pub(crate) struct Whole {
    /// Type of the first inner payload, from fragment one.
    pub(crate) first_payload: u8,
    /// Critical bit and reserved bits of fragment one's SKF header.
    pub(crate) reserved: u8,
    /// The inner payload chain.
    pub(crate) chain: Zeroizing<Vec<u8>>,
}

struct FragmentSet {
    message_id: u32,
    total: u16,
    first_payload: u8,
    reserved: u8,
    chunks: BTreeMap<u16, Zeroizing<Vec<u8>>>,
    octets: usize,
    expires: Instant,
}

/// The one message that is being collected.
#[derive(Default)]
pub(crate) struct Reassembly {
    set: Option<FragmentSet>,
}

impl Reassembly {
    /// Whether a fragment with these numbers is worth decrypting: numbers in range, not a duplicate, and not from a
    /// smaller cut of the message than the one already being collected.
    pub(crate) fn wants(&self, numbers: FragmentNumbers) -> bool {
        if numbers.number == 0 || numbers.number > numbers.total || numbers.total > MAXIMUM_FRAGMENTS {
            return false;
        }
        match &self.set {
            Some(set) if set.message_id == numbers.message_id => {
                numbers.total > set.total
                    || (numbers.total == set.total && !set.chunks.contains_key(&numbers.number))
            }
            _ => true,
        }
    }

    /// Stores a verified chunk; answers the whole message when it was the last one missing.
    ///
    /// A larger Total Fragments restarts the collection, because the sender has cut the message anew.
    pub(crate) fn store(
        &mut self,
        now: Instant,
        numbers: FragmentNumbers,
        first_payload: u8,
        reserved: u8,
        chunk: Zeroizing<Vec<u8>>,
    ) -> Option<Whole> {
        if !self.wants(numbers) {
            return None;
        }
        let fits = |set: &FragmentSet| set.message_id == numbers.message_id && set.total == numbers.total;
        if !self.set.as_ref().is_some_and(fits) {
            self.set = Some(FragmentSet {
                message_id: numbers.message_id,
                total: numbers.total,
                first_payload: 0,
                reserved: 0,
                chunks: BTreeMap::new(),
                octets: 0,
                expires: now + LIFETIME,
            });
        }
        let set = self.set.as_mut()?;
        if numbers.number == 1 {
            set.first_payload = first_payload;
            set.reserved = reserved;
        }
        set.octets = set.octets.saturating_add(chunk.len());
        if set.octets > MAXIMUM_OCTETS {
            self.set = None;
            return None;
        }
        set.chunks.insert(numbers.number, chunk);
        if set.chunks.len() < usize::from(set.total) {
            return None;
        }
        let set = self.set.take()?;
        let mut chain = Zeroizing::new(Vec::with_capacity(set.octets));
        for chunk in set.chunks.values() {
            chain.extend_from_slice(chunk);
        }
        Some(Whole { first_payload: set.first_payload, reserved: set.reserved, chain })
    }

    /// When the incomplete set must be forgotten.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.set.as_ref().map(|set| set.expires)
    }

    /// Forgets an incomplete set whose time is over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.deadline().is_some_and(|expires| expires <= now) {
            self.set = None;
        }
    }

    /// Forgets whatever is incomplete, for example because its message was completed another way.
    pub(crate) fn clear(&mut self) {
        self.set = None;
    }

    /// Octets held, for tests of the caps.
    #[cfg(test)]
    pub(crate) fn octets(&self) -> usize {
        self.set.as_ref().map_or(0, |set| set.octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(number: u16, total: u16) -> FragmentNumbers {
        FragmentNumbers { message_id: 7, number, total }
    }

    fn chunk(octets: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(octets.to_vec())
    }

    #[test]
    fn fragments_in_any_order_give_the_message_and_keep_the_header_of_the_first() {
        let now = Instant::now();
        let mut reassembly = Reassembly::default();
        assert!(reassembly.store(now, numbers(2, 3), 0, 0, chunk(b"de")).is_none());
        assert!(reassembly.store(now, numbers(3, 3), 0, 0, chunk(b"f")).is_none());
        let whole = reassembly.store(now, numbers(1, 3), 51, 5, chunk(b"abc")).expect("complete");
        assert_eq!(whole.chain.as_slice(), b"abcdef");
        assert_eq!((whole.first_payload, whole.reserved), (51, 5));
        assert!(reassembly.deadline().is_none());
    }

    #[test]
    fn duplicates_zero_numbers_and_numbers_past_the_total_are_not_wanted() {
        let now = Instant::now();
        let mut reassembly = Reassembly::default();
        assert!(!reassembly.wants(numbers(0, 3)));
        assert!(!reassembly.wants(numbers(4, 3)));
        assert!(!reassembly.wants(numbers(1, MAXIMUM_FRAGMENTS + 1)));
        assert!(reassembly.store(now, numbers(1, 3), 51, 0, chunk(b"a")).is_none());
        assert!(!reassembly.wants(numbers(1, 3)));
    }

    #[test]
    fn a_larger_total_restarts_and_a_smaller_one_is_ignored() {
        let now = Instant::now();
        let mut reassembly = Reassembly::default();
        reassembly.store(now, numbers(1, 2), 51, 0, chunk(b"old"));
        assert!(reassembly.store(now, numbers(2, 3), 0, 0, chunk(b"b")).is_none());
        assert!(!reassembly.wants(numbers(1, 2)));
        reassembly.store(now, numbers(3, 3), 0, 0, chunk(b"c"));
        let whole = reassembly.store(now, numbers(1, 3), 51, 0, chunk(b"a")).expect("complete");
        assert_eq!(whole.chain.as_slice(), b"abc");
    }

    #[test]
    fn octets_and_life_are_bounded() {
        let now = Instant::now();
        let mut reassembly = Reassembly::default();
        for number in 1..MAXIMUM_FRAGMENTS {
            reassembly.store(now, numbers(number, MAXIMUM_FRAGMENTS), 51, 0, chunk(&[0; 4096]));
            assert!(reassembly.octets() <= MAXIMUM_OCTETS);
        }
        reassembly.clear();
        reassembly.store(now, numbers(1, 2), 51, 0, chunk(b"a"));
        reassembly.handle_timeout(now + LIFETIME);
        assert!(reassembly.deadline().is_none());
    }
}
