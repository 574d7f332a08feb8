//! Key Download payload (RFC 9838 §4.5).

use super::attribute::{Attribute, write_long};
use super::error::{ParseError, WriteError};
use super::gsa::attributes::{AttributeReader, RawAttribute, set_once};
use super::gsa::check_spi_size;
use super::reader::Reader;
use super::registry::{GroupKeyBagAttributeType, MemberKeyBagAttributeType, ProtocolId};
use super::spi::{RekeySpi, Spi};
use super::writer::Writer;

/// Most key bags accepted in one payload.
pub const MOST_BAGS: usize = 512;
/// Most attributes accepted in one key bag: a key tree rekey carries one WRAP_KEY per subtree.
pub const MOST_KEYS: usize = 4096;
/// Least and most octets of a wrapped key: RFC 5649 output, of up to 256 octets of key (RFC 9838 §4.4.2.1.2).
const WRAPPED_LENGTHS: std::ops::RangeInclusive<usize> = 16..=264;
/// Most octets of an AUTH_KEY; an RSA key of 8192 bits needs about 1060.
const LONGEST_AUTH_KEY: usize = 2048;

/// The KD payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyDownload {
    /// The key bags.
    pub bags: Vec<KeyBag>,
}

/// A key bag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyBag {
    /// Group Key Bag of the Rekey SA.
    Rekey(RekeyKeyBag),
    /// Group Key Bag of a data SA.
    Data(DataKeyBag),
    /// Member Key Bag.
    Member(MemberKeyBag),
}

/// Keys of the Rekey SA (RFC 9838 §4.5.2): several SA_KEYs wrap the same keying material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RekeyKeyBag {
    /// SPI of the policy the key belongs to.
    pub spi: RekeySpi,
    /// SA_KEY, at least one; Key ID 0.
    pub sa_keys: Vec<WrappedKey>,
    /// Attributes we do not know; ignored.
    pub unknown: Vec<Attribute>,
}

/// Key of a data SA (RFC 9838 §4.5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKeyBag {
    /// ESP or AH.
    pub protocol: ProtocolId,
    /// SPI of the policy the key belongs to.
    pub spi: Spi,
    /// SA_KEY; Key ID 0 and KWK ID 0.
    pub sa_key: WrappedKey,
    /// Attributes we do not know; ignored.
    pub unknown: Vec<Attribute>,
}

/// What one member, or every member of a key tree, needs (RFC 9838 §4.5.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberKeyBag {
    /// WRAP_KEY: keys of the key tree; Key ID not 0.
    pub wrap_keys: Vec<WrappedKey>,
    /// AUTH_KEY: DER SubjectPublicKeyInfo that verifies GSA_REKEY messages.
    pub auth_key: Option<Vec<u8>>,
    /// GM_SENDER_ID: Sender-IDs for this member's exclusive use.
    pub sender_ids: Vec<u32>,
    /// Attributes we do not know; ignored.
    pub unknown: Vec<Attribute>,
}

/// A key encrypted with another key (RFC 9838 §4.5.4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WrappedKey {
    /// 0 for SA keying material, otherwise the ID of a key of the tree.
    pub key_id: u32,
    /// 0 for the default KWK (GSK_w of the SA carrying the message), otherwise the ID of the wrapping key.
    pub kwk_id: u32,
    /// Output of the key wrap algorithm.
    pub encrypted: Vec<u8>,
}

impl WrappedKey {
    fn parse(mut reader: Reader<'_>) -> Result<Self, ParseError> {
        let key_id = reader.u32("Key ID")?;
        let kwk_id = reader.u32("KWK ID")?;
        let offset = reader.offset();
        let encrypted = reader.take_rest();
        if !WRAPPED_LENGTHS.contains(&encrypted.len()) || !encrypted.len().is_multiple_of(8) {
            return Err(ParseError::Length {
                field: "encrypted key",
                offset,
                expected: "a multiple of 8 from 16 to 264",
                found: encrypted.len(),
            });
        }
        Ok(Self {
            key_id,
            kwk_id,
            encrypted: encrypted.to_vec(),
        })
    }

    fn write(&self, writer: &mut Writer, attribute_type: u16) -> Result<(), WriteError> {
        let mut value = Writer::new();
        value.u32(self.key_id);
        value.u32(self.kwk_id);
        value.bytes(&self.encrypted);
        write_long(writer, attribute_type, &value.finish())
    }
}

impl KeyDownload {
    /// The Rekey SA's bag.
    pub fn rekey(&self) -> Option<&RekeyKeyBag> {
        self.bags.iter().find_map(|bag| match bag {
            KeyBag::Rekey(bag) => Some(bag),
            KeyBag::Data(_) | KeyBag::Member(_) => None,
        })
    }

    /// The data SAs' bags.
    pub fn data(&self) -> impl Iterator<Item = &DataKeyBag> {
        self.bags.iter().filter_map(|bag| match bag {
            KeyBag::Data(bag) => Some(bag),
            KeyBag::Rekey(_) | KeyBag::Member(_) => None,
        })
    }

    /// The Member Key Bag.
    pub fn member(&self) -> Option<&MemberKeyBag> {
        self.bags.iter().find_map(|bag| match bag {
            KeyBag::Member(bag) => Some(bag),
            KeyBag::Rekey(_) | KeyBag::Data(_) => None,
        })
    }

    /// Reads the content of the payload: structure only; whoever uses it checks the rules.
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let mut download = Self::default();
        while !reader.is_empty() {
            let offset = reader.offset();
            if download.bags.len() == MOST_BAGS {
                return Err(ParseError::TooMany {
                    field: "key bags",
                    offset,
                    limit: MOST_BAGS,
                });
            }
            let protocol = ProtocolId(reader.u8("key bag protocol")?);
            let spi_size = reader.u8("key bag SPI size")?;
            let mut body = reader.length_prefixed("key bag", 2)?;
            let bag = if protocol == ProtocolId::NONE {
                if download.member().is_some() {
                    return Err(ParseError::Duplicate {
                        field: "Member Key Bag",
                        offset,
                    });
                }
                KeyBag::Member(MemberKeyBag::parse(&mut body)?)
            } else {
                check_spi_size(protocol, spi_size, offset)?;
                parse_group_bag(protocol, &mut body, offset)?
            };
            if matches!(bag, KeyBag::Rekey(_)) && download.rekey().is_some() {
                return Err(ParseError::Duplicate {
                    field: "Group Key Bag of the Rekey SA",
                    offset,
                });
            }
            download.bags.push(bag);
        }
        Ok(download)
    }

    /// Writes the content of the payload.
    pub(crate) fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        for bag in &self.bags {
            match bag {
                KeyBag::Rekey(bag) => {
                    writer.u8(ProtocolId::GIKE_UPDATE.0);
                    writer.u8(16);
                    writer.length_prefixed("Group Key Bag", 2, |writer| {
                        writer.bytes(&bag.spi.0);
                        write_group_bag(writer, &bag.sa_keys, &bag.unknown)
                    })?;
                }
                KeyBag::Data(bag) => {
                    writer.u8(bag.protocol.0);
                    writer.u8(4);
                    writer.length_prefixed("Group Key Bag", 2, |writer| {
                        writer.u32(bag.spi.0);
                        let keys = std::slice::from_ref(&bag.sa_key);
                        write_group_bag(writer, keys, &bag.unknown)
                    })?;
                }
                KeyBag::Member(bag) => {
                    writer.u8(0);
                    writer.u8(0);
                    writer.length_prefixed("Member Key Bag", 2, |writer| bag.write(writer))?;
                }
            }
        }
        Ok(())
    }
}

/// Reads the SPI and the attributes of a Group Key Bag.
fn parse_group_bag(
    protocol: ProtocolId,
    reader: &mut Reader<'_>,
    offset: usize,
) -> Result<KeyBag, ParseError> {
    let missing = ParseError::Missing {
        field: "SA_KEY",
        offset,
    };
    if protocol == ProtocolId::GIKE_UPDATE {
        let spi = RekeySpi(reader.array("key bag SPI")?);
        let (sa_keys, unknown) = parse_sa_keys(reader)?;
        if sa_keys.is_empty() {
            return Err(missing);
        }
        return Ok(KeyBag::Rekey(RekeyKeyBag {
            spi,
            sa_keys,
            unknown,
        }));
    }
    let spi = Spi(reader.u32("key bag SPI")?);
    let (mut sa_keys, unknown) = parse_sa_keys(reader)?;
    let sa_key = sa_keys.pop().ok_or(missing)?;
    if !sa_keys.is_empty() {
        return Err(ParseError::Duplicate {
            field: "SA_KEY of a data SA",
            offset,
        });
    }
    Ok(KeyBag::Data(DataKeyBag {
        protocol,
        spi,
        sa_key,
        unknown,
    }))
}

/// Reads the attributes of a Group Key Bag.
fn parse_sa_keys(reader: &mut Reader<'_>) -> Result<(Vec<WrappedKey>, Vec<Attribute>), ParseError> {
    let mut sa_keys = Vec::new();
    let mut unknown = Vec::new();
    let mut attributes = AttributeReader::with_limit(reader, MOST_KEYS);
    while let Some(attribute) = attributes.next()? {
        match GroupKeyBagAttributeType(attribute.attribute_type) {
            GroupKeyBagAttributeType::SA_KEY => {
                let key = WrappedKey::parse(attribute.long("SA_KEY")?)?;
                if key.key_id != 0 {
                    return Err(ParseError::Value {
                        field: "Key ID of an SA_KEY",
                        offset: attribute.offset,
                        expected: "0",
                        found: u64::from(key.key_id),
                    });
                }
                sa_keys.push(key);
            }
            _ => unknown.push(attribute.to_attribute()),
        }
    }
    Ok((sa_keys, unknown))
}

/// Writes the attributes of a Group Key Bag.
fn write_group_bag(
    writer: &mut Writer,
    sa_keys: &[WrappedKey],
    unknown: &[Attribute],
) -> Result<(), WriteError> {
    if sa_keys.is_empty() {
        return Err(WriteError::Invalid {
            field: "SA_KEY",
            expected: "at least one",
        });
    }
    for key in sa_keys {
        key.write(writer, GroupKeyBagAttributeType::SA_KEY.0)?;
    }
    unknown
        .iter()
        .try_for_each(|attribute| attribute.write(writer))
}

impl MemberKeyBag {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let mut bag = Self::default();
        let mut attributes = AttributeReader::with_limit(reader, MOST_KEYS);
        while let Some(attribute) = attributes.next()? {
            match MemberKeyBagAttributeType(attribute.attribute_type) {
                MemberKeyBagAttributeType::WRAP_KEY => {
                    let key = WrappedKey::parse(attribute.long("WRAP_KEY")?)?;
                    if key.key_id == 0 {
                        return Err(ParseError::Value {
                            field: "Key ID of a WRAP_KEY",
                            offset: attribute.offset,
                            expected: "not 0",
                            found: 0,
                        });
                    }
                    bag.wrap_keys.push(key);
                }
                MemberKeyBagAttributeType::AUTH_KEY => {
                    let mut value = attribute.long("AUTH_KEY")?;
                    if value.remaining() > LONGEST_AUTH_KEY {
                        return Err(ParseError::Length {
                            field: "AUTH_KEY",
                            offset: value.offset(),
                            expected: "at most 2048",
                            found: value.remaining(),
                        });
                    }
                    let key = value.take_rest().to_vec();
                    set_once(&mut bag.auth_key, key, "AUTH_KEY", attribute.offset)?;
                }
                MemberKeyBagAttributeType::GM_SENDER_ID => {
                    bag.sender_ids.push(parse_sender_id(&attribute)?);
                }
                _ => bag.unknown.push(attribute.to_attribute()),
            }
        }
        Ok(bag)
    }

    fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        for key in &self.wrap_keys {
            key.write(writer, MemberKeyBagAttributeType::WRAP_KEY.0)?;
        }
        if let Some(key) = &self.auth_key {
            write_long(writer, MemberKeyBagAttributeType::AUTH_KEY.0, key)?;
        }
        for sender_id in &self.sender_ids {
            let value = sender_id.to_be_bytes();
            write_long(writer, MemberKeyBagAttributeType::GM_SENDER_ID.0, &value)?;
        }
        self.unknown
            .iter()
            .try_for_each(|attribute| attribute.write(writer))
    }
}

/// A Sender-ID of one to four octets: RFC 9838 §4.5.3.3 does not fix the width.
fn parse_sender_id(attribute: &RawAttribute<'_>) -> Result<u32, ParseError> {
    let mut value = attribute.long("GM_SENDER_ID")?;
    if !(1..=4).contains(&value.remaining()) {
        return Err(ParseError::Length {
            field: "GM_SENDER_ID",
            offset: value.offset(),
            expected: "1 to 4",
            found: value.remaining(),
        });
    }
    Ok(value
        .take_rest()
        .iter()
        .fold(0, |sum, octet| (sum << 8) | u32::from(*octet)))
}
