//! Key Exchange payload (RFC 7296 §3.4).

use super::error::ParseError;
use super::reader::Reader;
use super::registry::KeyExchangeMethod;
use super::writer::Writer;

/// A public value of a key exchange method; for ML-KEM the encapsulation key or the ciphertext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyExchange {
    /// The method the data belongs to.
    pub method: KeyExchangeMethod,
    /// The public value; its length is fixed by the method and checked where it is used.
    pub data: Vec<u8>,
}

impl KeyExchange {
    /// Reads the content of the payload.
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let method = KeyExchangeMethod(reader.u16("key exchange method")?);
        reader.u16("key exchange reserved")?;
        let offset = reader.offset();
        let data = reader.take_rest().to_vec();
        if data.is_empty() {
            return Err(ParseError::Length {
                field: "key exchange data",
                offset,
                expected: "at least 1",
                found: 0,
            });
        }
        Ok(Self { method, data })
    }

    /// Writes the content of the payload.
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.u16(self.method.0);
        writer.u16(0);
        writer.bytes(&self.data);
    }
}
