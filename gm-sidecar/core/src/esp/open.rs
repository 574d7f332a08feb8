//! Opening one packet in place.

use std::ops::Range;

use super::aead::{ICV, PacketAead};
use super::delay;
use super::layout::{HEADER, next_header};
use crate::data_plane::Family;
use crate::drop_reason::DropReason;
use crate::ip::protocol;
use crate::sad::Spi;

/// The part of an ESP packet that is readable before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    /// The SPI.
    pub spi: Spi,
    /// SPI and sequence number, as authenticated.
    pub associated: [u8; 8],
    /// The IV.
    pub iv: [u8; 8],
}

impl Envelope {
    /// Reads the head of `packet`; `None` when it is too short to hold anything, or is not whole
    /// words.
    #[inline]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        const SMALLEST: usize = HEADER + 4 + ICV;
        if packet.len() < SMALLEST || !packet.len().is_multiple_of(4) {
            return None;
        }
        let head: &[u8; HEADER] = packet.first_chunk()?;
        let associated = *head.first_chunk()?;
        Some(Self {
            spi: Spi(u32::from_be_bytes(*head.first_chunk()?)),
            associated,
            iv: *head.last_chunk()?,
        })
    }
}

/// An opened packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Where in the ESP packet the inner packet (perhaps followed by TFC padding) lies.
    pub inner: Range<usize>,
    /// The pseudotime it carries.
    pub pseudotime: Option<u64>,
}

/// Authenticates and decrypts `packet` in place and takes its trailer and pseudotime header off.
///
/// # Errors
/// The reason to drop it. Only packets that passed the ICV get any other reason than
/// [`DropReason::AuthenticationFailed`].
#[inline]
pub fn open(
    aead: &dyn PacketAead,
    salt: [u8; 4],
    envelope: &Envelope,
    family: Family,
    delay_header: bool,
    packet: &mut [u8],
) -> Result<Opened, DropReason> {
    let text_and_icv = packet.get_mut(HEADER..).ok_or(DropReason::EspMalformed)?;
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&salt);
    nonce[4..].copy_from_slice(&envelope.iv);
    aead.open(&nonce, &envelope.associated, text_and_icv)
        .map_err(|_| DropReason::AuthenticationFailed)?;

    let text_length = text_and_icv
        .len()
        .checked_sub(ICV)
        .ok_or(DropReason::EspMalformed)?;
    let text = text_and_icv
        .get(..text_length)
        .ok_or(DropReason::EspMalformed)?;
    let (padded, &[padding, next]) = text.split_last_chunk().ok_or(DropReason::BadPadding)?;
    let inner_length = padded
        .len()
        .checked_sub(usize::from(padding))
        .ok_or(DropReason::BadPadding)?;
    let (inner, filler) = padded
        .split_at_checked(inner_length)
        .ok_or(DropReason::BadPadding)?;
    if filler
        .iter()
        .zip(1u16..)
        .any(|(octet, expected)| u16::from(*octet) != expected)
    {
        return Err(DropReason::BadPadding);
    }
    if next == protocol::NO_NEXT_HEADER {
        return Err(DropReason::Dummy);
    }
    if !delay_header {
        return match next {
            _ if next == next_header(family) => Ok(Opened {
                inner: HEADER..HEADER + inner_length,
                pseudotime: None,
            }),
            protocol::EXPERIMENT => Err(DropReason::DelayHeader),
            _ => Err(DropReason::UnexpectedNextHeader),
        };
    }
    if next != protocol::EXPERIMENT {
        return Err(DropReason::DelayHeader);
    }
    let (after, milliseconds) = inner
        .first_chunk()
        .and_then(delay::read)
        .ok_or(DropReason::DelayHeader)?;
    if after != next_header(family) {
        return Err(DropReason::UnexpectedNextHeader);
    }
    Ok(Opened {
        inner: HEADER + delay::LENGTH..HEADER + inner_length,
        pseudotime: Some(milliseconds),
    })
}
