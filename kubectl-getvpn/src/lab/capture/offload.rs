//! Splits a packet of UDP segmentation offload into the datagrams it stands for.
//!
//! The kernel hands a capture the unsplit packet together with the size of a segment
//! (`struct virtio_net_hdr`); on a real wire each segment is a packet of its own.

use super::frame::{ETHERNET_HEADER, Packet, protocol};

/// Length of `struct virtio_net_hdr`, which stands before each frame.
pub(super) const OFFLOAD_HEADER: usize = 10;
/// `VIRTIO_NET_HDR_GSO_UDP_L4`.
const UDP_SEGMENTS: u8 = 5;
/// Length of a UDP header.
const UDP_HEADER: usize = 8;

/// Calls `sink` once for each packet that the captured octets stand for.
///
/// `captured` begins with the offload header; TCP segmentation offload is passed on unsplit.
pub(super) fn split(captured: &[u8], mut sink: impl FnMut(&[u8])) {
    let Some((header, frame)) = captured.split_at_checked(OFFLOAD_HEADER) else {
        return;
    };
    let size = header
        .get(4..6)
        .and_then(|octets| octets.try_into().ok())
        .map_or(0, |octets| usize::from(u16::from_ne_bytes(octets)));
    if header.get(1) != Some(&UDP_SEGMENTS) || size == 0 {
        return sink(frame);
    }
    let Some(packet) = Packet::parse(frame).filter(|packet| packet.protocol == protocol::UDP)
    else {
        return sink(frame);
    };
    let start = packet.payload_range.start.saturating_add(UDP_HEADER);
    let (Some(headers), Some(payload)) = (frame.get(..start), frame.get(start..)) else {
        return sink(frame);
    };
    for segment in payload.chunks(size) {
        let mut out = headers.to_vec();
        out.extend_from_slice(segment);
        correct_lengths(&mut out, packet.payload_range.start);
        sink(&out);
    }
}

/// Sets the IP and UDP length fields to what the frame holds now.
fn correct_lengths(frame: &mut [u8], udp: usize) {
    let length = |from: usize| u16::try_from(frame.len().saturating_sub(from)).unwrap_or(u16::MAX);
    let (ipv4_total, ipv6_payload, datagram) = (
        length(ETHERNET_HEADER),
        length(ETHERNET_HEADER.saturating_add(40)),
        length(udp),
    );
    let is_ipv4 = frame
        .get(ETHERNET_HEADER)
        .is_some_and(|first| first >> 4 == 4);
    let (offset, value) = if is_ipv4 {
        (ETHERNET_HEADER.saturating_add(2), ipv4_total)
    } else {
        (ETHERNET_HEADER.saturating_add(4), ipv6_payload)
    };
    for (offset, value) in [(offset, value), (udp.saturating_add(4), datagram)] {
        let field = offset..offset.saturating_add(2);
        if let Some(field) = frame.get_mut(field) {
            field.copy_from_slice(&value.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::samples::{ipv4, udp};
    use super::*;

    fn with_header(kind: u8, size: u16, frame: &[u8]) -> Vec<u8> {
        let mut captured = vec![0, kind, 0, 0];
        captured.extend(size.to_ne_bytes());
        captured.extend([0; 4]);
        captured.extend(frame);
        captured
    }

    fn payloads(captured: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        split(captured, |frame| {
            let packet = Packet::parse(frame).expect("IPv4");
            found.push(packet.udp_payload().expect("UDP").to_vec());
        });
        found
    }

    #[test]
    fn a_packet_of_segmentation_offload_becomes_its_datagrams() {
        let frame = ipv4(1, 2, protocol::UDP, &udp(4500, 4500, b"aaaabbbbcc"));
        let found = payloads(&with_header(UDP_SEGMENTS, 4, &frame));
        assert_eq!(found, [b"aaaa".to_vec(), b"bbbb".to_vec(), b"cc".to_vec()]);
    }

    #[test]
    fn an_ordinary_packet_passes_unchanged() {
        let frame = ipv4(1, 2, protocol::UDP, &udp(4500, 4500, b"aaaa"));
        assert_eq!(payloads(&with_header(0, 0, &frame)), [b"aaaa".to_vec()]);
        split(&[0; 9], |_| panic!("too short for a frame"));
    }
}
