//! The explicit IV: Sender-ID, then the sender's own counter (RFC 6054 §3, RFC 9838 §2.5).

use crate::sad::SenderId;

/// How the 64 bits of the IV are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IvFormat {
    sender_id_bits: u32,
}

impl IvFormat {
    /// A format with Sender-IDs of 1 to 32 bits; `None` for any other number.
    pub const fn new(sender_id_bits: u8) -> Option<Self> {
        if sender_id_bits >= 1 && sender_id_bits <= 32 {
            Some(Self {
                sender_id_bits: sender_id_bits as u32,
            })
        } else {
            None
        }
    }

    /// Whether the Sender-ID fits its field.
    pub const fn fits(self, sender: SenderId) -> bool {
        (sender.0 as u64) < 1 << self.sender_id_bits
    }

    /// Bits of the counter.
    pub const fn counter_bits(self) -> u32 {
        64 - self.sender_id_bits
    }

    /// The largest counter.
    pub const fn last_counter(self) -> u64 {
        u64::MAX >> self.sender_id_bits
    }

    /// The IV of a sender's packet.
    #[inline]
    pub const fn write(self, sender: SenderId, counter: u64) -> [u8; 8] {
        ((sender.0 as u64) << self.counter_bits() | counter & self.last_counter()).to_be_bytes()
    }

    /// Sender and counter of an IV.
    #[inline]
    pub const fn read(self, iv: [u8; 8]) -> (SenderId, u64) {
        let iv = u64::from_be_bytes(iv);
        (
            SenderId((iv >> self.counter_bits()) as u32),
            iv & self.last_counter(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_bit_example_of_the_reference() {
        let format = IvFormat::new(12).expect("12 bits");
        assert_eq!(format.write(SenderId(5), 1), [0x00, 0x50, 0, 0, 0, 0, 0, 1]);
        assert_eq!(
            format.read([0x00, 0x50, 0, 0, 0, 0, 0, 1]),
            (SenderId(5), 1)
        );
    }

    #[test]
    fn every_width_keeps_sender_and_counter_apart() {
        for bits in [1, 8, 12, 16, 24, 32] {
            let format = IvFormat::new(bits).expect("a width");
            let sender = SenderId((u64::MAX >> (64 - u32::from(bits))) as u32);
            assert!(format.fits(sender));
            let iv = format.write(sender, format.last_counter());
            assert_eq!(iv, [0xff; 8]);
            assert_eq!(format.read(iv), (sender, format.last_counter()));
            assert!(bits == 32 || !format.fits(SenderId(sender.0 + 1)));
        }
        assert!(IvFormat::new(0).is_none() && IvFormat::new(33).is_none());
    }
}
