//! Telling a sender that its packet is too large (RFC 1191 §4, RFC 8201, RFC 4443 §3.2).

use super::checksum;
use super::header::{Fragment, Header, IPV4_HEADER, IPV6_HEADER};
use super::protocol;
use crate::data_plane::Family;

/// Octets of the largest answer: IPv6 promises the minimum MTU, IPv4 576 (RFC 1812 §4.3.2.3).
pub const MAX_LENGTH: usize = 1280;
const MAX_LENGTH_V4: usize = 576;
const ICMP_HEADER: usize = 8;

/// Builds the answer to `packet`, which carries at most `largest` octets; says its length. `None`
/// when no answer may be sent (RFC 1122 §3.2.2, RFC 4443 §2.4): to ICMP errors, later fragments
/// and multicast over IPv4.
///
/// The answer comes from the packet's destination: the path has no router of its own to name.
pub fn too_big(
    packet: &[u8],
    header: &Header,
    largest: usize,
    out: &mut [u8; MAX_LENGTH],
) -> Option<usize> {
    let is_error = match (header.protocol, packet.get(header.header_length)) {
        (protocol::ICMP, Some(kind)) => !matches!(kind, 0 | 8 | 13 | 14),
        (protocol::ICMPV6, Some(kind)) => kind & 0x80 == 0,
        _ => false,
    };
    if is_error || header.fragment == Fragment::Later {
        return None;
    }
    match header.family {
        Family::V4 if header.is_multicast() => None,
        Family::V4 => too_big_v4(packet, largest, out),
        Family::V6 => too_big_v6(packet, header, largest, out),
    }
}

fn too_big_v4(packet: &[u8], largest: usize, out: &mut [u8; MAX_LENGTH]) -> Option<usize> {
    let quoted = packet.len().min(MAX_LENGTH_V4 - IPV4_HEADER - ICMP_HEADER);
    let length = IPV4_HEADER + ICMP_HEADER + quoted;
    let (head, body) = out[..length].split_at_mut(IPV4_HEADER);
    head.copy_from_slice(&[
        0x45,
        0xc0,
        0,
        0,
        0,
        0,
        0,
        0,
        64,
        protocol::ICMP,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ]);
    head[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    head[12..16].copy_from_slice(packet.get(16..20)?);
    head[16..20].copy_from_slice(packet.get(12..16)?);
    let sum = checksum::finish(checksum::sum(head));
    head[10..12].copy_from_slice(&sum);

    let [high, low] = u16::try_from(largest).unwrap_or(u16::MAX).to_be_bytes();
    body[..ICMP_HEADER].copy_from_slice(&[3, 4, 0, 0, 0, 0, high, low]);
    body[ICMP_HEADER..].copy_from_slice(packet.get(..quoted)?);
    let sum = checksum::finish(checksum::sum(body));
    body[2..4].copy_from_slice(&sum);
    Some(length)
}

fn too_big_v6(
    packet: &[u8],
    header: &Header,
    largest: usize,
    out: &mut [u8; MAX_LENGTH],
) -> Option<usize> {
    let quoted = packet.len().min(MAX_LENGTH - IPV6_HEADER - ICMP_HEADER);
    let length = IPV6_HEADER + ICMP_HEADER + quoted;
    let (head, body) = out[..length].split_at_mut(IPV6_HEADER);
    head[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, protocol::ICMPV6, 64]);
    head[4..6].copy_from_slice(&((length - IPV6_HEADER) as u16).to_be_bytes());
    let source = if header.is_multicast() {
        packet.get(8..24)?
    } else {
        packet.get(24..40)?
    };
    head[8..24].copy_from_slice(source);
    head[24..40].copy_from_slice(packet.get(8..24)?);

    body[..4].copy_from_slice(&[2, 0, 0, 0]);
    body[4..8].copy_from_slice(&u32::try_from(largest).unwrap_or(u32::MAX).to_be_bytes());
    body[ICMP_HEADER..].copy_from_slice(packet.get(..quoted)?);
    let pseudo = checksum::pseudo_header(&head[8..40], protocol::ICMPV6, body.len());
    let sum = checksum::finish(pseudo + checksum::sum(body));
    body[2..4].copy_from_slice(&sum);
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_answer_names_the_size_and_quotes_the_packet() {
        let mut packet = hex::decode("450007d012344000401100000a0000010a000002").expect("hex");
        packet.resize(2000, 7);
        let header = Header::parse(&packet).expect("well formed");
        let mut out = [0; MAX_LENGTH];
        let length = too_big(&packet, &header, 1400, &mut out).expect("an answer");
        let answer = &out[..length];
        let read = Header::parse(answer).expect("well formed");
        assert_eq!(
            (length, read.total_length, read.protocol),
            (576, 576, protocol::ICMP)
        );
        assert_eq!(
            (read.source, read.destination),
            (header.destination, header.source)
        );
        assert_eq!(answer[20..22], [3, 4]);
        assert_eq!(answer[24..28], [0, 0, 0x05, 0x78]);
        assert_eq!(answer[28..], packet[..548]);
        assert_eq!(checksum::fold(checksum::sum(&answer[..20])), 0xffff);
        assert_eq!(checksum::fold(checksum::sum(&answer[20..])), 0xffff);
    }

    #[test]
    fn ipv6_answer_fits_the_minimum_mtu() {
        let mut packet = vec![0x60, 0, 0, 0, 0x07, 0xa8, 17, 64];
        packet.extend([0xfd; 16]);
        packet.extend([0xfc; 16]);
        packet.resize(2000, 7);
        let header = Header::parse(&packet).expect("well formed");
        let mut out = [0; MAX_LENGTH];
        assert_eq!(too_big(&packet, &header, 1400, &mut out), Some(1280));
        assert_eq!(out[40..48].first_chunk(), Some(&[2u8, 0]));
        assert_eq!(out[44..48], 1400u32.to_be_bytes());
        let pseudo = checksum::pseudo_header(&out[8..40], 58, 1240);
        assert_eq!(checksum::fold(pseudo + checksum::sum(&out[40..])), 0xffff);
    }

    #[test]
    fn errors_fragments_and_multicast_get_no_answer() {
        let mut packet = hex::decode("4500003c12344000400100000a0000010a000002").expect("hex");
        packet.resize(60, 3); // ICMP type 3
        let mut out = [0; MAX_LENGTH];
        let answer = |packet: &[u8], out: &mut _| {
            too_big(packet, &Header::parse(packet).expect("ip"), 40, out)
        };
        assert_eq!(answer(&packet, &mut out), None);
        packet[20] = 8; // echo
        assert!(answer(&packet, &mut out).is_some());
        packet[16] = 239;
        assert_eq!(answer(&packet, &mut out), None);
        packet[16] = 10;
        packet[6..8].copy_from_slice(&[0, 1]);
        assert_eq!(answer(&packet, &mut out), None);
    }
}
