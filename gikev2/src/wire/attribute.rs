//! Attributes (RFC 7296 §3.3.5): the same two forms for transforms, GSA policies, group-wide
//! policies and key bags.

use super::error::{ParseError, WriteError};
use super::reader::Reader;
use super::writer::Writer;

/// Top bit of the type field: the attribute is short.
const SHORT_FORM: u16 = 0x8000;

/// One attribute. Which form a type has is part of its registration, so the form is kept and checked
/// by whoever knows the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// Type and 2-octet value ("TV", AF bit 1).
    Short {
        /// Attribute type, without the AF bit.
        attribute_type: u16,
        /// Value.
        value: u16,
    },
    /// Type, length, value ("TLV", AF bit 0).
    Long {
        /// Attribute type.
        attribute_type: u16,
        /// Value.
        value: Vec<u8>,
    },
}

impl Attribute {
    /// The attribute type.
    pub fn attribute_type(&self) -> u16 {
        match self {
            Self::Short { attribute_type, .. } | Self::Long { attribute_type, .. } => {
                *attribute_type
            }
        }
    }

    /// Reads one attribute.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] when it reaches past its parent.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let attribute_type = reader.u16("attribute type")?;
        if attribute_type & SHORT_FORM != 0 {
            return Ok(Self::Short {
                attribute_type: attribute_type & !SHORT_FORM,
                value: reader.u16("attribute value")?,
            });
        }
        let value = reader.length_prefixed_value("attribute value")?.to_vec();
        Ok(Self::Long {
            attribute_type,
            value,
        })
    }

    /// Writes the attribute.
    ///
    /// # Errors
    /// [`WriteError`] when the value does not fit or the type needs the top bit.
    pub fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        if self.attribute_type() & SHORT_FORM != 0 {
            return Err(WriteError::Invalid {
                field: "attribute type",
                expected: "below 32768",
            });
        }
        match self {
            Self::Short {
                attribute_type,
                value,
            } => {
                writer.u16(attribute_type | SHORT_FORM);
                writer.u16(*value);
                Ok(())
            }
            Self::Long {
                attribute_type,
                value,
            } => write_long(writer, *attribute_type, value),
        }
    }
}

/// Writes a long attribute without building an [`Attribute`].
pub(crate) fn write_long(
    writer: &mut Writer,
    attribute_type: u16,
    value: &[u8],
) -> Result<(), WriteError> {
    writer.u16(attribute_type);
    writer.u16(super::writer::length_u16("attribute value", value.len())?);
    writer.bytes(value);
    Ok(())
}

/// Writes a short attribute without building an [`Attribute`].
pub(crate) fn write_short(writer: &mut Writer, attribute_type: u16, value: u16) {
    writer.u16(attribute_type | SHORT_FORM);
    writer.u16(value);
}

impl<'a> Reader<'a> {
    /// Reads a 2-octet length that counts only the value, and the value.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] when the value reaches past the parent.
    pub fn length_prefixed_value(&mut self, field: &'static str) -> Result<&'a [u8], ParseError> {
        let length = usize::from(self.u16(field)?);
        self.take(field, length)
    }
}
