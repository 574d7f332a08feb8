//! Vendor ID payload (RFC 7296 §3.12).

use super::private;
use super::reader::Reader;
use super::writer::Writer;

/// A vendor ID: opaque octets that announce private extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorId(pub Vec<u8>);

impl VendorId {
    /// Ours, see [`private::VENDOR_ID`].
    pub fn ours() -> Self {
        Self(private::VENDOR_ID.to_vec())
    }

    /// Whether the peer announces our private extensions.
    pub fn is_ours(&self) -> bool {
        self.0 == private::VENDOR_ID
    }

    /// Reads the content of the payload.
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Self {
        Self(reader.take_rest().to_vec())
    }

    /// Writes the content of the payload.
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.0);
    }
}
