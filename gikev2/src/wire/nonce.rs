//! Nonce payload (RFC 7296 §3.9).

use super::error::{ParseError, WriteError};
use super::reader::Reader;
use super::writer::Writer;

/// Octets of the nonces we send.
pub const NONCE_LENGTH: usize = 32;

/// A nonce, 16 to 256 octets (RFC 7296 §2.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(pub Vec<u8>);

impl Nonce {
    /// Reads the content of the payload.
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let offset = reader.offset();
        let data = reader.take_rest();
        if !(16..=256).contains(&data.len()) {
            return Err(ParseError::Length {
                field: "nonce",
                offset,
                expected: "16 to 256",
                found: data.len(),
            });
        }
        Ok(Self(data.to_vec()))
    }

    /// Writes the content of the payload.
    pub(crate) fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        if !(16..=256).contains(&self.0.len()) {
            return Err(WriteError::Invalid {
                field: "nonce",
                expected: "16 to 256 octets",
            });
        }
        writer.bytes(&self.0);
        Ok(())
    }
}
