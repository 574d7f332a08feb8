//! Delete payload (RFC 7296 §3.11, RFC 9838 §2.4.3, §4.6).

use super::error::{ParseError, WriteError};
use super::reader::Reader;
use super::registry::ProtocolId;
use super::spi::{RekeySpi, Spi};
use super::writer::{Writer, length_u16};

/// Most SPIs accepted in one payload.
const MOST_SPIS: usize = 1024;

/// What to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delete {
    /// The IKE SA the message came over.
    IkeSa,
    /// Data-Security SAs; [`Spi::ZERO`] stands for all of them.
    Data {
        /// ESP or AH.
        protocol: ProtocolId,
        /// At least one SPI.
        spis: Vec<Spi>,
    },
    /// Rekey SAs; [`RekeySpi::ZERO`] excludes the receiver from the group.
    Rekey(Vec<RekeySpi>),
    /// The whole GSA: Protocol 0 without SPIs, accepted but never sent (RFC 9838 §4.6).
    Everything,
}

impl Delete {
    /// Deletes every ESP SA of the group.
    pub fn all_data() -> Self {
        Self::Data {
            protocol: ProtocolId::ESP,
            spis: vec![Spi::ZERO],
        }
    }

    /// Excludes the receivers from the group.
    pub fn exclusion() -> Self {
        Self::Rekey(vec![RekeySpi::ZERO])
    }

    /// Reads the content of the payload.
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let offset = reader.offset();
        let protocol = ProtocolId(reader.u8("delete protocol")?);
        let spi_size = reader.u8("delete SPI size")?;
        let count = usize::from(reader.u16("number of SPIs")?);
        let (size, at_least_one) = match protocol {
            ProtocolId::NONE | ProtocolId::IKE => (0, false),
            ProtocolId::ESP | ProtocolId::AH => (4, true),
            ProtocolId::GIKE_UPDATE => (16, true),
            other => {
                return Err(ParseError::Value {
                    field: "delete protocol",
                    offset,
                    expected: "0, 1, 2, 3 or 6",
                    found: u64::from(other.0),
                });
            }
        };
        if spi_size != size {
            return Err(ParseError::Value {
                field: "delete SPI size",
                offset: offset.saturating_add(1),
                expected: "the SPI size of its protocol",
                found: u64::from(spi_size),
            });
        }
        if (count > 0) != at_least_one {
            return Err(ParseError::Length {
                field: "number of SPIs",
                offset: offset.saturating_add(2),
                expected: "none for an IKE SA, at least one otherwise",
                found: count,
            });
        }
        if count > MOST_SPIS {
            return Err(ParseError::TooMany {
                field: "deleted SPIs",
                offset: offset.saturating_add(4),
                limit: MOST_SPIS,
            });
        }
        match protocol {
            ProtocolId::IKE => Ok(Self::IkeSa),
            ProtocolId::NONE => Ok(Self::Everything),
            ProtocolId::GIKE_UPDATE => (0..count)
                .map(|_| reader.array("deleted SPI").map(RekeySpi))
                .collect::<Result<_, _>>()
                .map(Self::Rekey),
            protocol => (0..count)
                .map(|_| reader.u32("deleted SPI").map(Spi))
                .collect::<Result<_, _>>()
                .map(|spis| Self::Data { protocol, spis }),
        }
    }

    /// Writes the content of the payload.
    pub(crate) fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        let (protocol, size, count) = match self {
            Self::IkeSa => (ProtocolId::IKE, 0, 0),
            Self::Everything => (ProtocolId::NONE, 0, 0),
            Self::Data { protocol, spis } => (*protocol, 4, spis.len()),
            Self::Rekey(spis) => (ProtocolId::GIKE_UPDATE, 16, spis.len()),
        };
        if size != 0 && count == 0 {
            return Err(WriteError::Invalid {
                field: "deleted SPIs",
                expected: "at least one",
            });
        }
        writer.u8(protocol.0);
        writer.u8(size);
        writer.u16(length_u16("number of SPIs", count)?);
        match self {
            Self::IkeSa | Self::Everything => {}
            Self::Data { spis, .. } => spis.iter().for_each(|spi| writer.u32(spi.0)),
            Self::Rekey(spis) => spis.iter().for_each(|spi| writer.bytes(&spi.0)),
        }
        Ok(())
    }
}
