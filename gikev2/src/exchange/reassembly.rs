//! Collects the decrypted chunks of a fragmented message (RFC 7383 §2.6).
//!
//! Only chunks whose ICV was verified are ever handed in, so nobody without the keys can fill this memory. There is
//! one set per IKE SA or Rekey SA; its number of fragments, its octets and its life are bounded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use crate::wire::PayloadType;
use crate::wire::fragment::FragmentNumber;
use crate::wire::payload::Chain;

/// Most fragments one message may have. At the smallest fragment size in use this is more than any message of ours.
pub(crate) const MAXIMUM_FRAGMENTS: u16 = 128;

/// Most octets of inner payloads one fragmented message may have.
pub(crate) const MAXIMUM_OCTETS: usize = 128 * 1024;

/// How long an incomplete set is kept after its first fragment.
pub(crate) const LIFETIME: Duration = Duration::from_secs(20);

/// A verified part of a message.
pub(crate) struct Part {
    /// Message ID of the IKE header.
    pub(crate) message_id: u32,
    /// Which part.
    pub(crate) position: FragmentNumber,
    /// Type of the first inner payload; counts in fragment one only.
    pub(crate) first: PayloadType,
    /// Critical bit and reserved bits of the SKF header; count in fragment one only.
    pub(crate) flags: u8,
    /// The part of the inner chain.
    pub(crate) octets: Zeroizing<Vec<u8>>,
}

struct FragmentSet {
    message_id: u32,
    total: u16,
    first: PayloadType,
    flags: u8,
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
    pub(crate) fn wants(&self, message_id: u32, position: FragmentNumber) -> bool {
        if position.number == 0
            || position.number > position.total
            || position.total > MAXIMUM_FRAGMENTS
        {
            return false;
        }
        match &self.set {
            Some(set) if set.message_id == message_id => {
                position.total > set.total
                    || (position.total == set.total && !set.chunks.contains_key(&position.number))
            }
            _ => true,
        }
    }

    /// Stores a verified part; answers the inner chain and the flags octet of fragment one when it was the last part
    /// missing.
    ///
    /// A larger Total Fragments restarts the collection, because the sender has cut the message anew.
    pub(crate) fn store(&mut self, now: Instant, part: Part) -> Option<(Chain, u8)> {
        let Part {
            message_id,
            position,
            first,
            flags,
            octets,
        } = part;
        if !self.wants(message_id, position) {
            return None;
        }
        let fits = |set: &FragmentSet| set.message_id == message_id && set.total == position.total;
        if !self.set.as_ref().is_some_and(fits) {
            self.set = Some(FragmentSet {
                message_id,
                total: position.total,
                first: PayloadType::NONE,
                flags: 0,
                chunks: BTreeMap::new(),
                octets: 0,
                expires: now + LIFETIME,
            });
        }
        let set = self.set.as_mut()?;
        if position.number == 1 {
            set.first = first;
            set.flags = flags;
        }
        set.octets = set.octets.saturating_add(octets.len());
        if set.octets > MAXIMUM_OCTETS {
            self.set = None;
            return None;
        }
        set.chunks.insert(position.number, octets);
        if set.chunks.len() < usize::from(set.total) {
            return None;
        }
        let set = self.set.take()?;
        let mut octets = Zeroizing::new(Vec::with_capacity(set.octets));
        for chunk in set.chunks.values() {
            octets.extend_from_slice(chunk);
        }
        Some((
            Chain {
                first: set.first,
                octets,
            },
            set.flags,
        ))
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

    fn at(number: u16, total: u16) -> FragmentNumber {
        FragmentNumber { number, total }
    }

    fn part(number: u16, total: u16, octets: &[u8]) -> Part {
        Part {
            message_id: 7,
            position: at(number, total),
            first: if number == 1 {
                PayloadType::NOTIFY
            } else {
                PayloadType::NONE
            },
            flags: if number == 1 { 5 } else { 0 },
            octets: Zeroizing::new(octets.to_vec()),
        }
    }

    #[test]
    fn fragments_in_any_order_give_the_message_and_keep_the_header_of_the_first() {
        let now = Instant::now();
        let mut reassembly = Reassembly::default();
        assert!(reassembly.store(now, part(2, 3, b"de")).is_none());
        assert!(reassembly.store(now, part(3, 3, b"f")).is_none());
        let (chain, flags) = reassembly.store(now, part(1, 3, b"abc")).expect("complete");
        assert_eq!(chain.octets.as_slice(), b"abcdef");
        assert_eq!((chain.first, flags), (PayloadType::NOTIFY, 5));
        assert!(reassembly.deadline().is_none());
    }

    #[test]
    fn duplicates_zero_numbers_and_numbers_past_the_total_are_not_wanted() {
        let now = Instant::now();
        let mut reassembly = Reassembly::default();
        assert!(!reassembly.wants(7, at(0, 3)));
        assert!(!reassembly.wants(7, at(4, 3)));
        assert!(!reassembly.wants(7, at(1, MAXIMUM_FRAGMENTS + 1)));
        assert!(reassembly.store(now, part(1, 3, b"a")).is_none());
        assert!(!reassembly.wants(7, at(1, 3)));
    }

    #[test]
    fn a_larger_total_restarts_and_a_smaller_one_is_ignored() {
        let now = Instant::now();
        let mut reassembly = Reassembly::default();
        reassembly.store(now, part(1, 2, b"old"));
        assert!(reassembly.store(now, part(2, 3, b"b")).is_none());
        assert!(!reassembly.wants(7, at(1, 2)));
        reassembly.store(now, part(3, 3, b"c"));
        let (chain, _) = reassembly.store(now, part(1, 3, b"a")).expect("complete");
        assert_eq!(chain.octets.as_slice(), b"abc");
    }

    #[test]
    fn octets_and_life_are_bounded() {
        let now = Instant::now();
        let mut reassembly = Reassembly::default();
        for number in 1..MAXIMUM_FRAGMENTS {
            reassembly.store(now, part(number, MAXIMUM_FRAGMENTS, &[0; 4096]));
            assert!(reassembly.octets() <= MAXIMUM_OCTETS);
        }
        reassembly.clear();
        reassembly.store(now, part(1, 2, b"a"));
        reassembly.handle_timeout(now + LIFETIME);
        assert!(reassembly.deadline().is_none());
    }
}
