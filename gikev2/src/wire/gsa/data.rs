//! The policy of a Data-Security SA (RFC 9838 §4.4.2), with our private attributes.

use crate::wire::attribute::{Attribute, write_long};
use crate::wire::error::{ParseError, WriteError};
use crate::wire::private::PrivateUse;
use crate::wire::reader::Reader;
use crate::wire::registry::{GsaAttributeType, ProtocolId, TransformType};
use crate::wire::sa::{Transform, parse_transforms, write_transforms};
use crate::wire::spi::Spi;
use crate::wire::ts::TrafficSelector;
use crate::wire::writer::Writer;

use super::attributes::{AttributeReader, set_once};
use super::transform_of;

/// How ESP packets of an SA travel (private attribute ENCAPSULATION).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// IP protocol 50.
    Raw,
    /// In UDP, destination port 4500 (RFC 3948).
    Udp,
}

/// The policy of one Data-Security SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSaPolicy {
    /// ESP; AH is read but not used.
    pub protocol: ProtocolId,
    /// SPI, chosen by the key server.
    pub spi: Spi,
    /// Source of the packets to protect.
    pub source: TrafficSelector,
    /// Destination of the packets to protect.
    pub destination: TrafficSelector,
    /// ENCR and SN (RFC 9838 §4.4.2.1).
    pub transforms: Vec<Transform>,
    /// GSA_KEY_LIFETIME: seconds of validity from receipt.
    pub lifetime_seconds: Option<u32>,
    /// GSA_NEXT_SPI: SPIs reserved for the SA's successors.
    pub next_spis: Vec<Spi>,
    /// Ours, ACTIVATION_DELAY_MS: milliseconds from receipt until senders use this SA; overrides GWP_ATD.
    pub activation_delay_ms: Option<u32>,
    /// Ours, ASSOCIATION: number of the security association this key belongs to.
    pub association: Option<u16>,
    /// Ours, PSEUDOTIME_WINDOW_MS: present and not zero means that every ESP packet of the SA carries an IP-D3P
    /// header and must lie within this window.
    pub pseudotime_window_ms: Option<u32>,
    /// Ours, ENCAPSULATION.
    pub encapsulation: Option<Encapsulation>,
    /// Ours, LIFETIME_KILOBYTES: traffic after which the key must be replaced.
    pub lifetime_kilobytes: Option<u64>,
    /// Attributes we do not know; ignored.
    pub unknown: Vec<Attribute>,
}

impl DataSaPolicy {
    /// An ESP policy without attributes.
    pub fn esp(
        spi: Spi,
        source: TrafficSelector,
        destination: TrafficSelector,
        transforms: Vec<Transform>,
    ) -> Self {
        Self {
            protocol: ProtocolId::ESP,
            spi,
            source,
            destination,
            transforms,
            lifetime_seconds: None,
            next_spis: Vec::new(),
            activation_delay_ms: None,
            association: None,
            pseudotime_window_ms: None,
            encapsulation: None,
            lifetime_kilobytes: None,
            unknown: Vec::new(),
        }
    }

    /// The transform of a type.
    pub fn transform(&self, transform_type: TransformType) -> Option<&Transform> {
        transform_of(&self.transforms, transform_type)
    }

    pub(super) fn parse(
        protocol: ProtocolId,
        reader: &mut Reader<'_>,
        private: PrivateUse,
    ) -> Result<Self, ParseError> {
        let spi = Spi(reader.u32("data SA SPI")?);
        let source = TrafficSelector::parse(reader)?;
        let destination = TrafficSelector::parse(reader)?;
        let transforms = parse_transforms(reader)?;
        let mut policy = Self {
            protocol,
            ..Self::esp(spi, source, destination, transforms)
        };
        let mut attributes = AttributeReader::new(reader);
        while let Some(attribute) = attributes.next()? {
            let offset = attribute.offset;
            if private.hides(attribute.attribute_type) {
                policy.unknown.push(attribute.to_attribute());
                continue;
            }
            match GsaAttributeType(attribute.attribute_type) {
                GsaAttributeType::KEY_LIFETIME => set_once(
                    &mut policy.lifetime_seconds,
                    attribute.long_u32("GSA_KEY_LIFETIME")?,
                    "GSA_KEY_LIFETIME",
                    offset,
                )?,
                GsaAttributeType::INITIAL_MESSAGE_ID => {
                    return Err(ParseError::Value {
                        field: "GSA_INITIAL_MESSAGE_ID",
                        offset,
                        expected: "only in a GIKE_UPDATE policy",
                        found: u64::from(protocol.0),
                    });
                }
                GsaAttributeType::NEXT_SPI => policy
                    .next_spis
                    .push(Spi(attribute.long_u32("GSA_NEXT_SPI")?)),
                GsaAttributeType::ACTIVATION_DELAY_MS => set_once(
                    &mut policy.activation_delay_ms,
                    attribute.long_u32("ACTIVATION_DELAY_MS")?,
                    "ACTIVATION_DELAY_MS",
                    offset,
                )?,
                GsaAttributeType::ASSOCIATION => set_once(
                    &mut policy.association,
                    attribute.long_u16("ASSOCIATION")?,
                    "ASSOCIATION",
                    offset,
                )?,
                GsaAttributeType::PSEUDOTIME_WINDOW_MS => set_once(
                    &mut policy.pseudotime_window_ms,
                    attribute.long_u32("PSEUDOTIME_WINDOW_MS")?,
                    "PSEUDOTIME_WINDOW_MS",
                    offset,
                )?,
                GsaAttributeType::ENCAPSULATION => {
                    let value = match attribute.long_u16("ENCAPSULATION")? {
                        0 => Encapsulation::Raw,
                        1 => Encapsulation::Udp,
                        other => {
                            return Err(ParseError::Value {
                                field: "ENCAPSULATION",
                                offset,
                                expected: "0 or 1",
                                found: u64::from(other),
                            });
                        }
                    };
                    set_once(&mut policy.encapsulation, value, "ENCAPSULATION", offset)?;
                }
                GsaAttributeType::LIFETIME_KILOBYTES => set_once(
                    &mut policy.lifetime_kilobytes,
                    attribute.long_u64("LIFETIME_KILOBYTES")?,
                    "LIFETIME_KILOBYTES",
                    offset,
                )?,
                _ => policy.unknown.push(attribute.to_attribute()),
            }
        }
        Ok(policy)
    }

    pub(super) fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        writer.u32(self.spi.0);
        self.source.write(writer);
        self.destination.write(writer);
        write_transforms(writer, &self.transforms)?;
        let mut long = |attribute_type: GsaAttributeType, value: &[u8]| {
            write_long(writer, attribute_type.0, value)
        };
        if let Some(seconds) = self.lifetime_seconds {
            long(GsaAttributeType::KEY_LIFETIME, &seconds.to_be_bytes())?;
        }
        for spi in &self.next_spis {
            long(GsaAttributeType::NEXT_SPI, &spi.0.to_be_bytes())?;
        }
        if let Some(delay) = self.activation_delay_ms {
            long(GsaAttributeType::ACTIVATION_DELAY_MS, &delay.to_be_bytes())?;
        }
        if let Some(association) = self.association {
            long(GsaAttributeType::ASSOCIATION, &association.to_be_bytes())?;
        }
        if let Some(window) = self.pseudotime_window_ms {
            long(
                GsaAttributeType::PSEUDOTIME_WINDOW_MS,
                &window.to_be_bytes(),
            )?;
        }
        if let Some(encapsulation) = self.encapsulation {
            let value: u16 = match encapsulation {
                Encapsulation::Raw => 0,
                Encapsulation::Udp => 1,
            };
            long(GsaAttributeType::ENCAPSULATION, &value.to_be_bytes())?;
        }
        if let Some(kilobytes) = self.lifetime_kilobytes {
            long(
                GsaAttributeType::LIFETIME_KILOBYTES,
                &kilobytes.to_be_bytes(),
            )?;
        }
        self.unknown
            .iter()
            .try_for_each(|attribute| attribute.write(writer))
    }
}
