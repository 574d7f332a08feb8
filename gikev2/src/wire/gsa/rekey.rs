//! The policy of the Rekey SA, protocol GIKE_UPDATE (RFC 9838 §4.4.2).

use crate::wire::attribute::{Attribute, write_long};
use crate::wire::error::{ParseError, WriteError};
use crate::wire::reader::Reader;
use crate::wire::registry::{GsaAttributeType, TransformType};
use crate::wire::sa::{Transform, parse_transforms, write_transforms};
use crate::wire::spi::RekeySpi;
use crate::wire::ts::TrafficSelector;
use crate::wire::writer::Writer;

use super::attributes::{AttributeReader, set_once};
use super::transform_of;

/// The policy of the Rekey SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RekeySaPolicy {
    /// SPI, as the headers of its GSA_REKEY messages carry it.
    pub spi: RekeySpi,
    /// Who sends: should be one address, UDP and one port.
    pub source: TrafficSelector,
    /// Where the messages go: one address, UDP and one port.
    pub destination: TrafficSelector,
    /// ENCR, KWA, at registration GCAUTH, and INTEG without AEAD (RFC 9838 §4.4.2.1).
    pub transforms: Vec<Transform>,
    /// GSA_KEY_LIFETIME: seconds of validity from receipt.
    pub lifetime_seconds: Option<u32>,
    /// GSA_INITIAL_MESSAGE_ID: the first Message ID to accept; absent means 0.
    pub initial_message_id: Option<u32>,
    /// GSA_NEXT_SPI: SPIs reserved for the SA's successors.
    pub next_spis: Vec<RekeySpi>,
    /// Attributes we do not know; ignored.
    pub unknown: Vec<Attribute>,
}

impl RekeySaPolicy {
    /// The transform of a type.
    pub fn transform(&self, transform_type: TransformType) -> Option<&Transform> {
        transform_of(&self.transforms, transform_type)
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let mut policy = Self {
            spi: RekeySpi(reader.array("GIKE_UPDATE SPI")?),
            source: TrafficSelector::parse(reader)?,
            destination: TrafficSelector::parse(reader)?,
            transforms: parse_transforms(reader)?,
            lifetime_seconds: None,
            initial_message_id: None,
            next_spis: Vec::new(),
            unknown: Vec::new(),
        };
        let mut attributes = AttributeReader::new(reader);
        while let Some(attribute) = attributes.next()? {
            match GsaAttributeType(attribute.attribute_type) {
                GsaAttributeType::KEY_LIFETIME => set_once(
                    &mut policy.lifetime_seconds,
                    attribute.long_u32("GSA_KEY_LIFETIME")?,
                    "GSA_KEY_LIFETIME",
                    attribute.offset,
                )?,
                GsaAttributeType::INITIAL_MESSAGE_ID => set_once(
                    &mut policy.initial_message_id,
                    attribute.long_u32("GSA_INITIAL_MESSAGE_ID")?,
                    "GSA_INITIAL_MESSAGE_ID",
                    attribute.offset,
                )?,
                GsaAttributeType::NEXT_SPI => policy
                    .next_spis
                    .push(RekeySpi(attribute.long_array("GSA_NEXT_SPI")?)),
                _ => policy.unknown.push(attribute.to_attribute()),
            }
        }
        Ok(policy)
    }

    pub(super) fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        writer.bytes(&self.spi.0);
        self.source.write(writer);
        self.destination.write(writer);
        write_transforms(writer, &self.transforms)?;
        if let Some(seconds) = self.lifetime_seconds {
            write_long(
                writer,
                GsaAttributeType::KEY_LIFETIME.0,
                &seconds.to_be_bytes(),
            )?;
        }
        if let Some(message_id) = self.initial_message_id {
            write_long(
                writer,
                GsaAttributeType::INITIAL_MESSAGE_ID.0,
                &message_id.to_be_bytes(),
            )?;
        }
        for spi in &self.next_spis {
            write_long(writer, GsaAttributeType::NEXT_SPI.0, &spi.0)?;
        }
        self.unknown
            .iter()
            .try_for_each(|attribute| attribute.write(writer))
    }
}
