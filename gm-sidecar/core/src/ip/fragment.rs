//! Cutting an IPv4 packet into fragments before it is sealed (RFC 791 §3.2).
//!
//! A fragment of the encrypted packet could reach another member than its first one; fragments of
//! the inner packet are whole ESP packets each.

use super::checksum;
use super::header::{Header, IPV4_HEADER, Malformed};

const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;
/// Bit of an option's type: repeat it in every fragment.
const COPIED: u8 = 0x80;

/// An IPv4 packet and how it is cut.
#[derive(Debug)]
pub struct Fragments<'a> {
    packet: &'a [u8],
    header_length: usize,
    /// Header of the second and later fragments: only copied options.
    later: [u8; 60],
    later_length: usize,
    first_payload: usize,
    later_payload: usize,
}

impl<'a> Fragments<'a> {
    /// Looks at an IPv4 packet that may be fragmented, for packets of at most `largest` octets.
    ///
    /// # Errors
    /// When it is not such a packet, or `largest` leaves no room for payload.
    pub fn new(packet: &'a [u8], header: &Header, largest: usize) -> Result<Self, Malformed> {
        let length = header.header_length;
        if header.dont_fragment || !(IPV4_HEADER..=60).contains(&length) {
            return Err(Malformed);
        }
        let packet = packet.get(..header.total_length).ok_or(Malformed)?;
        let mut later = [0; 60];
        later[..IPV4_HEADER].copy_from_slice(&packet[..IPV4_HEADER]);
        let options = packet.get(IPV4_HEADER..length).ok_or(Malformed)?;
        let later_length = IPV4_HEADER + copy_options(options, &mut later[IPV4_HEADER..])?;
        later[0] = 0x40 | (later_length / 4) as u8;
        let whole_words = |room: usize| room / 8 * 8;
        let first_payload = whole_words(largest.saturating_sub(length));
        let later_payload = whole_words(largest.saturating_sub(later_length));
        if first_payload == 0 || later_payload == 0 {
            return Err(Malformed);
        }
        Ok(Self {
            packet,
            header_length: length,
            later,
            later_length,
            first_payload,
            later_payload,
        })
    }

    /// How many fragments there are; one for a packet that fits.
    pub fn count(&self) -> usize {
        let payload = self.packet.len() - self.header_length;
        1 + payload
            .saturating_sub(self.first_payload)
            .div_ceil(self.later_payload)
    }

    fn payload(&self, at: usize) -> std::ops::Range<usize> {
        let end = self.packet.len();
        let start = match at {
            0 => self.header_length,
            _ => self.header_length + self.first_payload + (at - 1) * self.later_payload,
        };
        let size = if at == 0 {
            self.first_payload
        } else {
            self.later_payload
        };
        start.min(end)..(start + size).min(end)
    }

    /// Octets of fragment number `at`, counted from zero.
    pub fn length(&self, at: usize) -> usize {
        self.payload(at).len()
            + if at == 0 {
                self.header_length
            } else {
                self.later_length
            }
    }

    /// Writes fragment number `at` into `out`, which has exactly [`Self::length`] octets.
    ///
    /// # Panics
    /// When `out` has another length.
    pub fn write(&self, at: usize, out: &mut [u8]) {
        assert_eq!(
            out.len(),
            self.length(at),
            "the slot was made for this fragment"
        );
        let header = if at == 0 {
            &self.packet[..self.header_length]
        } else {
            &self.later[..self.later_length]
        };
        let place = self.payload(at);
        let length = out.len() as u16;
        let (head, payload) = out.split_at_mut(header.len());
        head.copy_from_slice(header);
        payload.copy_from_slice(&self.packet[place.clone()]);
        head[2..4].copy_from_slice(&length.to_be_bytes());
        // A fragment may itself be fragmented: offsets add up, and its last piece keeps MF.
        let said = u16::from_be_bytes([self.packet[6], self.packet[7]]);
        let offset = (said & OFFSET) + ((place.start - self.header_length) / 8) as u16;
        let more = if place.end < self.packet.len() {
            MORE
        } else {
            said & MORE
        };
        head[6..8].copy_from_slice(&(offset & OFFSET | more).to_be_bytes());
        head[10..12].fill(0);
        let sum = checksum::finish(checksum::sum(head));
        head[10..12].copy_from_slice(&sum);
    }
}

/// Copies the options that go into every fragment, padded to whole words; says their length.
fn copy_options(options: &[u8], out: &mut [u8]) -> Result<usize, Malformed> {
    let mut from = 0;
    let mut to = 0;
    while let Some(&kind) = options.get(from) {
        let length = match kind {
            0 => break,
            1 => 1,
            _ => usize::from(*options.get(from + 1).ok_or(Malformed)?),
        };
        let option = options
            .get(from..from + length)
            .filter(|_| length > 0)
            .ok_or(Malformed)?;
        if kind & COPIED != 0 {
            out.get_mut(to..to + length)
                .ok_or(Malformed)?
                .copy_from_slice(option);
            to += length;
        }
        from += length;
    }
    Ok(to.next_multiple_of(4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(options: &[u8], flags: u16, payload: usize) -> Vec<u8> {
        let mut packet = hex::decode("4500000077770000401100000a0000010a000002").expect("hex");
        packet[0] = 0x40 | ((20 + options.len()) / 4) as u8;
        packet[6..8].copy_from_slice(&flags.to_be_bytes());
        packet.extend(options);
        packet.extend((0..payload).map(|n| n as u8));
        let length = packet.len() as u16;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet
    }

    /// Reassembles by offset, as RFC 791 §3.2 says, checking each fragment.
    fn reassemble(fragments: &[Vec<u8>], largest: usize) -> (Vec<u8>, u16, bool) {
        let mut payload = Vec::new();
        let mut first = None;
        let mut more = true;
        for fragment in fragments {
            assert!(fragment.len() <= largest);
            let header = Header::parse(fragment).expect("well formed");
            assert_eq!(header.total_length, fragment.len());
            assert_eq!(
                checksum::fold(checksum::sum(&fragment[..header.header_length])),
                0xffff
            );
            assert!(more, "nothing follows the last fragment");
            let said = u16::from_be_bytes([fragment[6], fragment[7]]);
            let base = *first.get_or_insert(said & OFFSET);
            assert_eq!(usize::from((said & OFFSET) - base) * 8, payload.len());
            payload.extend(&fragment[header.header_length..]);
            more = said & MORE != 0;
        }
        (payload, first.unwrap_or(0), more)
    }

    fn cut(packet: &[u8], largest: usize) -> Vec<Vec<u8>> {
        let header = Header::parse(packet).expect("well formed");
        let fragments = Fragments::new(packet, &header, largest).expect("may be cut");
        (0..fragments.count())
            .map(|at| {
                let mut out = vec![0; fragments.length(at)];
                fragments.write(at, &mut out);
                out
            })
            .collect()
    }

    proptest! {
        #[test]
        fn fragments_reassemble_to_the_packet(
            payload in 1usize..5000, largest in 68usize..1600, offset in 0u16..2000, more: bool, options in 0usize..3
        ) {
            // Not-copied record route; copied loose source route; both.
            let options: &[u8] = [&[][..], &[7, 7, 4, 0, 0, 0, 0, 0], &[131, 7, 4, 10, 0, 0, 9, 1, 7, 3, 4, 0]][options];
            let flags = offset | if more { MORE } else { 0 };
            let packet = packet(options, flags, payload);
            let fragments = cut(&packet, largest);
            let (reassembled, first, still_more) = reassemble(&fragments, largest);
            prop_assert_eq!(&reassembled[..], &packet[20 + options.len()..]);
            prop_assert_eq!((first, still_more), (offset, more));
        }
    }

    #[test]
    fn only_copied_options_are_repeated() {
        let fragments = cut(&packet(&[7, 3, 4, 131, 3, 4, 0, 0], 0, 400), 200);
        assert_eq!(fragments[0][20..28], [7, 3, 4, 131, 3, 4, 0, 0]);
        assert_eq!(fragments[1][0], 0x46);
        assert_eq!(fragments[1][20..24], [131, 3, 4, 0]);
    }

    #[test]
    fn a_packet_that_must_not_be_fragmented_is_refused() {
        let packet = packet(&[], 0x4000, 400);
        let header = Header::parse(&packet).expect("well formed");
        assert!(Fragments::new(&packet, &header, 200).is_err());
    }
}
