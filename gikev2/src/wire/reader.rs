//! A bounded reader: every step says which field it reads and stays inside its parent.

use super::error::ParseError;

/// Reads a slice from front to back. A reader made by [`Reader::sub`] cannot see past its own
/// end, so no nested structure can reach into what follows its parent.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, whose first octet is reported as offset 0 in errors.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::at(bytes, 0)
    }

    /// Reads `bytes`, whose first octet is reported as `offset` in errors.
    pub fn at(bytes: &'a [u8], offset: usize) -> Self {
        Self {
            rest: bytes,
            offset,
        }
    }

    /// Offset of the next octet.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Octets not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next octet, without reading it.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Reads `length` octets.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] when fewer remain.
    pub fn take(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], ParseError> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(ParseError::Truncated {
                field,
                offset: self.offset,
                expected: length,
                found: self.rest.len(),
            });
        };
        self.rest = rest;
        self.offset = self.offset.saturating_add(length);
        Ok(taken)
    }

    /// Reads all that remains.
    pub fn take_rest(&mut self) -> &'a [u8] {
        let taken = self.rest;
        self.offset = self.offset.saturating_add(taken.len());
        self.rest = &[];
        taken
    }

    /// A reader for the next `length` octets, which this reader then has behind it.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] when fewer remain.
    pub fn sub(&mut self, field: &'static str, length: usize) -> Result<Reader<'a>, ParseError> {
        let offset = self.offset;
        Ok(Reader::at(self.take(field, length)?, offset))
    }

    /// Reads a fixed number of octets.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] when fewer remain.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], ParseError> {
        let mut octets = [0; N];
        octets.copy_from_slice(self.take(field, N)?);
        Ok(octets)
    }

    /// Reads one octet.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] when none remains.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, ParseError> {
        self.array(field).map(u8::from_be_bytes)
    }

    /// Reads two octets in network order.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] when fewer remain.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, ParseError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Reads four octets in network order.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] when fewer remain.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, ParseError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Reads eight octets in network order.
    ///
    /// # Errors
    /// [`ParseError::Truncated`] when fewer remain.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, ParseError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// Reads a 2-octet length that counts from `counted_before` octets ahead of itself to the end of
    /// the structure, and returns a reader for what follows the length field.
    ///
    /// With `counted_before` 2 this is the payload, policy and bag length of RFC 7296 and RFC 9838:
    /// two octets, the length, the content.
    ///
    /// # Errors
    /// [`ParseError::Length`] when the length does not even cover itself,
    /// [`ParseError::Truncated`] when it reaches past the parent.
    pub fn length_prefixed(
        &mut self,
        field: &'static str,
        counted_before: usize,
    ) -> Result<Reader<'a>, ParseError> {
        let offset = self.offset;
        let found = usize::from(self.u16(field)?);
        let Some(length) = found.checked_sub(counted_before.saturating_add(2)) else {
            return Err(ParseError::Length {
                field,
                offset,
                expected: "at least the structure's own header",
                found,
            });
        };
        self.sub(field, length)
    }

    /// Ends the structure.
    ///
    /// # Errors
    /// [`ParseError::Length`] when octets remain.
    pub fn finish(self, field: &'static str) -> Result<(), ParseError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(ParseError::Length {
            field,
            offset: self.offset,
            expected: "no octets after the last field",
            found: self.rest.len(),
        })
    }
}
