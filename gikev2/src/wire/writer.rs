//! A writer whose length fields cannot be truncated: a structure that outgrows its length field
//! is an error.

use super::error::WriteError;

/// Appends fields to a buffer.
#[derive(Debug, Default)]
pub struct Writer {
    octets: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one octet.
    pub fn u8(&mut self, value: u8) {
        self.octets.push(value);
    }

    /// Appends two octets in network order.
    pub fn u16(&mut self, value: u16) {
        self.octets.extend_from_slice(&value.to_be_bytes());
    }

    /// Appends four octets in network order.
    pub fn u32(&mut self, value: u32) {
        self.octets.extend_from_slice(&value.to_be_bytes());
    }

    /// Appends eight octets in network order.
    pub fn u64(&mut self, value: u64) {
        self.octets.extend_from_slice(&value.to_be_bytes());
    }

    /// Appends octets as they are.
    pub fn bytes(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// Octets written so far.
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Writes a 2-octet length field and then `content`; the length counts from `counted_before`
    /// octets ahead of the field to the end of the content.
    ///
    /// # Errors
    /// [`WriteError::TooLong`] when the length does not fit, and what `content` returns.
    pub fn length_prefixed(
        &mut self,
        field: &'static str,
        counted_before: usize,
        content: impl FnOnce(&mut Self) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let start = self.octets.len();
        self.u16(0);
        content(self)?;
        let found = (self.octets.len() - start).saturating_add(counted_before);
        let length = length_u16(field, found)?;
        self.octets[start..start + 2].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// The octets written.
    pub fn finish(self) -> Vec<u8> {
        self.octets
    }
}

/// A length or count as two octets.
///
/// # Errors
/// [`WriteError::TooLong`] when it does not fit.
pub fn length_u16(field: &'static str, found: usize) -> Result<u16, WriteError> {
    u16::try_from(found).map_err(|_| WriteError::TooLong {
        field,
        limit: usize::from(u16::MAX),
        found,
    })
}

/// A length or count as one octet.
///
/// # Errors
/// [`WriteError::TooLong`] when it does not fit.
pub fn length_u8(field: &'static str, found: usize) -> Result<u8, WriteError> {
    u8::try_from(found).map_err(|_| WriteError::TooLong {
        field,
        limit: usize::from(u8::MAX),
        found,
    })
}
