//! Where things lie in an ESP packet, and how much longer than its inner packet it is.

use super::{aead::ICV, delay};
use crate::data_plane::{Encapsulation, Family};
use crate::ip::protocol;

/// SPI, sequence number and IV.
pub const HEADER: usize = 16;
/// Pad length and next header.
const TRAILER: usize = 2;
/// Octets of a UDP header.
const UDP: usize = 8;

/// The shape of an SA's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Whether a pseudotime header comes before the inner packet.
    pub delay_header: bool,
}

/// The ESP next header for an inner packet of this version.
pub const fn next_header(inner: Family) -> u8 {
    match inner {
        Family::V4 => protocol::IPV4,
        Family::V6 => protocol::IPV6,
    }
}

impl Layout {
    /// Where the inner packet starts.
    #[inline]
    pub const fn inner_offset(self) -> usize {
        if self.delay_header {
            HEADER + delay::LENGTH
        } else {
            HEADER
        }
    }

    /// Octets of padding: payload, padding and trailer fill whole words (RFC 4303 §2.4).
    #[inline]
    pub const fn padding(self, inner: usize) -> usize {
        // The pseudotime header is three whole words.
        (4 - (inner + TRAILER) % 4) % 4
    }

    /// Octets of the ESP packet around an inner packet of `inner` octets.
    #[inline]
    pub const fn sealed_length(self, inner: usize) -> usize {
        self.inner_offset() + inner + self.padding(inner) + TRAILER + ICV
    }

    /// Octets of the largest inner packet whose outer packet has no more than `outer` octets.
    pub const fn largest_inner(
        self,
        outer: usize,
        family: Family,
        encapsulation: Encapsulation,
    ) -> usize {
        let around = match family {
            Family::V4 => 20,
            Family::V6 => 40,
        } + match encapsulation {
            Encapsulation::Udp => UDP,
            Encapsulation::Raw => 0,
        };
        let text = outer.saturating_sub(around + self.inner_offset() + ICV);
        // Text is whole words, the last two octets of it the trailer.
        (text / 4 * 4).saturating_sub(TRAILER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn largest_inner_packet_fits_and_one_octet_more_does_not(
            outer in 576usize..9000, delay_header: bool, v6: bool, raw: bool
        ) {
            let layout = Layout { delay_header };
            let family = if v6 { Family::V6 } else { Family::V4 };
            let encapsulation = if raw { Encapsulation::Raw } else { Encapsulation::Udp };
            let around = if v6 { 40 } else { 20 } + if raw { 0 } else { 8 };
            let inner = layout.largest_inner(outer, family, encapsulation);
            prop_assert!(around + layout.sealed_length(inner) <= outer);
            prop_assert!(around + layout.sealed_length(inner + 1) > outer);
        }
    }
}
