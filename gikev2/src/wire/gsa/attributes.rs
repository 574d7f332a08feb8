//! Reading the attributes of policies and key bags: each type in its registered form, single-valued ones
//! at most once (RFC 9838 §4.4.2.2, §4.4.3.1, §4.5).

use crate::wire::attribute::Attribute;
use crate::wire::error::ParseError;
use crate::wire::reader::Reader;

use super::MOST_ATTRIBUTES;

/// An attribute as read, without copying its value.
pub(crate) struct RawAttribute<'a> {
    pub(crate) attribute_type: u16,
    pub(crate) offset: usize,
    value: Value<'a>,
}

enum Value<'a> {
    Short(u16),
    Long(Reader<'a>),
}

impl<'a> RawAttribute<'a> {
    /// The value of a short attribute.
    pub(crate) fn short(&self, field: &'static str) -> Result<u16, ParseError> {
        match &self.value {
            Value::Short(value) => Ok(*value),
            Value::Long(_) => Err(self.wrong_form(field, "in the short form")),
        }
    }

    /// The value of a long attribute.
    pub(crate) fn long(&self, field: &'static str) -> Result<Reader<'a>, ParseError> {
        match &self.value {
            Value::Short(_) => Err(self.wrong_form(field, "in the long form")),
            Value::Long(reader) => Ok(reader.clone()),
        }
    }

    /// The value of a long attribute of exactly `N` octets.
    pub(crate) fn long_array<const N: usize>(
        &self,
        field: &'static str,
    ) -> Result<[u8; N], ParseError> {
        let mut reader = self.long(field)?;
        let octets = reader.array(field)?;
        reader.finish(field)?;
        Ok(octets)
    }

    /// The value of a long attribute of exactly two octets.
    pub(crate) fn long_u16(&self, field: &'static str) -> Result<u16, ParseError> {
        self.long_array(field).map(u16::from_be_bytes)
    }

    /// The value of a long attribute of exactly four octets.
    pub(crate) fn long_u32(&self, field: &'static str) -> Result<u32, ParseError> {
        self.long_array(field).map(u32::from_be_bytes)
    }

    /// The value of a long attribute of exactly eight octets.
    pub(crate) fn long_u64(&self, field: &'static str) -> Result<u64, ParseError> {
        self.long_array(field).map(u64::from_be_bytes)
    }

    /// A copy that owns its value.
    pub(crate) fn to_attribute(&self) -> Attribute {
        match &self.value {
            Value::Short(value) => Attribute::Short {
                attribute_type: self.attribute_type,
                value: *value,
            },
            Value::Long(reader) => Attribute::Long {
                attribute_type: self.attribute_type,
                value: reader.clone().take_rest().to_vec(),
            },
        }
    }

    fn wrong_form(&self, field: &'static str, expected: &'static str) -> ParseError {
        ParseError::Value {
            field,
            offset: self.offset,
            expected,
            found: u64::from(self.attribute_type),
        }
    }
}

/// Walks the attributes that fill the rest of a structure.
pub(crate) struct AttributeReader<'r, 'a> {
    reader: &'r mut Reader<'a>,
    count: usize,
    limit: usize,
}

impl<'r, 'a> AttributeReader<'r, 'a> {
    /// Walks at most the usual number of attributes.
    pub(crate) fn new(reader: &'r mut Reader<'a>) -> Self {
        Self::with_limit(reader, MOST_ATTRIBUTES)
    }

    /// Walks at most `limit` attributes.
    pub(crate) fn with_limit(reader: &'r mut Reader<'a>, limit: usize) -> Self {
        Self {
            reader,
            count: 0,
            limit,
        }
    }

    /// The next attribute, or `None` at the end of the structure.
    pub(crate) fn next(&mut self) -> Result<Option<RawAttribute<'a>>, ParseError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        let offset = self.reader.offset();
        if self.count == self.limit {
            return Err(ParseError::TooMany {
                field: "attributes",
                offset,
                limit: self.limit,
            });
        }
        self.count += 1;
        let attribute_type = self.reader.u16("attribute type")?;
        let value = if attribute_type & 0x8000 != 0 {
            Value::Short(self.reader.u16("attribute value")?)
        } else {
            let length = usize::from(self.reader.u16("attribute length")?);
            Value::Long(self.reader.sub("attribute value", length)?)
        };
        Ok(Some(RawAttribute {
            attribute_type: attribute_type & 0x7fff,
            offset,
            value,
        }))
    }
}

/// Stores the value of a single-valued attribute.
pub(crate) fn set_once<T>(
    slot: &mut Option<T>,
    value: T,
    field: &'static str,
    offset: usize,
) -> Result<(), ParseError> {
    if slot.is_some() {
        return Err(ParseError::Duplicate { field, offset });
    }
    *slot = Some(value);
    Ok(())
}
