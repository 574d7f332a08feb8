//! Sliding windows against repeated packets, one per SPI and Sender-ID.
//!
//! The counter in the IV is authenticated, so a window is only ever touched by members. The number
//! of windows is bounded: when the table is full, a window that was not used since the hand last
//! passed it makes room (second chance, close to least recently used). The sender that lost its
//! window starts a new one with its next packet; a time window, where the policy has one, still
//! bounds what could be repeated then.

use std::collections::BTreeMap;

use super::{SenderId, Spi};

const WORDS: usize = 64;
const WORD_BITS: u64 = 64;
/// Packets a window looks back. One word of the ring is always being cleared (RFC 6479).
pub(super) const WINDOW: u64 = (WORDS as u64 - 1) * WORD_BITS;

/// The window of one sender on one SA.
#[derive(Debug, Clone)]
pub struct SenderWindow {
    ring: [u64; WORDS],
    highest: u64,
    started: bool,
    accepted: u64,
    replayed: u64,
}

impl SenderWindow {
    const fn new() -> Self {
        Self {
            ring: [0; WORDS],
            highest: 0,
            started: false,
            accepted: 0,
            replayed: 0,
        }
    }

    /// Highest counter accepted.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Packets accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Packets refused.
    pub fn replayed(&self) -> u64 {
        self.replayed
    }

    fn place(counter: u64) -> (usize, u64) {
        (
            (counter / WORD_BITS) as usize % WORDS,
            1 << (counter % WORD_BITS),
        )
    }

    /// Whether a packet with this counter would be new.
    #[inline]
    pub fn is_new(&self, counter: u64) -> bool {
        if !self.started || counter > self.highest {
            return true;
        }
        let (word, bit) = Self::place(counter);
        self.highest - counter < WINDOW && self.ring[word] & bit == 0
    }

    /// Records an authenticated packet; false, and counted, when it is not new.
    #[inline]
    pub fn accept(&mut self, counter: u64) -> bool {
        if !self.is_new(counter) {
            self.replayed += 1;
            return false;
        }
        if !self.started {
            self.started = true;
            self.highest = counter;
        } else if counter > self.highest {
            let from = self.highest / WORD_BITS;
            let steps = (counter / WORD_BITS - from).min(WORDS as u64);
            for step in 1..=steps {
                self.ring[(from + step) as usize % WORDS] = 0;
            }
            self.highest = counter;
        }
        let (word, bit) = Self::place(counter);
        self.ring[word] |= bit;
        self.accepted += 1;
        true
    }
}

struct Entry {
    key: (Spi, SenderId),
    used: bool,
    window: SenderWindow,
}

/// All windows.
pub struct ReplayTable {
    places: BTreeMap<(Spi, SenderId), usize>,
    entries: Vec<Entry>,
    capacity: usize,
    hand: usize,
    /// The place used last: packets come in trains.
    recent: usize,
    evicted: u64,
}

impl ReplayTable {
    /// An empty table for at most `capacity` windows of about 600 octets; at least one.
    pub fn new(capacity: usize) -> Self {
        Self {
            places: BTreeMap::new(),
            entries: Vec::new(),
            capacity: capacity.max(1),
            hand: 0,
            recent: 0,
            evicted: 0,
        }
    }

    fn find(&self, key: (Spi, SenderId)) -> Option<usize> {
        match self.entries.get(self.recent) {
            Some(entry) if entry.key == key => Some(self.recent),
            _ => self.places.get(&key).copied(),
        }
    }

    /// Whether a packet would be new, before the work of opening it. A refusal is counted.
    #[inline]
    pub fn check(&mut self, spi: Spi, sender: SenderId, counter: u64) -> bool {
        let Some(place) = self.find((spi, sender)) else {
            return true;
        };
        self.recent = place;
        self.entries.get_mut(place).is_none_or(|entry| {
            let new = entry.window.is_new(counter);
            entry.window.replayed += u64::from(!new);
            new
        })
    }

    /// Records an authenticated packet; false when it is not new.
    #[inline]
    pub fn accept(&mut self, spi: Spi, sender: SenderId, counter: u64) -> bool {
        let key = (spi, sender);
        let place = match self.find(key) {
            Some(place) => place,
            None => self.insert(key),
        };
        self.recent = place;
        self.entries.get_mut(place).is_none_or(|entry| {
            entry.used = true;
            entry.window.accept(counter)
        })
    }

    fn insert(&mut self, key: (Spi, SenderId)) -> usize {
        let fresh = Entry {
            key,
            used: true,
            window: SenderWindow::new(),
        };
        if self.entries.len() < self.capacity {
            self.entries.push(fresh);
            self.places.insert(key, self.entries.len() - 1);
            return self.entries.len() - 1;
        }
        loop {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &mut self.entries[place];
            if std::mem::take(&mut entry.used) {
                continue;
            }
            self.places.remove(&entry.key);
            *entry = fresh;
            self.places.insert(key, place);
            self.evicted += 1;
            return place;
        }
    }

    /// Forgets the windows of SAs that are gone.
    pub fn retain(&mut self, mut keep: impl FnMut(Spi) -> bool) {
        self.entries.retain(|entry| keep(entry.key.0));
        self.places = self
            .entries
            .iter()
            .enumerate()
            .map(|(place, entry)| (entry.key, place))
            .collect();
        self.hand = 0;
        self.recent = 0;
    }

    /// Windows that made room for others so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Every window with its SA and sender.
    pub fn iter(&self) -> impl Iterator<Item = (Spi, SenderId, &SenderWindow)> {
        self.entries
            .iter()
            .map(|entry| (entry.key.0, entry.key.1, &entry.window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn table_of_cases() {
        // (counters in order, expected answers)
        let cases: &[(&[u64], &[bool])] = &[
            (&[1, 2, 3], &[true, true, true]),
            (&[1, 1], &[true, false]),
            (&[5, 3, 4, 3], &[true, true, true, false]),
            (&[WINDOW, 1, 1], &[true, true, false]),
            (&[WINDOW + 1, 1], &[true, false]),
            (&[1, 1_000_000, 1, 999_999], &[true, true, false, true]),
            (
                &[1 << 40, (1 << 40) - 63, (1 << 40) - 64, (1 << 40) - 64],
                &[true, true, true, false],
            ),
            (&[0, 0], &[true, false]),
            (&[u64::MAX, u64::MAX, u64::MAX - 1], &[true, false, true]),
        ];
        for (counters, expected) in cases {
            let mut window = SenderWindow::new();
            let answers: Vec<bool> = counters
                .iter()
                .map(|&counter| window.accept(counter))
                .collect();
            assert_eq!(&answers, expected, "{counters:?}");
        }
    }

    /// The definition: everything accepted is remembered for ever.
    #[derive(Default)]
    struct Model {
        seen: BTreeSet<u64>,
    }

    impl Model {
        fn accept(&mut self, counter: u64) -> bool {
            let highest = self.seen.last().copied().unwrap_or(0);
            (self.seen.is_empty() || counter > highest || highest - counter < WINDOW)
                && self.seen.insert(counter)
        }
    }

    proptest! {
        #[test]
        fn window_agrees_with_the_model(
            steps in proptest::collection::vec(prop_oneof![
                8 => -70i64..70, 3 => -2100i64..2100, 1 => -5_000i64..100_000
            ], 1..400),
            start in 0u64..10_000
        ) {
            let mut window = SenderWindow::new();
            let mut model = Model::default();
            let mut at = start;
            for step in steps {
                at = at.saturating_add_signed(step);
                let expected = model.accept(at);
                prop_assert_eq!(window.is_new(at), expected, "counter {}", at);
                prop_assert_eq!(window.accept(at), expected, "counter {}", at);
            }
        }
    }

    #[test]
    fn senders_do_not_share_windows() {
        let mut table = ReplayTable::new(8);
        for sender in 0..4 {
            assert!(table.accept(Spi(1), SenderId(sender), 7));
            assert!(!table.check(Spi(1), SenderId(sender), 7));
        }
        assert!(table.accept(Spi(2), SenderId(0), 7));
        assert_eq!(
            table
                .iter()
                .map(|(.., window)| window.replayed())
                .sum::<u64>(),
            4
        );
    }

    #[test]
    fn a_full_table_evicts_what_is_not_used() {
        let mut table = ReplayTable::new(3);
        for sender in 0..3 {
            assert!(table.accept(Spi(1), SenderId(sender), 1));
        }
        // The hand passes all three; sender 0, the first without a second use, makes room.
        assert!(table.accept(Spi(1), SenderId(3), 1));
        // Sender 1 is used again and survives; sender 2 makes room.
        assert!(!table.accept(Spi(1), SenderId(1), 1));
        assert!(table.accept(Spi(1), SenderId(4), 1));
        assert!(!table.accept(Spi(1), SenderId(1), 1), "still remembered");
        assert_eq!((table.evicted(), table.iter().count()), (2, 3));
    }

    #[test]
    fn windows_of_deleted_sas_are_forgotten() {
        let mut table = ReplayTable::new(8);
        for spi in 1..=3 {
            assert!(table.accept(Spi(spi), SenderId(0), 1));
        }
        table.retain(|spi| spi != Spi(2));
        assert_eq!(
            table.iter().map(|(spi, ..)| spi).collect::<Vec<_>>(),
            [Spi(1), Spi(3)]
        );
        assert!(!table.check(Spi(3), SenderId(0), 1));
        assert!(table.check(Spi(2), SenderId(0), 1));
    }
}
