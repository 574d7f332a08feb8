//! Security Association payload, proposals and transforms (RFC 7296 §3.3, RFC 9838 §4.3).

use super::attribute::Attribute;
use super::error::{ParseError, WriteError};
use super::reader::Reader;
use super::registry::{
    EncryptionId, GroupControllerAuthenticationId, IntegrityId, KeyExchangeMethod, KeyWrapId,
    PrfId, ProtocolId, SequenceNumbersId, TransformAttributeType, TransformType,
};
use super::writer::{Writer, length_u8};

/// Most proposals accepted in one payload.
pub const MOST_PROPOSALS: usize = 32;
/// Most transforms accepted in one proposal or policy.
pub const MOST_TRANSFORMS: usize = 64;
/// Most attributes accepted in one transform.
const MOST_TRANSFORM_ATTRIBUTES: usize = 8;

/// Last Substruc of every proposal but the last.
const MORE_PROPOSALS: u8 = 2;
/// Last Substruc of every transform but the last.
const MORE_TRANSFORMS: u8 = 3;

/// A Security Association payload: an offer, an answer, or (as SAg) a list of capabilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityAssociation {
    /// The proposals, in order of preference.
    pub proposals: Vec<Proposal>,
}

/// One proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Proposal number; in SAg it links proposals into sets (RFC 9838 §2.3.3).
    pub number: u8,
    /// Protocol.
    pub protocol: ProtocolId,
    /// SPI: empty for the initial IKE SA and in SAg, 8 octets when an IKE SA is rekeyed.
    pub spi: Vec<u8>,
    /// Transforms; several of one type are alternatives.
    pub transforms: Vec<Transform>,
}

impl Proposal {
    /// A proposal without SPI.
    pub fn new(number: u8, protocol: ProtocolId, transforms: Vec<Transform>) -> Self {
        Self {
            number,
            protocol,
            spi: Vec::new(),
            transforms,
        }
    }

    /// The transforms of one type.
    pub fn of_type(&self, transform_type: TransformType) -> impl Iterator<Item = &Transform> {
        self.transforms
            .iter()
            .filter(move |transform| transform.transform_type == transform_type)
    }
}

/// One transform: an algorithm with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    /// What the algorithm is for.
    pub transform_type: TransformType,
    /// Transform ID, in the number space of the type.
    pub id: u16,
    /// Attributes, for example Key Length.
    pub attributes: Vec<Attribute>,
}

impl Transform {
    /// A transform without attributes.
    pub fn new(transform_type: TransformType, id: u16) -> Self {
        Self {
            transform_type,
            id,
            attributes: Vec::new(),
        }
    }

    /// An encryption algorithm; `key_bits` is the Key Length attribute, required for AES and not used
    /// for ChaCha20-Poly1305 (RFC 7634 §4).
    pub fn encryption(id: EncryptionId, key_bits: Option<u16>) -> Self {
        let mut transform = Self::new(TransformType::ENCRYPTION, id.0);
        transform
            .attributes
            .extend(key_bits.map(|value| Attribute::Short {
                attribute_type: TransformAttributeType::KEY_LENGTH.0,
                value,
            }));
        transform
    }

    /// A pseudorandom function.
    pub fn prf(id: PrfId) -> Self {
        Self::new(TransformType::PSEUDORANDOM_FUNCTION, id.0)
    }

    /// An integrity algorithm.
    pub fn integrity(id: IntegrityId) -> Self {
        Self::new(TransformType::INTEGRITY, id.0)
    }

    /// The key exchange method of IKE_SA_INIT.
    pub fn key_exchange(method: KeyExchangeMethod) -> Self {
        Self::new(TransformType::KEY_EXCHANGE, method.0)
    }

    /// The first additional key exchange (RFC 9370).
    pub fn additional_key_exchange(method: KeyExchangeMethod) -> Self {
        Self::new(TransformType::ADDITIONAL_KEY_EXCHANGE_1, method.0)
    }

    /// What the Sequence Number field of ESP means (RFC 9838 §4.4.2.1.3).
    pub fn sequence_numbers(id: SequenceNumbersId) -> Self {
        Self::new(TransformType::SEQUENCE_NUMBERS, id.0)
    }

    /// A key wrap algorithm (RFC 9838 §4.4.2.1.2).
    pub fn key_wrap(id: KeyWrapId) -> Self {
        Self::new(TransformType::KEY_WRAP, id.0)
    }

    /// GCAUTH Implicit (RFC 9838 §4.4.2.1.1).
    pub fn implicit_authentication() -> Self {
        Self::new(
            TransformType::GROUP_CONTROLLER_AUTHENTICATION,
            GroupControllerAuthenticationId::IMPLICIT.0,
        )
    }

    /// GCAUTH Digital Signature with the DER AlgorithmIdentifier of the signature (RFC 9838 §4.4.2.1.1).
    pub fn digital_signature(algorithm_identifier: &[u8]) -> Self {
        let mut transform = Self::new(
            TransformType::GROUP_CONTROLLER_AUTHENTICATION,
            GroupControllerAuthenticationId::DIGITAL_SIGNATURE.0,
        );
        transform.attributes.push(Attribute::Long {
            attribute_type: TransformAttributeType::SIGNATURE_ALGORITHM_IDENTIFIER.0,
            value: algorithm_identifier.to_vec(),
        });
        transform
    }

    /// The Key Length attribute in bits.
    pub fn key_length(&self) -> Option<u16> {
        self.attributes
            .iter()
            .find_map(|attribute| match attribute {
                Attribute::Short {
                    attribute_type,
                    value,
                } if *attribute_type == TransformAttributeType::KEY_LENGTH.0 => Some(*value),
                _ => None,
            })
    }

    /// The Signature Algorithm Identifier attribute, DER.
    pub fn signature_algorithm(&self) -> Option<&[u8]> {
        self.attributes
            .iter()
            .find_map(|attribute| match attribute {
                Attribute::Long {
                    attribute_type,
                    value,
                } if *attribute_type
                    == TransformAttributeType::SIGNATURE_ALGORITHM_IDENTIFIER.0 =>
                {
                    Some(value.as_slice())
                }
                _ => None,
            })
    }

    /// Whether the transform has an attribute we do not know, which rules it out (RFC 7296 §3.3.6).
    pub fn has_unknown_attribute(&self) -> bool {
        self.attributes.iter().any(|attribute| match attribute {
            Attribute::Short { attribute_type, .. } => {
                *attribute_type != TransformAttributeType::KEY_LENGTH.0
            }
            Attribute::Long { attribute_type, .. } => {
                *attribute_type != TransformAttributeType::SIGNATURE_ALGORITHM_IDENTIFIER.0
            }
        })
    }

    fn parse_body(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let transform_type = TransformType(reader.u8("transform type")?);
        reader.u8("transform reserved")?;
        let id = reader.u16("transform ID")?;
        let mut attributes = Vec::new();
        while !reader.is_empty() {
            if attributes.len() == MOST_TRANSFORM_ATTRIBUTES {
                return Err(ParseError::TooMany {
                    field: "transform attributes",
                    offset: reader.offset(),
                    limit: MOST_TRANSFORM_ATTRIBUTES,
                });
            }
            attributes.push(Attribute::parse(reader)?);
        }
        Ok(Self {
            transform_type,
            id,
            attributes,
        })
    }

    fn write(&self, writer: &mut Writer, last: bool) -> Result<(), WriteError> {
        writer.u8(if last { 0 } else { MORE_TRANSFORMS });
        writer.u8(0);
        writer.length_prefixed("transform", 2, |writer| {
            writer.u8(self.transform_type.0);
            writer.u8(0);
            writer.u16(self.id);
            self.attributes
                .iter()
                .try_for_each(|attribute| attribute.write(writer))
        })
    }
}

/// Reads transforms until the one whose Last Substruc is zero. There is no count in a GSA policy, so the
/// terminator is what ends the list (RFC 9838 §4.4.2).
pub(crate) fn parse_transforms(reader: &mut Reader<'_>) -> Result<Vec<Transform>, ParseError> {
    let mut transforms = Vec::new();
    loop {
        let offset = reader.offset();
        if transforms.len() == MOST_TRANSFORMS {
            return Err(ParseError::TooMany {
                field: "transforms",
                offset,
                limit: MOST_TRANSFORMS,
            });
        }
        let last = reader.u8("transform last substructure")?;
        if last != 0 && last != MORE_TRANSFORMS {
            return Err(ParseError::Value {
                field: "transform last substructure",
                offset,
                expected: "0 or 3",
                found: u64::from(last),
            });
        }
        reader.u8("transform reserved")?;
        let mut body = reader.length_prefixed("transform", 2)?;
        transforms.push(Transform::parse_body(&mut body)?);
        if last == 0 {
            return Ok(transforms);
        }
    }
}

/// Writes a non-empty list of transforms.
pub(crate) fn write_transforms(
    writer: &mut Writer,
    transforms: &[Transform],
) -> Result<(), WriteError> {
    let Some((last, others)) = transforms.split_last() else {
        return Err(WriteError::Invalid {
            field: "transforms",
            expected: "at least one",
        });
    };
    for transform in others {
        transform.write(writer, false)?;
    }
    last.write(writer, true)
}

impl SecurityAssociation {
    /// Reads the content of an SA payload.
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let mut proposals = Vec::new();
        loop {
            let offset = reader.offset();
            if proposals.len() == MOST_PROPOSALS {
                return Err(ParseError::TooMany {
                    field: "proposals",
                    offset,
                    limit: MOST_PROPOSALS,
                });
            }
            let last = reader.u8("proposal last substructure")?;
            if last != 0 && last != MORE_PROPOSALS {
                return Err(ParseError::Value {
                    field: "proposal last substructure",
                    offset,
                    expected: "0 or 2",
                    found: u64::from(last),
                });
            }
            reader.u8("proposal reserved")?;
            let body = reader.length_prefixed("proposal", 2)?;
            proposals.push(Proposal::parse_body(body)?);
            if last == 0 {
                return Ok(Self { proposals });
            }
        }
    }

    /// Writes the content of an SA payload.
    pub(crate) fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        let Some((last, others)) = self.proposals.split_last() else {
            return Err(WriteError::Invalid {
                field: "proposals",
                expected: "at least one",
            });
        };
        for proposal in others {
            proposal.write(writer, false)?;
        }
        last.write(writer, true)
    }
}

impl Proposal {
    fn parse_body(mut reader: Reader<'_>) -> Result<Self, ParseError> {
        let number = reader.u8("proposal number")?;
        let protocol = ProtocolId(reader.u8("proposal protocol")?);
        let spi_size = usize::from(reader.u8("proposal SPI size")?);
        let count_offset = reader.offset();
        let count = usize::from(reader.u8("number of transforms")?);
        let spi = reader.take("proposal SPI", spi_size)?.to_vec();
        let transforms = if count == 0 && reader.is_empty() {
            Vec::new()
        } else {
            parse_transforms(&mut reader)?
        };
        if transforms.len() != count {
            return Err(ParseError::Length {
                field: "number of transforms",
                offset: count_offset,
                expected: "the number of transforms present",
                found: count,
            });
        }
        reader.finish("proposal")?;
        Ok(Self {
            number,
            protocol,
            spi,
            transforms,
        })
    }

    fn write(&self, writer: &mut Writer, last: bool) -> Result<(), WriteError> {
        writer.u8(if last { 0 } else { MORE_PROPOSALS });
        writer.u8(0);
        let spi_size = length_u8("proposal SPI", self.spi.len())?;
        let count = length_u8("number of transforms", self.transforms.len())?;
        writer.length_prefixed("proposal", 2, |writer| {
            writer.u8(self.number);
            writer.u8(self.protocol.0);
            writer.u8(spi_size);
            writer.u8(count);
            writer.bytes(&self.spi);
            if self.transforms.is_empty() {
                return Ok(());
            }
            write_transforms(writer, &self.transforms)
        })
    }
}
