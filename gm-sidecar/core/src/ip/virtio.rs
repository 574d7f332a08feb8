//! The virtio-net header a TUN device puts before each packet (virtio 1.2 §5.1.6), in the
//! machine's byte order.

/// Octets of the header.
pub const LENGTH: usize = 10;

/// Flag: the checksum at `checksum_start + checksum_offset` holds the pseudo-header's sum only.
const NEEDS_CHECKSUM: u8 = 1;
/// Bit in the segmentation type: the TCP train carries congestion marks.
const CONGESTION: u8 = 0x80;

/// How a super-packet is to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segmentation {
    /// A lone packet.
    None,
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP datagrams of equal size, over either version.
    Udp,
}

/// The header, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtioHeader {
    /// Whether the transport checksum is to be completed.
    pub needs_checksum: bool,
    /// How to cut.
    pub segmentation: Segmentation,
    /// Octets of headers of a super-packet (a hint; the packet's own headers decide).
    pub header_length: u16,
    /// Octets of payload per segment.
    pub segment_size: u16,
    /// Where the transport header starts.
    pub checksum_start: u16,
    /// Where in it the checksum lies.
    pub checksum_offset: u16,
}

impl VirtioHeader {
    /// Before a lone packet whose checksum is complete.
    pub const PLAIN: Self = Self {
        needs_checksum: false,
        segmentation: Segmentation::None,
        header_length: 0,
        segment_size: 0,
        checksum_start: 0,
        checksum_offset: 0,
    };

    /// Reads the header; `None` for a segmentation we never asked for.
    pub fn parse(octets: &[u8; LENGTH]) -> Option<Self> {
        let word = |at: usize| u16::from_ne_bytes([octets[at], octets[at + 1]]);
        Some(Self {
            needs_checksum: octets[0] & NEEDS_CHECKSUM != 0,
            segmentation: match octets[1] & !CONGESTION {
                0 => Segmentation::None,
                1 => Segmentation::TcpV4,
                4 => Segmentation::TcpV6,
                5 => Segmentation::Udp,
                _ => return None,
            },
            header_length: word(2),
            segment_size: word(4),
            checksum_start: word(6),
            checksum_offset: word(8),
        })
    }

    /// The header's octets.
    pub fn write(&self) -> [u8; LENGTH] {
        let [h0, h1] = self.header_length.to_ne_bytes();
        let [s0, s1] = self.segment_size.to_ne_bytes();
        let [c0, c1] = self.checksum_start.to_ne_bytes();
        let [o0, o1] = self.checksum_offset.to_ne_bytes();
        let segmentation = match self.segmentation {
            Segmentation::None => 0,
            Segmentation::TcpV4 => 1,
            Segmentation::TcpV6 => 4,
            Segmentation::Udp => 5,
        };
        [
            if self.needs_checksum {
                NEEDS_CHECKSUM
            } else {
                0
            },
            segmentation,
            h0,
            h1,
            s0,
            s1,
            c0,
            c1,
            o0,
            o1,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_writing_and_reading() {
        let header = VirtioHeader {
            needs_checksum: true,
            segmentation: Segmentation::TcpV6,
            header_length: 72,
            segment_size: 1348,
            checksum_start: 40,
            checksum_offset: 16,
        };
        assert_eq!(VirtioHeader::parse(&header.write()), Some(header));
        assert_eq!(VirtioHeader::parse(&[0; LENGTH]), Some(VirtioHeader::PLAIN));
        assert_eq!(
            VirtioHeader::parse(&[0, 3, 0, 0, 0, 0, 0, 0, 0, 0]),
            None,
            "UFO is not ours"
        );
    }
}
