//! IKE messages from UDP port 4500, which belongs to the packet path (RFC 3948 §2.2).
//!
//! A second socket on that port would take ESP packets away from the packet path. A raw socket of
//! protocol 255 sends whole IP packets and receives nothing, so the port can be named as source
//! without being bound.

use std::io;
use std::net::{IpAddr, SocketAddr};

use gikev2::Transmit;
use socket2::{Domain, Protocol, Socket, Type};

const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const HOP_LIMIT: u8 = 64;
/// IPPROTO_RAW: send only, with the IP header of the caller (raw(7)).
const SEND_ONLY: i32 = 255;

/// Sends UDP datagrams from ports that are bound elsewhere.
pub(super) struct NatTraversalSender {
    mark: u32,
}

impl NatTraversalSender {
    pub(super) fn new(mark: u32) -> Self {
        Self { mark }
    }

    /// Sends `transmit` with its local address as source.
    ///
    /// # Errors
    /// The kernel's answer; permission is denied without CAP_NET_RAW.
    pub(super) fn send(&self, transmit: &Transmit) -> io::Result<()> {
        let packet = packet(transmit.local, transmit.remote, &transmit.payload)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let domain = Domain::for_address(transmit.remote);
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(SEND_ONLY)))?;
        socket.set_mark(self.mark)?;
        // A raw socket takes no port in the address.
        let destination = SocketAddr::new(transmit.remote.ip(), 0);
        socket.send_to(&packet, &destination.into()).map(drop)
    }
}

/// The IP packet with a UDP datagram; `None` when the families differ or it is too long.
fn packet(local: SocketAddr, remote: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(payload.len().checked_add(UDP_HEADER)?).ok()?;
    let mut udp = Vec::with_capacity(usize::from(length));
    udp.extend_from_slice(&local.port().to_be_bytes());
    udp.extend_from_slice(&remote.port().to_be_bytes());
    udp.extend_from_slice(&length.to_be_bytes());
    udp.extend_from_slice(&[0, 0]);
    udp.extend_from_slice(payload);
    match (local.ip(), remote.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            // The kernel fills in the identification and the header checksum; the UDP checksum may
            // be left out (RFC 768).
            let total = length.checked_add(20)?;
            let mut packet = vec![0x45, 0];
            packet.extend_from_slice(&total.to_be_bytes());
            packet.extend_from_slice(&[0, 0, 0, 0, HOP_LIMIT, UDP, 0, 0]);
            packet.extend_from_slice(&source.octets());
            packet.extend_from_slice(&destination.octets());
            packet.extend_from_slice(&udp);
            Some(packet)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut pseudo_header = Vec::with_capacity(40);
            pseudo_header.extend_from_slice(&source.octets());
            pseudo_header.extend_from_slice(&destination.octets());
            pseudo_header.extend_from_slice(&u32::from(length).to_be_bytes());
            pseudo_header.extend_from_slice(&[0, 0, 0, UDP]);
            let sum = checksum(&[&pseudo_header, &udp]);
            udp.get_mut(6..8)?.copy_from_slice(&sum.to_be_bytes());
            let mut packet = vec![0x60, 0, 0, 0];
            packet.extend_from_slice(&length.to_be_bytes());
            packet.extend_from_slice(&[UDP, HOP_LIMIT]);
            packet.extend_from_slice(&source.octets());
            packet.extend_from_slice(&destination.octets());
            packet.extend_from_slice(&udp);
            Some(packet)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

/// The Internet checksum (RFC 1071) of parts that each but the last have even length, as UDP over
/// IPv6 wants it: never zero (RFC 8200 §8.1).
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = 0;
    for word in parts.iter().flat_map(|part| part.chunks(2)) {
        let value = match *word {
            [high, low] => u16::from_be_bytes([high, low]),
            [high] => u16::from_be_bytes([high, 0]),
            _ => 0,
        };
        sum += u32::from(value);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    match !u16::try_from(sum).unwrap_or(u16::MAX) {
        0 => 0xffff,
        sum => sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn an_ipv4_packet_has_its_lengths_and_ports() {
        let packet = packet(
            address("10.0.0.1:4500"),
            address("10.0.0.2:4500"),
            &[0, 0, 0, 0, 9],
        )
        .expect("same family");
        assert_eq!(packet.len(), 33);
        assert_eq!(&packet[2..4], &33_u16.to_be_bytes());
        assert_eq!(&packet[20..26], &[0x11, 0x94, 0x11, 0x94, 0, 13]);
    }

    #[test]
    fn an_ipv6_packet_verifies_by_summing_to_all_ones() {
        let packet = packet(
            address("[fd00::1]:4500"),
            address("[fd00::2]:31000"),
            &[1, 2, 3],
        )
        .expect("same family");
        let (header, udp) = packet.split_at(40);
        let mut pseudo_header = header[8..40].to_vec();
        pseudo_header.extend_from_slice(&[0, 0, 0, 11, 0, 0, 0, UDP]);
        // The complement of the sum over a correct datagram is zero, which is written as all ones.
        assert_eq!(checksum(&[&pseudo_header, udp]), 0xffff);
    }

    #[test]
    fn families_are_not_mixed() {
        assert_eq!(
            packet(address("10.0.0.1:4500"), address("[fd00::2]:4500"), &[]),
            None
        );
    }
}
