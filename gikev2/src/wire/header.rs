//! The IKE header, 28 octets (RFC 7296 §3.1, RFC 9838 §4.1).

use super::error::{ParseError, WriteError};
use super::reader::Reader;
use super::registry::{ExchangeType, PayloadType};
use super::spi::IkeSpi;
use super::writer::Writer;

/// Octets of the header.
pub const HEADER_LENGTH: usize = 28;

/// Octets of the non-ESP marker in front of a message on port 4500 (RFC 3948 §2.2).
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// Version octet: major 2, minor 0.
pub const VERSION: u8 = 0x20;

/// Flags octet of the header. Unknown bits are kept as received, because a GSA_REKEY signature
/// covers the octet as sent (RFC 9838 §2.4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// The sender is the original initiator of the IKE SA.
    pub const INITIATOR: Self = Self(0x08);
    /// The sender supports a higher major version.
    pub const VERSION: Self = Self(0x10);
    /// The message is a response.
    pub const RESPONSE: Self = Self(0x20);

    /// The flags of a message, by who sends it and what it is.
    pub fn new(from_initiator: bool, response: bool) -> Self {
        let initiator = if from_initiator { 0x08 } else { 0 };
        let response = if response { 0x20 } else { 0 };
        Self(initiator | response)
    }

    /// Whether the sender is the original initiator of the IKE SA.
    pub fn is_initiator(self) -> bool {
        self.0 & Self::INITIATOR.0 != 0
    }

    /// Whether the message is a response.
    pub fn is_response(self) -> bool {
        self.0 & Self::RESPONSE.0 != 0
    }
}

/// The IKE header. The Length field is not a member: writing computes it and parsing checks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// SPI chosen by the original initiator; in a GSA_REKEY the first half of the Rekey SA's SPI.
    pub initiator_spi: IkeSpi,
    /// SPI chosen by the responder; in a GSA_REKEY the second half of the Rekey SA's SPI.
    pub responder_spi: IkeSpi,
    /// Type of the first payload.
    pub next_payload: PayloadType,
    /// Exchange type.
    pub exchange: ExchangeType,
    /// Flags.
    pub flags: Flags,
    /// Message ID.
    pub message_id: u32,
}

impl Header {
    /// Reads the header of a datagram (without non-ESP marker) and checks that its Length equals
    /// the datagram's.
    ///
    /// # Errors
    /// [`ParseError::Value`] for a major version other than 2, [`ParseError::Length`] when the Length
    /// field disagrees with the datagram, [`ParseError::Truncated`] for fewer than 28 octets.
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(datagram);
        let initiator_spi = IkeSpi(reader.array("initiator SPI")?);
        let responder_spi = IkeSpi(reader.array("responder SPI")?);
        let next_payload = PayloadType(reader.u8("next payload")?);
        let version = reader.u8("version")?;
        if version >> 4 != VERSION >> 4 {
            return Err(ParseError::Value {
                field: "version",
                offset: 17,
                expected: "major version 2",
                found: u64::from(version),
            });
        }
        let exchange = ExchangeType(reader.u8("exchange type")?);
        let flags = Flags(reader.u8("flags")?);
        let message_id = reader.u32("message ID")?;
        let length = reader.u32("length")?;
        if usize::try_from(length).ok() != Some(datagram.len()) {
            return Err(ParseError::Length {
                field: "length of the message",
                offset: 24,
                expected: "the length of the datagram",
                found: usize::try_from(length).unwrap_or(usize::MAX),
            });
        }
        Ok(Self {
            initiator_spi,
            responder_spi,
            next_payload,
            exchange,
            flags,
            message_id,
        })
    }

    /// The 28 octets of the header of a message of `length` octets in total.
    ///
    /// # Errors
    /// [`WriteError::TooLong`] when the length does not fit 32 bits.
    pub fn to_bytes(&self, length: usize) -> Result<[u8; HEADER_LENGTH], WriteError> {
        let length = u32::try_from(length).map_err(|_| WriteError::TooLong {
            field: "length of the message",
            limit: u32::MAX as usize,
            found: length,
        })?;
        let mut writer = Writer::new();
        writer.bytes(&self.initiator_spi.0);
        writer.bytes(&self.responder_spi.0);
        writer.u8(self.next_payload.0);
        writer.u8(VERSION);
        writer.u8(self.exchange.0);
        writer.u8(self.flags.0);
        writer.u32(self.message_id);
        writer.u32(length);
        let mut octets = [0; HEADER_LENGTH];
        octets.copy_from_slice(&writer.finish());
        Ok(octets)
    }
}
