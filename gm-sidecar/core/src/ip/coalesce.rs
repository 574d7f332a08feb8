//! Joining neighbouring packets of a flow into one super-packet for the TUN.
//!
//! The reverse of [`super::segment`]: a run of TCP segments, or of UDP datagrams of one size, that
//! a kernel may take as one. Only packets with right checksums are joined, because the kernel
//! takes a super-packet's checksum on trust. Nothing is reordered: a run ends where the next
//! packet does not continue it.

use std::ops::Range;

use super::checksum;
use super::header::{Fragment, Header, IPV4_HEADER, IPV6_HEADER};
use super::protocol;
use super::virtio::{self, Segmentation, VirtioHeader};
use crate::data_plane::Family;

const TCP_PSH: u8 = 0x08;
const TCP_ACK: u8 = 0x10;
/// Octets of the largest headers that are joined: IPv6 and TCP with all its options.
const MAX_HEADERS: usize = IPV6_HEADER + 60;
/// Segments joined at most; also the most pieces of a write, with its headers.
pub const MAX_SEGMENTS: usize = 64;
/// Octets of the largest super-packet.
const MAX_LENGTH: usize = 65_000;

/// What to write to the TUN for a run of packets.
#[derive(Debug)]
pub struct Run {
    head: [u8; virtio::LENGTH + MAX_HEADERS],
    head_length: usize,
    /// Packets in the run; at least one.
    pub packets: usize,
    /// Octets at the start of each packet that are not written, because `head` replaces them.
    pub skip: usize,
}

impl Run {
    /// The virtio header, and for more than one packet the headers of the super-packet.
    pub fn head(&self) -> &[u8] {
        &self.head[..self.head_length]
    }

    fn lone() -> Self {
        let mut head = [0; virtio::LENGTH + MAX_HEADERS];
        head[..virtio::LENGTH].copy_from_slice(&VirtioHeader::PLAIN.write());
        Self {
            head,
            head_length: virtio::LENGTH,
            packets: 1,
            skip: 0,
        }
    }
}

/// Which kinds of super-packet the TUN takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accepts {
    /// TCP over both versions.
    pub tcp: bool,
    /// UDP over both versions.
    pub udp: bool,
}

/// The joinable shape of a packet.
struct Shape {
    family: Family,
    tcp: bool,
    transport: usize,
    headers: usize,
}

/// Finds the run at the start of `packets` (places in `buffer`), which must not be empty.
pub fn next_run(buffer: &[u8], packets: &[Range<usize>], accepts: Accepts) -> Run {
    let Some(first) = packets.first().and_then(|place| buffer.get(place.clone())) else {
        return Run::lone();
    };
    if packets.len() == 1 {
        return Run::lone();
    }
    let Some(shape) = shape(first, accepts) else {
        return Run::lone();
    };
    let payload = first.len() - shape.headers;
    if payload == 0 || !checksum_is_right(first, &shape) {
        return Run::lone();
    }
    let mut sequence = tcp_sequence(first, &shape).wrapping_add(payload as u32);
    let mut total = first.len();
    let mut count = 1;
    let mut push = tcp_flags(first, &shape) & TCP_PSH;
    while push == 0 && count < packets.len().min(MAX_SEGMENTS) {
        let Some(next) = packets
            .get(count)
            .and_then(|place| buffer.get(place.clone()))
        else {
            break;
        };
        if !continues(first, &shape, next, sequence, payload, count) {
            break;
        }
        let added = next.len() - shape.headers;
        if total + added > MAX_LENGTH || !checksum_is_right(next, &shape) {
            break;
        }
        total += added;
        sequence = sequence.wrapping_add(added as u32);
        count += 1;
        push = tcp_flags(next, &shape) & TCP_PSH;
        if added < payload {
            break;
        }
    }
    if count == 1 {
        return Run::lone();
    }
    super_packet(first, &shape, payload, total, count, push)
}

/// Reads the shape of a packet that could start or continue a run.
fn shape(packet: &[u8], accepts: Accepts) -> Option<Shape> {
    let header = Header::parse(packet).ok()?;
    let plain_header = match header.family {
        Family::V4 => IPV4_HEADER,
        Family::V6 => IPV6_HEADER,
    };
    if header.fragment != Fragment::Whole
        || header.header_length != plain_header
        || header.total_length != packet.len()
    {
        return None;
    }
    let transport = header.header_length;
    let tcp = header.protocol == protocol::TCP;
    let length = match header.protocol {
        protocol::TCP if accepts.tcp => {
            let transport = packet.get(transport..)?;
            let length = usize::from(transport.get(12)? >> 4) * 4;
            // Only plain data: anything but ACK and PSH is the kernel's own business.
            if length < 20 || transport.get(13)? & !TCP_PSH != TCP_ACK {
                return None;
            }
            length
        }
        protocol::UDP if accepts.udp => {
            let transport = packet.get(transport..)?;
            let said = u16::from_be_bytes([*transport.get(4)?, *transport.get(5)?]);
            // A datagram without checksum would get one by being joined.
            if usize::from(said) != transport.len() || transport.get(6..8)? == [0, 0] {
                return None;
            }
            8
        }
        _ => return None,
    };
    let headers = transport + length;
    (headers <= packet.len()).then_some(Shape {
        family: header.family,
        tcp,
        transport,
        headers,
    })
}

/// Whether `next` continues the run that `first` started, of which `count` packets are joined.
fn continues(
    first: &[u8],
    shape: &Shape,
    next: &[u8],
    sequence: u32,
    payload: usize,
    count: usize,
) -> bool {
    if next.len() <= shape.headers || next.len() - shape.headers > payload {
        return false;
    }
    let same = |range: Range<usize>| first[range.clone()] == next[range];
    let network = match shape.family {
        // Version, length of header, service; flags; life, protocol; addresses. The
        // identification must count up, or stay, as the kernel will regenerate it so.
        Family::V4 => {
            let id = |packet: &[u8]| u16::from_be_bytes([packet[4], packet[5]]);
            let length = usize::from(u16::from_be_bytes([next[2], next[3]]));
            same(0..2)
                && length == next.len()
                && same(6..10)
                && same(12..20)
                && (first[6] & 0x40 != 0 || id(next) == id(first).wrapping_add(count as u16))
        }
        Family::V6 => {
            let length = usize::from(u16::from_be_bytes([next[4], next[5]]));
            same(0..4) && length + IPV6_HEADER == next.len() && same(6..40)
        }
    };
    let at = shape.transport;
    network
        && same(at..at + 4)
        && if shape.tcp {
            tcp_sequence(next, shape) == sequence
                && same(at + 8..at + 13)
                && tcp_flags(next, shape) & !TCP_PSH == TCP_ACK
                && same(at + 14..at + 16)
                && same(at + 20..shape.headers)
        } else {
            let said = usize::from(u16::from_be_bytes([next[at + 4], next[at + 5]]));
            said == next.len() - at && next[at + 6..at + 8] != [0, 0]
        }
}

fn tcp_sequence(packet: &[u8], shape: &Shape) -> u32 {
    let at = shape.transport + 4;
    packet
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |octets| u32::from_be_bytes(*octets))
}

fn tcp_flags(packet: &[u8], shape: &Shape) -> u8 {
    if shape.tcp {
        packet.get(shape.transport + 13).copied().unwrap_or(0)
    } else {
        0
    }
}

fn addresses(packet: &[u8], family: Family) -> &[u8] {
    match family {
        Family::V4 => &packet[12..20],
        Family::V6 => &packet[8..40],
    }
}

fn checksum_is_right(packet: &[u8], shape: &Shape) -> bool {
    let (network, transport) = packet.split_at(shape.transport);
    let number = if shape.tcp {
        protocol::TCP
    } else {
        protocol::UDP
    };
    let pseudo = checksum::pseudo_header(addresses(packet, shape.family), number, transport.len());
    (shape.family == Family::V6 || checksum::fold(checksum::sum(network)) == 0xffff)
        && checksum::fold(pseudo + checksum::sum(transport)) == 0xffff
}

/// The headers of the super-packet, checksums as a device with offload expects them.
fn super_packet(
    first: &[u8],
    shape: &Shape,
    payload: usize,
    total: usize,
    count: usize,
    push: u8,
) -> Run {
    let mut run = Run::lone();
    run.packets = count;
    run.skip = shape.headers;
    run.head_length = virtio::LENGTH + shape.headers;
    let checksum_offset = if shape.tcp { 16 } else { 6 };
    let virtio = VirtioHeader {
        needs_checksum: true,
        segmentation: match (shape.tcp, shape.family) {
            (true, Family::V4) => Segmentation::TcpV4,
            (true, Family::V6) => Segmentation::TcpV6,
            (false, _) => Segmentation::Udp,
        },
        header_length: shape.headers as u16,
        segment_size: payload as u16,
        checksum_start: shape.transport as u16,
        checksum_offset,
    };
    run.head[..virtio::LENGTH].copy_from_slice(&virtio.write());
    let headers = &mut run.head[virtio::LENGTH..virtio::LENGTH + shape.headers];
    headers.copy_from_slice(&first[..shape.headers]);
    let transport_length = total - shape.transport;
    match shape.family {
        Family::V4 => {
            headers[2..4].copy_from_slice(&(total as u16).to_be_bytes());
            headers[10..12].fill(0);
            let sum = checksum::finish(checksum::sum(&headers[..IPV4_HEADER]));
            headers[10..12].copy_from_slice(&sum);
        }
        Family::V6 => headers[4..6].copy_from_slice(&((total - IPV6_HEADER) as u16).to_be_bytes()),
    }
    let number = if shape.tcp {
        protocol::TCP
    } else {
        protocol::UDP
    };
    let pseudo = checksum::pseudo_header(addresses(first, shape.family), number, transport_length);
    let at = shape.transport + usize::from(checksum_offset);
    if shape.tcp {
        headers[shape.transport + 13] |= push;
    } else {
        headers[shape.transport + 4..shape.transport + 6]
            .copy_from_slice(&(transport_length as u16).to_be_bytes());
    }
    headers[at..at + 2].copy_from_slice(&checksum::fold(pseudo).to_ne_bytes());
    run
}
