//! Notify payload (RFC 7296 §3.10).

use super::error::{ParseError, WriteError};
use super::reader::Reader;
use super::registry::{HashAlgorithmId, NotifyType, PayloadType, ProtocolId};
use super::writer::{Writer, length_u8};

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Protocol of the SPI; [`ProtocolId::NONE`] without one.
    pub protocol: ProtocolId,
    /// SPI; empty for notifications about the IKE SA.
    pub spi: Vec<u8>,
    /// Message type.
    pub notify_type: NotifyType,
    /// Notification data.
    pub data: Vec<u8>,
}

impl Notify {
    /// A notification about the IKE SA, with data.
    pub fn new(notify_type: NotifyType, data: &[u8]) -> Self {
        Self {
            protocol: ProtocolId::NONE,
            spi: Vec::new(),
            notify_type,
            data: data.to_vec(),
        }
    }

    /// A notification about the IKE SA, without data.
    pub fn empty(notify_type: NotifyType) -> Self {
        Self::new(notify_type, &[])
    }

    /// UNSUPPORTED_CRITICAL_PAYLOAD naming the type (RFC 7296 §2.5).
    pub fn unsupported_critical_payload(payload_type: PayloadType) -> Self {
        Self::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, &[payload_type.0])
    }

    /// SIGNATURE_HASH_ALGORITHMS (RFC 7427 §4).
    pub fn signature_hash_algorithms(hashes: &[HashAlgorithmId]) -> Self {
        let data: Vec<u8> = hashes
            .iter()
            .flat_map(|hash| hash.0.to_be_bytes())
            .collect();
        Self::new(NotifyType::SIGNATURE_HASH_ALGORITHMS, &data)
    }

    /// The hash algorithms a SIGNATURE_HASH_ALGORITHMS notification lists; `None` for other types or an
    /// odd length.
    pub fn hash_algorithms(&self) -> Option<Vec<HashAlgorithmId>> {
        if self.notify_type != NotifyType::SIGNATURE_HASH_ALGORITHMS
            || !self.data.len().is_multiple_of(2)
        {
            return None;
        }
        let hashes = self.data.chunks_exact(2);
        Some(
            hashes
                .map(|pair| HashAlgorithmId(u16::from_be_bytes([pair[0], pair[1]])))
                .collect(),
        )
    }

    /// GROUP_SENDER asking for a number of Sender-IDs (RFC 9838 §4.7.4).
    pub fn group_sender(sender_ids: u32) -> Self {
        Self::new(NotifyType::GROUP_SENDER, &sender_ids.to_be_bytes())
    }

    /// The data as four octets in network order, if it has that length.
    pub fn data_u32(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.data.as_slice().try_into().ok()?))
    }

    /// The data as eight octets in network order, if it has that length.
    pub fn data_u64(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.data.as_slice().try_into().ok()?))
    }

    /// Reads the content of the payload.
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let protocol = ProtocolId(reader.u8("notify protocol")?);
        let spi_size = usize::from(reader.u8("notify SPI size")?);
        let notify_type = NotifyType(reader.u16("notify message type")?);
        let spi = reader.take("notify SPI", spi_size)?.to_vec();
        Ok(Self {
            protocol,
            spi,
            notify_type,
            data: reader.take_rest().to_vec(),
        })
    }

    /// Writes the content of the payload.
    pub(crate) fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        writer.u8(self.protocol.0);
        writer.u8(length_u8("notify SPI", self.spi.len())?);
        writer.u16(self.notify_type.0);
        writer.bytes(&self.spi);
        writer.bytes(&self.data);
        Ok(())
    }
}
