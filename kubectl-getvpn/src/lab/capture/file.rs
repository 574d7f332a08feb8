//! Writes captured packets as a pcapng file (IETF draft-ietf-opsawg-pcapng), for tshark and
//! Wireshark.

use std::io::{self, Write};
use std::time::Duration;

/// Link type of Ethernet.
const ETHERNET: u16 = 1;

/// A pcapng file under way.
pub struct CaptureFile<W: Write> {
    out: W,
}

impl<W: Write> CaptureFile<W> {
    /// Begins the file and names the interfaces, in the order of their numbers.
    ///
    /// # Errors
    /// The output's error.
    pub fn new(out: W, interfaces: &[String]) -> io::Result<Self> {
        let mut file = Self { out };
        let mut section = Vec::new();
        section.extend(0x1a2b_3c4d_u32.to_le_bytes()); // byte-order magic
        section.extend([1, 0, 0, 0]); // version 1.0
        section.extend((-1_i64).to_le_bytes()); // length not given
        file.block(0x0a0d_0d0a, &section)?;
        for name in interfaces {
            let mut body = Vec::new();
            body.extend(ETHERNET.to_le_bytes());
            body.extend([0; 2]);
            body.extend(0_u32.to_le_bytes()); // no limit to the length of a packet
            option(&mut body, 2, name.as_bytes()); // if_name
            option(&mut body, 9, &[9]); // if_tsresol: nanoseconds
            option(&mut body, 0, &[]);
            file.block(1, &body)?;
        }
        Ok(file)
    }

    /// Adds one packet, seen on the interface with this number.
    ///
    /// # Errors
    /// The output's error.
    pub fn packet(&mut self, interface: u32, time: Duration, frame: &[u8]) -> io::Result<()> {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let [high, low] = [nanoseconds >> 32, nanoseconds & 0xffff_ffff]
            .map(|half| u32::try_from(half).unwrap_or(u32::MAX));
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let mut body = Vec::with_capacity(frame.len().saturating_add(24));
        for value in [interface, high, low, length, length] {
            body.extend(value.to_le_bytes());
        }
        body.extend(frame);
        self.block(6, &body)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The output's error.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let padding = body.len().wrapping_neg() % 4;
        let total = body.len().saturating_add(padding).saturating_add(12);
        let total =
            u32::try_from(total).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&total.to_le_bytes())?;
        self.out.write_all(body)?;
        self.out.write_all(&[0; 3][..padding])?;
        self.out.write_all(&total.to_le_bytes())
    }
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    body.extend(code.to_le_bytes());
    body.extend(length.to_le_bytes());
    body.extend(value);
    let padding = value.len().wrapping_neg() % 4;
    body.extend(std::iter::repeat_n(0, padding));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_padded_and_carries_its_length_at_both_ends() {
        let mut out = Vec::new();
        let mut file = CaptureFile::new(&mut out, &["m-1".to_owned()]).expect("memory");
        file.packet(0, Duration::from_nanos(5), b"12345")
            .expect("memory");
        file.finish().expect("memory");
        let (mut rest, mut kinds) = (out.as_slice(), Vec::new());
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().expect("four"));
            let total = usize::try_from(word(4)).expect("small");
            assert_eq!(total % 4, 0);
            assert_eq!(word(total - 4), word(4));
            kinds.push(word(0));
            rest = &rest[total..];
        }
        assert_eq!(kinds, [0x0a0d_0d0a, 1, 6]);
    }
}
