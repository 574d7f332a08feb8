//! What an IP header says, read once per packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::protocol;
use crate::data_plane::Family;

/// The parts of an IPv4 or IPv6 header (with its extension headers) the packet path decides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// IP version.
    pub family: Family,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Differentiated services code point and ECN field.
    pub traffic_class: u8,
    /// Time to live or hop limit.
    pub hop_limit: u8,
    /// Protocol of the upper layer.
    pub protocol: u8,
    /// Octets before the upper layer.
    pub header_length: usize,
    /// Octets of the whole packet, as the header says.
    pub total_length: usize,
    /// Place of a fragment in its packet.
    pub fragment: Fragment,
    /// IPv4's don't-fragment flag; true for IPv6.
    pub dont_fragment: bool,
    /// Source and destination port, where the protocol has them and the packet shows them.
    pub ports: Option<(u16, u16)>,
}

/// Whether a packet is a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragment {
    /// A whole packet.
    Whole,
    /// The first fragment: upper-layer header is there.
    First,
    /// A later one: it is not.
    Later,
}

/// The octets are not a packet that can be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a well-formed IP packet")]
pub struct Malformed;

/// Octets of an IPv4 header without options.
pub const IPV4_HEADER: usize = 20;
/// Octets of an IPv6 header without extensions.
pub const IPV6_HEADER: usize = 40;
/// Extension headers followed before a packet is refused.
const MAX_EXTENSIONS: usize = 8;

impl Header {
    /// Reads the header of `packet`, which may be longer than its header says (padding) but not
    /// shorter.
    ///
    /// # Errors
    /// When lengths contradict each other or extension headers do not end.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        match packet.first().map(|first| first >> 4) {
            Some(4) => parse_v4(packet),
            Some(6) => parse_v6(packet),
            _ => Err(Malformed),
        }
    }

    /// Whether the destination is a multicast group.
    pub fn is_multicast(&self) -> bool {
        self.destination.is_multicast()
    }
}

/// The two octets at `at`, as a number in network order.
#[inline]
pub(crate) fn word(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?))
}

fn ports(protocol: u8, fragment: Fragment, packet: &[u8], at: usize) -> Option<(u16, u16)> {
    const DCCP: u8 = 33;
    const SCTP: u8 = 132;
    const UDP_LITE: u8 = 136;
    match (fragment, protocol) {
        (Fragment::Later, _) => None,
        (_, protocol::TCP | protocol::UDP | DCCP | SCTP | UDP_LITE) => {
            Some((word(packet, at)?, word(packet, at.checked_add(2)?)?))
        }
        _ => None,
    }
}

fn parse_v4(packet: &[u8]) -> Result<Header, Malformed> {
    let fixed: &[u8; IPV4_HEADER] = packet.first_chunk().ok_or(Malformed)?;
    let header_length = usize::from(fixed[0] & 0x0f) * 4;
    let total_length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if header_length < IPV4_HEADER || total_length < header_length || total_length > packet.len() {
        return Err(Malformed);
    }
    let packet = &packet[..total_length];
    let flags = u16::from_be_bytes([fixed[6], fixed[7]]);
    let fragment = match (flags & 0x1fff, flags & 0x2000) {
        (0, 0) => Fragment::Whole,
        (0, _) => Fragment::First,
        _ => Fragment::Later,
    };
    let protocol = fixed[9];
    Ok(Header {
        family: Family::V4,
        source: Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]).into(),
        destination: Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]).into(),
        traffic_class: fixed[1],
        hop_limit: fixed[8],
        protocol,
        header_length,
        total_length,
        fragment,
        dont_fragment: flags & 0x4000 != 0,
        ports: ports(protocol, fragment, packet, header_length),
    })
}

fn parse_v6(packet: &[u8]) -> Result<Header, Malformed> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION_OPTIONS: u8 = 60;

    let fixed: &[u8; IPV6_HEADER] = packet.first_chunk().ok_or(Malformed)?;
    let total_length = IPV6_HEADER + usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let packet = packet.get(..total_length).ok_or(Malformed)?;
    let mut protocol = fixed[6];
    let mut at = IPV6_HEADER;
    let mut fragment = Fragment::Whole;
    let mut extensions = 0;
    while fragment != Fragment::Later {
        let length = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                8 + 8 * usize::from(*packet.get(at + 1).ok_or(Malformed)?)
            }
            FRAGMENT => {
                let offset = word(packet, at + 2).ok_or(Malformed)?;
                fragment = match (offset & 0xfff8, offset & 1) {
                    (0, 0) => fragment,
                    (0, _) => Fragment::First,
                    _ => Fragment::Later,
                };
                8
            }
            _ => break,
        };
        extensions += 1;
        if at + length > packet.len() || extensions > MAX_EXTENSIONS {
            return Err(Malformed);
        }
        protocol = packet[at];
        at += length;
    }
    let address = |at: usize| -> IpAddr {
        let mut octets = [0; 16];
        octets.copy_from_slice(&fixed[at..at + 16]);
        Ipv6Addr::from(octets).into()
    };
    Ok(Header {
        family: Family::V6,
        source: address(8),
        destination: address(24),
        traffic_class: (fixed[0] << 4) | (fixed[1] >> 4),
        hop_limit: fixed[7],
        protocol,
        header_length: at,
        total_length,
        fragment,
        dont_fragment: true,
        ports: ports(protocol, fragment, packet, at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4(tail: &[u8]) -> Vec<u8> {
        let mut packet = hex::decode("4588002012344000401100000a0000010a000002").expect("hex");
        packet.extend_from_slice(tail);
        packet
    }

    #[test]
    fn ipv4_udp_header_is_read() {
        let header = Header::parse(&v4(&[0x13, 0x88, 0x13, 0x89, 0, 12, 0, 0, 1, 2, 3, 4]))
            .expect("well formed");
        assert_eq!(header.family, Family::V4);
        assert_eq!(header.source, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(header.traffic_class, 0x88);
        assert_eq!(header.ports, Some((5000, 5001)));
        assert!(header.dont_fragment);
        assert_eq!((header.header_length, header.total_length), (20, 32));
    }

    #[test]
    fn a_later_fragment_shows_no_ports() {
        let mut packet = v4(&[0; 12]);
        packet[6..8].copy_from_slice(&[0x00, 0x10]);
        let header = Header::parse(&packet).expect("well formed");
        assert_eq!((header.fragment, header.ports), (Fragment::Later, None));
    }

    #[test]
    fn ipv6_extension_headers_are_walked() {
        let mut packet = vec![0x6b, 0x80, 0, 0, 0, 8 + 8 + 8, 0, 64];
        packet.extend([0xfd; 32]);
        packet.extend([44, 0, 0, 0, 0, 0, 0, 0]); // hop by hop, then fragment
        packet.extend([17, 0, 0, 1, 0, 0, 0, 9]); // first fragment of UDP
        packet.extend([0, 53, 0, 54, 0, 8, 0, 0]);
        let header = Header::parse(&packet).expect("well formed");
        assert_eq!(header.protocol, protocol::UDP);
        assert_eq!(header.fragment, Fragment::First);
        assert_eq!(header.header_length, 56);
        assert_eq!(header.traffic_class, 0xb8);
        assert_eq!(header.ports, Some((53, 54)));
    }

    proptest! {
        #[test]
        fn lengths_never_exceed_the_octets(mut packet in proptest::collection::vec(any::<u8>(), 0..200), v6: bool) {
            if let Some(first) = packet.first_mut() {
                *first = if v6 { 0x60 } else { 0x45 + (*first & 3) };
            }
            if let Ok(header) = Header::parse(&packet) {
                prop_assert!(header.header_length <= header.total_length);
                prop_assert!(header.total_length <= packet.len());
            }
        }
    }
}
