//! The pseudotime header inside ESP: IP-D3P with a private type, pseudotime in milliseconds.
//!
//! ```text
//! next header 1 (4 or 41) | type 129 | length 12 (2 octets) | pseudotime, milliseconds (8 octets)
//! ```

use std::time::Duration;

use crate::data_plane::Family;

/// Octets of the header.
pub const LENGTH: usize = 12;
/// Private IP-D3P type: group pseudotime in milliseconds.
const TYPE: u8 = 129;

/// The header's octets.
#[inline]
pub fn write(inner: Family, milliseconds: u64) -> [u8; LENGTH] {
    let t = milliseconds.to_be_bytes();
    [
        super::layout::next_header(inner),
        TYPE,
        0,
        LENGTH as u8,
        t[0],
        t[1],
        t[2],
        t[3],
        t[4],
        t[5],
        t[6],
        t[7],
    ]
}

/// Next header and pseudotime; `None` when it is not such a header.
#[inline]
pub fn read(octets: &[u8; LENGTH]) -> Option<(u8, u64)> {
    let [next_header, TYPE, 0, length, t @ ..] = octets else {
        return None;
    };
    (usize::from(*length) == LENGTH).then_some((*next_header, u64::from_be_bytes(*t)))
}

/// Whether a packet sent at `sent` may be accepted at `now`: no more than `window` apart, in
/// either direction, both ends included. Too old and too new are the same answer.
#[inline]
pub fn inside_window(sent: u64, now: u64, window: Duration) -> bool {
    u128::from(sent.abs_diff(now)) <= window.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_edges_are_inside_and_one_more_is_not() {
        let window = Duration::from_millis(5000);
        let now = 1_000_000;
        assert!(inside_window(now - 5000, now, window));
        assert!(!inside_window(now - 5001, now, window));
        assert!(inside_window(now + 5000, now, window));
        assert!(!inside_window(now + 5001, now, window));
        assert!(inside_window(0, 5000, window) && !inside_window(u64::MAX, 0, window));
    }

    #[test]
    fn header_has_the_layout_of_the_contract() {
        let octets = write(Family::V4, 0x0102_0304_0506_0708);
        assert_eq!(octets, [4, 129, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(read(&octets), Some((4, 0x0102_0304_0506_0708)));
        assert_eq!(write(Family::V6, 0)[0], 41);
        for (at, wrong) in [(1, 1), (2, 1), (3, 16)] {
            let mut octets = octets;
            octets[at] = wrong;
            assert_eq!(read(&octets), None);
        }
    }
}
