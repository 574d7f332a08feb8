//! Identification payloads IDi, IDr (RFC 7296 §3.5); the same value names a group in IDg.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::{ParseError, WriteError};
use super::reader::Reader;
use super::registry::IdType;
use super::writer::Writer;

/// Most octets of identification data accepted; a distinguished name is the longest kind in use.
pub const LONGEST_IDENTIFICATION: usize = 1024;

/// An identity: a type and its data. Equal means equal type and equal octets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identification {
    /// Kind of identity.
    pub id_type: IdType,
    /// Its octets, at most [`LONGEST_IDENTIFICATION`].
    pub data: Vec<u8>,
}

impl Identification {
    /// A fully-qualified domain name.
    pub fn fqdn(name: &str) -> Self {
        Self::new(IdType::FQDN, name.as_bytes())
    }

    /// A mail address.
    pub fn mail(address: &str) -> Self {
        Self::new(IdType::RFC822_ADDRESS, address.as_bytes())
    }

    /// Opaque octets.
    pub fn key_id(data: &[u8]) -> Self {
        Self::new(IdType::KEY_ID, data)
    }

    /// A group of our numbering: ID_KEY_ID with the number in network order (RFC 9838 §4.2).
    pub fn group(group_id: u32) -> Self {
        Self::new(IdType::KEY_ID, &group_id.to_be_bytes())
    }

    /// An address.
    pub fn address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::new(IdType::IPV4_ADDRESS, &address.octets()),
            IpAddr::V6(address) => Self::new(IdType::IPV6_ADDRESS, &address.octets()),
        }
    }

    /// A distinguished name, DER.
    pub fn distinguished_name(der: &[u8]) -> Self {
        Self::new(IdType::DER_ASN1_DN, der)
    }

    /// Any type and data.
    pub fn new(id_type: IdType, data: &[u8]) -> Self {
        Self {
            id_type,
            data: data.to_vec(),
        }
    }

    /// The group number, when the identity has the form made by [`Identification::group`].
    pub fn group_id(&self) -> Option<u32> {
        if self.id_type != IdType::KEY_ID {
            return None;
        }
        Some(u32::from_be_bytes(self.data.as_slice().try_into().ok()?))
    }

    /// The payload without its generic header: type, three zero octets, data. This is IDi' and IDr' of
    /// RFC 7296 §2.15.
    pub fn body(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(self.id_type.0);
        writer.bytes(&[0; 3]);
        writer.bytes(&self.data);
        writer.finish()
    }

    /// Reads the content of an identification payload.
    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let id_type = IdType(reader.u8("identification type")?);
        reader.take("identification reserved", 3)?;
        let offset = reader.offset();
        let data = reader.take_rest();
        if data.len() > LONGEST_IDENTIFICATION {
            return Err(ParseError::Length {
                field: "identification",
                offset,
                expected: "at most 1024",
                found: data.len(),
            });
        }
        let length_fits = match id_type {
            IdType::IPV4_ADDRESS => data.len() == 4,
            IdType::IPV6_ADDRESS => data.len() == 16,
            IdType::NULL => data.is_empty(),
            _ => true,
        };
        if !length_fits {
            return Err(ParseError::Length {
                field: "identification",
                offset,
                expected: "the length of its type",
                found: data.len(),
            });
        }
        Ok(Self {
            id_type,
            data: data.to_vec(),
        })
    }

    /// Writes the content of an identification payload.
    pub(crate) fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        if self.data.len() > LONGEST_IDENTIFICATION {
            return Err(WriteError::TooLong {
                field: "identification",
                limit: LONGEST_IDENTIFICATION,
                found: self.data.len(),
            });
        }
        writer.bytes(&self.body());
        Ok(())
    }
}

impl fmt::Display for Identification {
    /// Writes names as text when they are plain printable ASCII, everything else in hexadecimal, so that
    /// a peer cannot put control characters into a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.id_type.name().unwrap_or("ID");
        if let Some(group) = self.group_id() {
            return write!(formatter, "{name}:{group}");
        }
        match self.id_type {
            IdType::IPV4_ADDRESS => {
                if let Ok(octets) = <[u8; 4]>::try_from(self.data.as_slice()) {
                    return write!(formatter, "{name}:{}", Ipv4Addr::from(octets));
                }
            }
            IdType::IPV6_ADDRESS => {
                if let Ok(octets) = <[u8; 16]>::try_from(self.data.as_slice()) {
                    return write!(formatter, "{name}:{}", Ipv6Addr::from(octets));
                }
            }
            IdType::FQDN | IdType::RFC822_ADDRESS | IdType::KEY_ID
                if !self.data.is_empty() && self.data.iter().all(u8::is_ascii_graphic) =>
            {
                write!(formatter, "{name}:")?;
                return self
                    .data
                    .iter()
                    .try_for_each(|octet| write!(formatter, "{}", char::from(*octet)));
            }
            _ => {}
        }
        write!(formatter, "{name}:0x")?;
        self.data
            .iter()
            .try_for_each(|octet| write!(formatter, "{octet:02x}"))
    }
}
