//! What is known of paths that carry less than the link (RFC 1191 §6).

use std::time::{Duration, Instant};

/// Destinations remembered at once.
const PATHS: usize = 64;
/// After this time a path may have become wider (RFC 1191 §6.3).
const LIFETIME: Duration = Duration::from_secs(600);
/// Nothing smaller is believed: RFC 791's minimum would leave no room for a packet.
const FLOOR: u16 = 552;

/// A few destinations with the largest outer packet their path carries.
#[derive(Debug, Default)]
pub struct PathMtu {
    paths: Vec<(u128, u16, Instant)>,
}

impl PathMtu {
    /// Remembers that `destination` gets at most `octets`; the oldest makes room.
    pub fn learn(&mut self, destination: u128, octets: u16, now: Instant) {
        self.paths
            .retain(|(known, _, until)| *known != destination && *until > now);
        if self.paths.len() >= PATHS {
            self.paths.remove(0);
        }
        self.paths
            .push((destination, octets.max(FLOOR), now + LIFETIME));
    }

    /// What `destination` gets at most, if less than the link carries.
    #[inline]
    pub fn get(&self, destination: u128, now: Instant) -> Option<u16> {
        if self.paths.is_empty() {
            return None;
        }
        self.paths
            .iter()
            .find(|(known, _, until)| *known == destination && *until > now)
            .map(|(_, octets, _)| *octets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_forgotten_after_ten_minutes_and_the_table_stays_small() {
        let mut paths = PathMtu::default();
        let now = Instant::now();
        paths.learn(7, 1300, now);
        assert_eq!(paths.get(7, now + LIFETIME / 2), Some(1300));
        assert_eq!(paths.get(7, now + LIFETIME), None);
        assert_eq!(paths.get(8, now), None);
        paths.learn(7, 100, now);
        assert_eq!(paths.get(7, now), Some(FLOOR));
        for destination in 100..300 {
            paths.learn(destination, 1400, now);
        }
        assert_eq!(paths.paths.len(), PATHS);
        assert_eq!((paths.get(7, now), paths.get(299, now)), (None, Some(1400)));
    }
}
