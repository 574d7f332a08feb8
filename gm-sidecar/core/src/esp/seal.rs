//! Sealing one packet in place.

use super::aead::{ICV, PacketAead};
use super::delay;
use super::iv::IvFormat;
use super::layout::{HEADER, Layout, next_header};
use crate::data_plane::Family;
use crate::ip::protocol;
use crate::sad::{SenderId, Spi};

/// What is the same for all packets of a train.
#[derive(Debug, Clone, Copy)]
pub struct Sealer {
    /// The SA's SPI.
    pub spi: Spi,
    /// First four octets of the nonce.
    pub salt: [u8; 4],
    /// Shape of the IV.
    pub iv: IvFormat,
    /// Our Sender-ID.
    pub sender: SenderId,
    /// IP version of the inner packets.
    pub family: Family,
    /// Pseudotime to stamp, in milliseconds; `None` for SAs without a time window.
    pub pseudotime: Option<u64>,
}

impl Sealer {
    /// The shape of the packets.
    pub const fn layout(&self) -> Layout {
        Layout {
            delay_header: self.pseudotime.is_some(),
        }
    }

    /// Seals the `inner` octets that stand at [`Layout::inner_offset`] of `packet`, which has
    /// exactly [`Layout::sealed_length`] octets. `counter` is never used twice with this key and
    /// Sender-ID; its low half is the sequence number.
    ///
    /// # Panics
    /// When `packet` has another length.
    #[inline]
    pub fn seal(&self, aead: &dyn PacketAead, counter: u64, inner: usize, packet: &mut [u8]) {
        let layout = self.layout();
        assert_eq!(
            packet.len(),
            layout.sealed_length(inner),
            "the slot was made for this packet"
        );
        let (header, rest) = packet.split_at_mut(HEADER);
        let iv = self.iv.write(self.sender, counter);
        let mut associated = [0; 8];
        associated[..4].copy_from_slice(&self.spi.0.to_be_bytes());
        associated[4..].copy_from_slice(&(counter as u32).to_be_bytes());
        header[..8].copy_from_slice(&associated);
        header[8..].copy_from_slice(&iv);

        let (text, icv) = rest.split_at_mut(rest.len() - ICV);
        let mut next = next_header(self.family);
        if let Some(milliseconds) = self.pseudotime {
            text[..delay::LENGTH].copy_from_slice(&delay::write(self.family, milliseconds));
            next = protocol::EXPERIMENT;
        }
        let padding = layout.padding(inner);
        let end = text.len();
        // Padding counts up from 1 (RFC 4303 §2.4); there are at most three octets of it.
        text[end - 2 - padding..end - 2].copy_from_slice(&[1, 2, 3][..padding]);
        text[end - 2] = padding as u8;
        text[end - 1] = next;

        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.salt);
        nonce[4..].copy_from_slice(&iv);
        icv.copy_from_slice(&aead.seal(&nonce, &associated, text));
    }
}
