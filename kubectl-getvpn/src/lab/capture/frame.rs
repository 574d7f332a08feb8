//! Reads what matters of an Ethernet frame: addresses, protocol, ports, payload.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// Length of an Ethernet header without tags.
pub(super) const ETHERNET_HEADER: usize = 14;

/// IP protocol numbers used here.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IGMP.
    pub const IGMP: u8 = 2;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ESP.
    pub const ESP: u8 = 50;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
}

/// One IP packet inside a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Protocol of the payload, behind IPv6 extension headers.
    pub protocol: u8,
    /// Whether this is a fragment other than the first, so that it has no ports.
    pub later_fragment: bool,
    /// What follows the IP headers, without link-layer padding.
    pub payload: &'a [u8],
    /// Where `payload` is in the frame.
    pub payload_range: Range<usize>,
}

impl<'a> Packet<'a> {
    /// Reads an IPv4 or IPv6 packet; `None` for anything else or malformed.
    #[must_use]
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        match u16_at(frame, 12)? {
            0x0800 => Self::parse_ipv4(frame),
            0x86dd => Self::parse_ipv6(frame),
            _ => None,
        }
    }

    fn parse_ipv4(frame: &'a [u8]) -> Option<Self> {
        let ip = frame.get(ETHERNET_HEADER..)?;
        let header = usize::from(ip.first()? & 0x0f).checked_mul(4)?;
        let total = usize::from(u16_at(ip, 2)?);
        let fragment = u16_at(ip, 6)? & 0x1fff;
        // A packet of segmentation offload is longer than its length field can say.
        let end = if total == 0 {
            ip.len()
        } else {
            total.max(header)
        };
        let address = |offset: usize| -> Option<IpAddr> {
            let octets: [u8; 4] = ip.get(offset..offset.checked_add(4)?)?.try_into().ok()?;
            Some(Ipv4Addr::from(octets).into())
        };
        Self::new(
            frame,
            (address(12)?, address(16)?),
            (*ip.get(9)?, fragment != 0),
            (header, end),
        )
    }

    fn parse_ipv6(frame: &'a [u8]) -> Option<Self> {
        let ip = frame.get(ETHERNET_HEADER..)?;
        let length = usize::from(u16_at(ip, 4)?);
        let end = if length == 0 {
            ip.len()
        } else {
            length.checked_add(40)?
        };
        let address = |offset: usize| -> Option<IpAddr> {
            let octets: [u8; 16] = ip.get(offset..offset.checked_add(16)?)?.try_into().ok()?;
            Some(Ipv6Addr::from(octets).into())
        };
        let (mut next, mut offset, mut later_fragment) = (*ip.get(6)?, 40_usize, false);
        loop {
            match next {
                // Hop-by-hop, routing, destination options (RFC 8200 §4).
                0 | 43 | 60 => {
                    let length = usize::from(*ip.get(offset.checked_add(1)?)?);
                    next = *ip.get(offset)?;
                    offset = offset.checked_add(length.checked_add(1)?.checked_mul(8)?)?;
                }
                // Fragment (RFC 8200 §4.5).
                44 => {
                    later_fragment |= u16_at(ip, offset.checked_add(2)?)? & 0xfff8 != 0;
                    next = *ip.get(offset)?;
                    offset = offset.checked_add(8)?;
                    if later_fragment {
                        break;
                    }
                }
                _ => break,
            }
        }
        Self::new(
            frame,
            (address(8)?, address(24)?),
            (next, later_fragment),
            (offset, end),
        )
    }

    fn new(
        frame: &'a [u8],
        (source, destination): (IpAddr, IpAddr),
        (protocol, later_fragment): (u8, bool),
        (start, end): (usize, usize),
    ) -> Option<Self> {
        let start = start.checked_add(ETHERNET_HEADER)?;
        let end = end.checked_add(ETHERNET_HEADER)?.min(frame.len());
        Some(Self {
            source,
            destination,
            protocol,
            later_fragment,
            payload: frame.get(start..end)?,
            payload_range: start..end,
        })
    }

    /// Source and destination port of TCP and UDP.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        let has_ports = matches!(self.protocol, protocol::TCP | protocol::UDP);
        if !has_ports || self.later_fragment {
            return None;
        }
        Some((u16_at(self.payload, 0)?, u16_at(self.payload, 2)?))
    }

    /// The payload of a UDP datagram.
    #[must_use]
    pub fn udp_payload(&self) -> Option<&'a [u8]> {
        if self.protocol != protocol::UDP || self.later_fragment {
            return None;
        }
        self.payload.get(8..)
    }
}

pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let pair = bytes.get(offset..offset.checked_add(2)?)?;
    Some(u16::from_be_bytes(pair.try_into().ok()?))
}

#[cfg(test)]
pub(super) mod samples {
    //! Frames made by hand, octet for octet after RFC 791, RFC 768 and RFC 8200.

    /// An Ethernet frame with an IPv4 packet from 10.1.`from`.2 to 10.1.`to`.2.
    pub(in crate::lab::capture) fn ipv4(from: u8, to: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0]);
        frame.extend(u16::try_from(20 + payload.len()).unwrap_or(0).to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
        frame.extend([10, 1, from, 2, 10, 1, to, 2]);
        frame.extend(payload);
        frame
    }

    /// A UDP datagram.
    pub(in crate::lab::capture) fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
        let mut datagram = source.to_be_bytes().to_vec();
        datagram.extend(destination.to_be_bytes());
        datagram.extend(u16::try_from(8 + payload.len()).unwrap_or(0).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        datagram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_layer_padding_is_no_payload() {
        let mut frame = samples::ipv4(1, 2, protocol::UDP, &samples::udp(7, 9, b"abc"));
        frame.extend([0; 20]);
        let packet = Packet::parse(&frame).expect("IPv4");
        assert_eq!(packet.ports(), Some((7, 9)));
        assert_eq!(packet.udp_payload(), Some(b"abc".as_slice()));
    }

    #[test]
    fn a_truncated_frame_is_refused_at_every_length() {
        let frame = samples::ipv4(1, 2, protocol::UDP, &samples::udp(7, 9, b""));
        for length in 0..34 {
            assert_eq!(Packet::parse(&frame[..length]), None, "length {length}");
        }
    }

    #[test]
    fn ports_are_found_behind_an_ipv6_extension_header() {
        let mut frame = vec![0; 12];
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 60, 64]);
        frame.extend([0xfd; 32]);
        frame.extend([17, 0, 1, 4, 0, 0, 0, 0]); // destination options
        frame.extend(samples::udp(848, 848, b""));
        let packet = Packet::parse(&frame).expect("IPv6");
        assert_eq!(packet.protocol, protocol::UDP);
        assert_eq!(packet.ports(), Some((848, 848)));
    }
}
