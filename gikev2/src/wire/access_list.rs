//! The ordered access list of a group, carried in our private GW policy attribute ACCESS_LIST.
//!
//! A GSA policy has one source and one destination selector; what a member must encrypt and what it
//! must leave in clear is a longer list whose order matters. Each entry on the wire:
//!
//! | octets | field |
//! |---|---|
//! | 1 | action: 0 deny (leave in clear), 1 permit (encrypt) |
//! | 1 | address family: 4 or 6 |
//! | 1 | IP protocol, 0 any |
//! | 2 | association that encrypts; 0 with deny |
//! | 4+4 or 16+16 | source range |
//! | 4+4 or 16+16 | destination range |
//! | 2+2 | source ports |
//! | 2+2 | destination ports |

use super::error::{ParseError, WriteError};
use super::reader::Reader;
use super::ts::{AddressRange, PortRange};
use super::writer::Writer;

/// Most entries accepted in one list.
pub const MOST_ENTRIES: usize = 2048;

/// What to do with a packet that an entry matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccessAction {
    /// Leave the packet in clear.
    Deny,
    /// Encrypt the packet with the association of this number (GSA attribute ASSOCIATION).
    Permit {
        /// The association's number.
        association: u16,
    },
}

/// One entry; source and destination are of the same family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccessEntry {
    /// What to do.
    pub action: AccessAction,
    /// IP protocol number; 0 is any.
    pub protocol: u8,
    /// Source addresses.
    pub source: AddressRange,
    /// Destination addresses.
    pub destination: AddressRange,
    /// Source ports.
    pub source_ports: PortRange,
    /// Destination ports.
    pub destination_ports: PortRange,
}

/// The complete list; the first entry that matches decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessList {
    /// The entries, in order.
    pub entries: Vec<AccessEntry>,
}

impl AccessList {
    /// Reads the value of the attribute.
    ///
    /// # Errors
    /// [`ParseError`] naming the field that is wrong, or that there are too many entries.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let mut entries = Vec::new();
        while !reader.is_empty() {
            if entries.len() == MOST_ENTRIES {
                return Err(ParseError::TooMany {
                    field: "access list entries",
                    offset: reader.offset(),
                    limit: MOST_ENTRIES,
                });
            }
            entries.push(AccessEntry::parse(reader)?);
        }
        Ok(Self { entries })
    }

    /// Writes the value of the attribute.
    ///
    /// # Errors
    /// [`WriteError`] when there are too many entries or one mixes address families.
    pub fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        if self.entries.len() > MOST_ENTRIES {
            return Err(WriteError::TooLong {
                field: "access list entries",
                limit: MOST_ENTRIES,
                found: self.entries.len(),
            });
        }
        self.entries
            .iter()
            .try_for_each(|entry| entry.write(writer))
    }
}

impl AccessEntry {
    fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let offset = reader.offset();
        let action = reader.u8("access list action")?;
        let family_offset = reader.offset();
        let family = reader.u8("access list family")?;
        let ipv4 = match family {
            4 => true,
            6 => false,
            other => {
                return Err(ParseError::Value {
                    field: "access list family",
                    offset: family_offset,
                    expected: "4 or 6",
                    found: u64::from(other),
                });
            }
        };
        let protocol = reader.u8("access list protocol")?;
        let association_offset = reader.offset();
        let association = reader.u16("access list association")?;
        let action = match (action, association) {
            (0, 0) => AccessAction::Deny,
            (0, other) => {
                return Err(ParseError::Value {
                    field: "access list association",
                    offset: association_offset,
                    expected: "0 with deny",
                    found: u64::from(other),
                });
            }
            (1, association) => AccessAction::Permit { association },
            (other, _) => {
                return Err(ParseError::Value {
                    field: "access list action",
                    offset,
                    expected: "0 or 1",
                    found: u64::from(other),
                });
            }
        };
        Ok(Self {
            action,
            protocol,
            source: AddressRange::parse(reader, ipv4, "access list source")?,
            destination: AddressRange::parse(reader, ipv4, "access list destination")?,
            source_ports: PortRange::parse(reader, "access list source ports")?,
            destination_ports: PortRange::parse(reader, "access list destination ports")?,
        })
    }

    fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        if self.source.is_ipv4() != self.destination.is_ipv4() {
            return Err(WriteError::Invalid {
                field: "access list entry",
                expected: "of one address family",
            });
        }
        let (action, association) = match self.action {
            AccessAction::Deny => (0, 0),
            AccessAction::Permit { association } => (1, association),
        };
        writer.u8(action);
        writer.u8(if self.source.is_ipv4() { 4 } else { 6 });
        writer.u8(self.protocol);
        writer.u16(association);
        self.source.write(writer);
        self.destination.write(writer);
        self.source_ports.write(writer);
        self.destination_ports.write(writer);
        Ok(())
    }
}
