//! Explicit congestion notification through a tunnel (RFC 6040).

use super::checksum;
use super::header::{IPV4_HEADER, IPV6_HEADER};

const NOT_CAPABLE: u8 = 0b00;
const CAPABLE_1: u8 = 0b01;
const CAPABLE_0: u8 = 0b10;
const EXPERIENCED: u8 = 0b11;

/// The ECN field to forward, from that of the inner and of the outer header; `None` for the one
/// combination that must be dropped (RFC 6040 §4.2 figure 4).
#[inline]
pub const fn combine(inner: u8, outer: u8) -> Option<u8> {
    match (inner & 0b11, outer & 0b11) {
        (NOT_CAPABLE, EXPERIENCED) => None,
        (NOT_CAPABLE, _) => Some(NOT_CAPABLE),
        (EXPERIENCED, _) | (_, EXPERIENCED) => Some(EXPERIENCED),
        (CAPABLE_0, CAPABLE_1) => Some(CAPABLE_1),
        (inner, _) => Some(inner),
    }
}

/// Sets the ECN field of a packet, keeping an IPv4 header checksum right. Anything shorter than
/// its header is left alone.
pub fn set(packet: &mut [u8], field: u8) {
    match packet.first().map(|first| first >> 4) {
        Some(4) => {
            let Some(header) = packet.first_chunk_mut::<IPV4_HEADER>() else {
                return;
            };
            let before = [header[0], header[1]];
            header[1] = (header[1] & !0b11) | (field & 0b11);
            let after = [header[0], header[1]];
            let mut sum = [header[10], header[11]];
            checksum::update(&mut sum, before, after);
            header[10..12].copy_from_slice(&sum);
        }
        Some(6) => {
            let Some(header) = packet.first_chunk_mut::<IPV6_HEADER>() else {
                return;
            };
            header[1] = (header[1] & !0x30) | ((field & 0b11) << 4);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::header::Header;

    /// RFC 6040 §4.2 figure 4, row by row: inner field, then the result for an outer field of
    /// Not-ECT, ECT(0), ECT(1) and CE.
    const FIGURE_4: [(u8, [Option<u8>; 4]); 4] = [
        (0b00, [Some(0b00), Some(0b00), Some(0b00), None]),
        (0b10, [Some(0b10), Some(0b10), Some(0b01), Some(0b11)]),
        (0b01, [Some(0b01), Some(0b01), Some(0b01), Some(0b11)]),
        (0b11, [Some(0b11), Some(0b11), Some(0b11), Some(0b11)]),
    ];

    #[test]
    fn decapsulation_follows_figure_4() {
        for (inner, row) in FIGURE_4 {
            for (outer, expected) in [0b00, 0b10, 0b01, 0b11].into_iter().zip(row) {
                assert_eq!(
                    combine(inner, outer),
                    expected,
                    "inner {inner:02b} outer {outer:02b}"
                );
            }
        }
    }

    #[test]
    fn setting_the_field_keeps_dscp_and_checksum() {
        let mut packet = hex::decode("45ba00141234400040110000c6336407c6336408").expect("hex");
        let sum = checksum::finish(checksum::sum(&packet));
        packet[10..12].copy_from_slice(&sum);
        set(&mut packet, 0b11);
        assert_eq!(
            Header::parse(&packet).expect("well formed").traffic_class,
            0xbb
        );
        assert_eq!(checksum::fold(checksum::sum(&packet)), 0xffff);

        let mut packet = vec![0x6b, 0xa5, 1, 2, 0, 0, 59, 64];
        packet.extend([0; 32]);
        set(&mut packet, 0b01);
        let header = Header::parse(&packet).expect("well formed");
        assert_eq!(header.traffic_class, 0xb9);
        assert_eq!(packet[1] & 0x0f, 5, "flow label kept");
    }
}
