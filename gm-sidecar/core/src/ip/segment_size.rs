//! Clamping the maximum segment size a TCP connection announces, so that its segments fit.

use super::checksum;
use super::header::{Fragment, Header};
use super::protocol;
use crate::data_plane::Family;

const SYN: u8 = 0x02;
const OPTION_END: u8 = 0;
const OPTION_NOTHING: u8 = 1;
const OPTION_SEGMENT_SIZE: u8 = 2;
/// Smaller is never written: RFC 9293 requires hosts to take 536 octets of IPv4.
const FLOOR: u16 = 536;

/// Lowers the MSS option of a SYN so that packets stay within `largest` octets; the checksum,
/// which must be complete, follows. Anything else is left alone. Says whether it changed.
pub fn clamp(packet: &mut [u8], header: &Header, largest: usize) -> bool {
    if header.protocol != protocol::TCP || header.fragment != Fragment::Whole {
        return false;
    }
    let network = match header.family {
        Family::V4 => 20,
        Family::V6 => 40,
    };
    let limit = u16::try_from(largest.saturating_sub(network + 20))
        .unwrap_or(u16::MAX)
        .max(FLOOR);
    let Some(transport) = packet.get_mut(header.header_length..header.total_length) else {
        return false;
    };
    let Some(&[.., offset, flags]) = transport.first_chunk::<14>() else {
        return false;
    };
    if flags & SYN == 0 {
        return false;
    }
    let end = (usize::from(offset >> 4) * 4).min(transport.len());
    let mut at = 20;
    while at < end {
        match transport[at] {
            OPTION_END => return false,
            OPTION_NOTHING => at += 1,
            kind => {
                let Some(&length) = transport.get(at + 1) else {
                    return false;
                };
                let length = usize::from(length);
                if length < 2 || at + length > end {
                    return false;
                }
                if kind == OPTION_SEGMENT_SIZE && length == 4 {
                    return lower(transport, at + 2, limit);
                }
                at += length;
            }
        }
    }
    false
}

fn lower(transport: &mut [u8], at: usize, limit: u16) -> bool {
    let before = [transport[at], transport[at + 1]];
    if u16::from_be_bytes(before) <= limit {
        return false;
    }
    let after = limit.to_be_bytes();
    transport[at..at + 2].copy_from_slice(&after);
    // A word at an odd place straddles two checksum words; swapping its octets accounts for it.
    let (before, after) = if at.is_multiple_of(2) {
        (before, after)
    } else {
        ([before[1], before[0]], [after[1], after[0]])
    };
    let mut sum = [transport[16], transport[17]];
    checksum::update(&mut sum, before, after);
    transport[16..18].copy_from_slice(&sum);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 SYN with the given options, its checksum complete.
    fn syn(options: &[u8]) -> Vec<u8> {
        assert_eq!(options.len() % 4, 0);
        let mut packet = hex::decode("4500000000004000400600000a0000010a000002").expect("hex");
        packet.extend([0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0]);
        packet.extend([
            (((20 + options.len()) / 4) << 4) as u8,
            SYN,
            0xff,
            0xff,
            0,
            0,
            0,
            0,
        ]);
        packet.extend(options);
        let length = packet.len() as u16;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        let pseudo = checksum::pseudo_header(&packet[12..20], 6, packet.len() - 20);
        let sum = checksum::finish(pseudo + checksum::sum(&packet[20..]));
        packet[36..38].copy_from_slice(&sum);
        packet
    }

    fn checksum_holds(packet: &[u8]) -> bool {
        let pseudo = checksum::pseudo_header(&packet[12..20], 6, packet.len() - 20);
        checksum::fold(pseudo + checksum::sum(&packet[20..])) == 0xffff
    }

    fn clamped(options: &[u8], largest: usize) -> (bool, Vec<u8>) {
        let mut packet = syn(options);
        let header = Header::parse(&packet).expect("well formed");
        let changed = clamp(&mut packet, &header, largest);
        assert!(checksum_holds(&packet));
        (changed, packet[40..].to_vec())
    }

    #[test]
    fn a_large_segment_size_is_lowered_and_the_checksum_follows() {
        assert_eq!(
            clamped(&[2, 4, 0x05, 0xb4], 1420),
            (true, vec![2, 4, 0x05, 0x64])
        );
        // At an odd place, behind a lone padding octet.
        assert_eq!(
            clamped(&[1, 2, 4, 0x05, 0xb4, 1, 1, 0], 1420),
            (true, vec![1, 2, 4, 0x05, 0x64, 1, 1, 0])
        );
    }

    #[test]
    fn a_fitting_size_and_broken_options_are_left_alone() {
        assert!(!clamped(&[2, 4, 0x05, 0x00], 1420).0);
        assert!(
            !clamped(&[3, 0, 2, 4], 1420).0,
            "an option of no length ends the search"
        );
        assert!(
            !clamped(&[3, 200, 2, 4], 1420).0,
            "an option beyond the header too"
        );
        assert!(!clamped(&[], 1420).0);
    }

    #[test]
    fn packets_that_are_not_syn_are_left_alone() {
        let mut packet = syn(&[2, 4, 0x05, 0xb4]);
        packet[33] = 0x10;
        let header = Header::parse(&packet).expect("well formed");
        assert!(!clamp(&mut packet, &header, 1420));
    }
}
