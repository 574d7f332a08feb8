//! Counts IKE SAs whose peer has not proven anything yet, so that they cannot crowd out the others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Limits;

/// The half-open IKE SAs, by source address. Within a source they are in order of creation.
#[derive(Default)]
pub(super) struct HalfOpen {
    by_source: BTreeMap<IpAddr, BTreeSet<u64>>,
    total: usize,
}

/// Whether there is room for one more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Yes.
    Free,
    /// Yes, when this older one of the same source makes way.
    Evict(u64),
    /// No.
    Full,
}

impl HalfOpen {
    /// How many there are.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    fn of(&self, source: IpAddr) -> usize {
        self.by_source.get(&source).map_or(0, BTreeSet::len)
    }

    /// Whether a source must show a cookie before we keep state for it.
    pub(super) fn wants_cookie(&self, source: IpAddr, limits: &Limits) -> bool {
        self.total >= limits.cookie_threshold
            || self.of(source) >= limits.cookie_threshold_per_source
    }

    /// Whether `source` may have one more. A source at its own limit loses its oldest instead of being refused:
    /// honest members can share one address with an attacker.
    pub(super) fn room(&self, source: IpAddr, limits: &Limits) -> Room {
        if self.of(source) >= limits.half_open_per_source {
            return match self.by_source.get(&source).and_then(|sas| sas.first()) {
                Some(oldest) => Room::Evict(*oldest),
                None => Room::Full,
            };
        }
        if self.total >= limits.half_open {
            Room::Full
        } else {
            Room::Free
        }
    }

    /// Counts an IKE SA; `serial` grows with time.
    pub(super) fn insert(&mut self, source: IpAddr, serial: u64) {
        if self.by_source.entry(source).or_default().insert(serial) {
            self.total += 1;
        }
    }

    /// Stops counting an IKE SA.
    pub(super) fn remove(&mut self, source: IpAddr, serial: u64) {
        let Some(serials) = self.by_source.get_mut(&source) else {
            return;
        };
        if serials.remove(&serial) {
            self.total = self.total.saturating_sub(1);
        }
        if serials.is_empty() {
            self.by_source.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_busy_source_loses_its_oldest_and_does_not_hurt_another() {
        let limits = Limits {
            half_open_per_source: 2,
            half_open: 3,
            ..Limits::default()
        };
        let mut half_open = HalfOpen::default();
        half_open.insert(SOURCE, 5);
        half_open.insert(SOURCE, 9);
        assert_eq!(half_open.room(SOURCE, &limits), Room::Evict(5));
        assert_eq!(half_open.room(OTHER, &limits), Room::Free);
        half_open.insert(OTHER, 10);
        assert_eq!(half_open.room(OTHER, &limits), Room::Full);
        half_open.remove(SOURCE, 5);
        half_open.remove(SOURCE, 5);
        assert_eq!(half_open.total(), 2);
        assert_eq!(half_open.room(OTHER, &limits), Room::Free);
    }

    #[test]
    fn cookies_are_wanted_from_a_busy_source_before_they_are_wanted_from_all() {
        let limits = Limits {
            cookie_threshold: 4,
            cookie_threshold_per_source: 1,
            ..Limits::default()
        };
        let mut half_open = HalfOpen::default();
        assert!(!half_open.wants_cookie(SOURCE, &limits));
        half_open.insert(SOURCE, 1);
        assert!(half_open.wants_cookie(SOURCE, &limits));
        assert!(!half_open.wants_cookie(OTHER, &limits));
    }
}
