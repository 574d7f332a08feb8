//! Cutting a super-packet from the TUN into the packets it stands for.
//!
//! The caller lends room for one segment at a time, so a segment is written once, where it will
//! be sealed.

use super::checksum;
use super::header::{Header, Malformed};
use super::protocol;
use super::virtio::{Segmentation, VirtioHeader};
use crate::data_plane::Family;

const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const TCP_FIN: u8 = 0x01;
const TCP_PSH: u8 = 0x08;
const TCP_CWR: u8 = 0x80;
/// Place of the checksum in a TCP header.
const TCP_CHECKSUM: usize = 16;
/// Place of the checksum in a UDP header.
const UDP_CHECKSUM: usize = 6;

/// A super-packet and how it is cut.
#[derive(Debug, Clone, Copy)]
pub struct Segments<'a> {
    packet: &'a [u8],
    family: Family,
    tcp: bool,
    transport: usize,
    headers: usize,
    payload_per_segment: usize,
}

impl<'a> Segments<'a> {
    /// Looks at a super-packet. A `largest` inner packet smaller than the segments asked for makes
    /// TCP segments smaller (TCP does not mind); UDP segments keep their size.
    ///
    /// # Errors
    /// When the headers do not fit the packet or each other.
    pub fn new(
        packet: &'a [u8],
        header: &Header,
        virtio: &VirtioHeader,
        largest: usize,
    ) -> Result<Self, Malformed> {
        let transport = header.header_length;
        let (tcp, family) = match virtio.segmentation {
            Segmentation::TcpV4 => (true, Family::V4),
            Segmentation::TcpV6 => (true, Family::V6),
            Segmentation::Udp => (false, header.family),
            Segmentation::None => return Err(Malformed),
        };
        let expected = if tcp { protocol::TCP } else { protocol::UDP };
        if family != header.family
            || header.protocol != expected
            || header.total_length != packet.len()
        {
            return Err(Malformed);
        }
        let rest = packet.get(transport..).ok_or(Malformed)?;
        let transport_length = if tcp {
            let length = usize::from(rest.get(12).ok_or(Malformed)? >> 4) * 4;
            if length < TCP_HEADER {
                return Err(Malformed);
            }
            length
        } else {
            UDP_HEADER
        };
        let headers = transport + transport_length;
        let mut payload_per_segment = usize::from(virtio.segment_size);
        if tcp {
            payload_per_segment = payload_per_segment.min(largest.saturating_sub(headers));
        }
        if packet.len() <= headers || payload_per_segment == 0 {
            return Err(Malformed);
        }
        Ok(Self {
            packet,
            family,
            tcp,
            transport,
            headers,
            payload_per_segment,
        })
    }

    /// How many segments there are; at least one.
    pub fn count(&self) -> usize {
        (self.packet.len() - self.headers).div_ceil(self.payload_per_segment)
    }

    /// Octets of segment number `at`, counted from zero.
    pub fn length(&self, at: usize) -> usize {
        let payload = self.packet.len() - self.headers;
        let before = (at * self.payload_per_segment).min(payload);
        self.headers + self.payload_per_segment.min(payload - before)
    }

    /// Writes segment number `at` into `out`, which has exactly [`Self::length`] octets.
    ///
    /// # Panics
    /// When `out` has another length.
    #[inline]
    pub fn write(&self, at: usize, out: &mut [u8]) {
        let length = self.length(at);
        assert_eq!(out.len(), length, "the slot was made for this segment");
        let skip = at * self.payload_per_segment;
        let (headers, payload) = out.split_at_mut(self.headers);
        headers.copy_from_slice(&self.packet[..self.headers]);
        payload.copy_from_slice(&self.packet[self.headers + skip..][..payload.len()]);
        let last = self.headers + skip + payload.len() == self.packet.len();

        let (network, transport) = headers.split_at_mut(self.transport);
        let transport_length = length - self.transport;
        let pseudo = match self.family {
            Family::V4 => {
                network[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                let id = u16::from_be_bytes([network[4], network[5]]).wrapping_add(at as u16);
                network[4..6].copy_from_slice(&id.to_be_bytes());
                network[10..12].fill(0);
                let sum = checksum::finish(checksum::sum(network));
                network[10..12].copy_from_slice(&sum);
                &network[12..20]
            }
            Family::V6 => {
                network[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes());
                &network[8..40]
            }
        };
        let (number, checksum_at) = if self.tcp {
            let sequence =
                u32::from_be_bytes([transport[4], transport[5], transport[6], transport[7]]);
            transport[4..8].copy_from_slice(&sequence.wrapping_add(skip as u32).to_be_bytes());
            if !last {
                transport[13] &= !(TCP_FIN | TCP_PSH);
            }
            if at > 0 {
                transport[13] &= !TCP_CWR;
            }
            (protocol::TCP, TCP_CHECKSUM)
        } else {
            transport[4..6].copy_from_slice(&(transport_length as u16).to_be_bytes());
            (protocol::UDP, UDP_CHECKSUM)
        };
        transport[checksum_at..checksum_at + 2].fill(0);
        let mut sum = checksum::finish(
            checksum::pseudo_header(pseudo, number, transport_length)
                + checksum::sum(transport)
                + checksum::sum(payload),
        );
        if !self.tcp && sum == [0, 0] {
            sum = [0xff, 0xff]; // RFC 768: zero means none
        }
        transport[checksum_at..checksum_at + 2].copy_from_slice(&sum);
    }
}

/// Completes the transport checksum of a lone packet the kernel left to its device.
///
/// # Errors
/// When the places named lie outside the packet.
pub fn complete_checksum(packet: &mut [u8], virtio: &VirtioHeader) -> Result<(), Malformed> {
    if !virtio.needs_checksum {
        return Ok(());
    }
    let start = usize::from(virtio.checksum_start);
    let at = start + usize::from(virtio.checksum_offset);
    if start < 20 || at + 2 > packet.len() {
        return Err(Malformed);
    }
    let mut sum = checksum::finish(checksum::sum(&packet[start..]));
    if sum == [0, 0] && usize::from(virtio.checksum_offset) == UDP_CHECKSUM {
        sum = [0xff, 0xff];
    }
    packet[at..at + 2].copy_from_slice(&sum);
    Ok(())
}
