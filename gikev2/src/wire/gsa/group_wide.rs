//! The group-wide policy (RFC 9838 §4.4.3), with our private attributes.

use crate::wire::access_list::AccessList;
use crate::wire::attribute::{Attribute, write_long, write_short};
use crate::wire::error::{ParseError, WriteError};
use crate::wire::private::PrivateUse;
use crate::wire::reader::Reader;
use crate::wire::registry::GroupWideAttributeType;
use crate::wire::writer::Writer;

use super::attributes::{AttributeReader, set_once};

/// Which way group traffic may flow at members (private attribute DIRECTION).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Members encrypt and decrypt.
    Both,
    /// Members only decrypt: used while a group is being introduced.
    ReceiveOnly,
}

/// What belongs to the group and not to one SA.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupWidePolicy {
    /// GWP_ATD: seconds from receipt until senders use new SAs.
    pub activation_delay_seconds: Option<u16>,
    /// GWP_DTD: seconds from receipt until deleted SAs are gone.
    pub deactivation_delay_seconds: Option<u16>,
    /// GWP_SENDER_ID_BITS: most significant bits of the IV that hold the Sender-ID.
    pub sender_id_bits: Option<u16>,
    /// Ours, PSEUDOTIME: the group's pseudotime in milliseconds when the message was built.
    pub pseudotime_ms: Option<u64>,
    /// Ours, ACCESS_LIST: the complete ordered list of what to encrypt.
    pub access_list: Option<AccessList>,
    /// Ours, DIRECTION.
    pub direction: Option<Direction>,
    /// Ours, POLICY_REVISION: grows with every change of the group's policy.
    pub policy_revision: Option<u64>,
    /// Attributes we do not know; ignored.
    pub unknown: Vec<Attribute>,
}

impl GroupWidePolicy {
    pub(super) fn parse(reader: &mut Reader<'_>, private: PrivateUse) -> Result<Self, ParseError> {
        let mut policy = Self::default();
        let mut attributes = AttributeReader::new(reader);
        while let Some(attribute) = attributes.next()? {
            let offset = attribute.offset;
            if private.hides(attribute.attribute_type) {
                policy.unknown.push(attribute.to_attribute());
                continue;
            }
            match GroupWideAttributeType(attribute.attribute_type) {
                GroupWideAttributeType::ACTIVATION_TIME_DELAY => set_once(
                    &mut policy.activation_delay_seconds,
                    attribute.short("GWP_ATD")?,
                    "GWP_ATD",
                    offset,
                )?,
                GroupWideAttributeType::DEACTIVATION_TIME_DELAY => set_once(
                    &mut policy.deactivation_delay_seconds,
                    attribute.short("GWP_DTD")?,
                    "GWP_DTD",
                    offset,
                )?,
                GroupWideAttributeType::SENDER_ID_BITS => set_once(
                    &mut policy.sender_id_bits,
                    attribute.short("GWP_SENDER_ID_BITS")?,
                    "GWP_SENDER_ID_BITS",
                    offset,
                )?,
                GroupWideAttributeType::PSEUDOTIME => set_once(
                    &mut policy.pseudotime_ms,
                    attribute.long_u64("PSEUDOTIME")?,
                    "PSEUDOTIME",
                    offset,
                )?,
                GroupWideAttributeType::ACCESS_LIST => {
                    let list = AccessList::parse(&mut attribute.long("ACCESS_LIST")?)?;
                    set_once(&mut policy.access_list, list, "ACCESS_LIST", offset)?;
                }
                GroupWideAttributeType::DIRECTION => {
                    let direction = match attribute.short("DIRECTION")? {
                        0 => Direction::Both,
                        1 => Direction::ReceiveOnly,
                        other => {
                            return Err(ParseError::Value {
                                field: "DIRECTION",
                                offset,
                                expected: "0 or 1",
                                found: u64::from(other),
                            });
                        }
                    };
                    set_once(&mut policy.direction, direction, "DIRECTION", offset)?;
                }
                GroupWideAttributeType::POLICY_REVISION => set_once(
                    &mut policy.policy_revision,
                    attribute.long_u64("POLICY_REVISION")?,
                    "POLICY_REVISION",
                    offset,
                )?,
                _ => policy.unknown.push(attribute.to_attribute()),
            }
        }
        Ok(policy)
    }

    pub(super) fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        if let Some(seconds) = self.activation_delay_seconds {
            write_short(
                writer,
                GroupWideAttributeType::ACTIVATION_TIME_DELAY.0,
                seconds,
            );
        }
        if let Some(seconds) = self.deactivation_delay_seconds {
            write_short(
                writer,
                GroupWideAttributeType::DEACTIVATION_TIME_DELAY.0,
                seconds,
            );
        }
        if let Some(bits) = self.sender_id_bits {
            write_short(writer, GroupWideAttributeType::SENDER_ID_BITS.0, bits);
        }
        if let Some(pseudotime) = self.pseudotime_ms {
            let value = pseudotime.to_be_bytes();
            write_long(writer, GroupWideAttributeType::PSEUDOTIME.0, &value)?;
        }
        if let Some(list) = &self.access_list {
            let mut value = Writer::new();
            list.write(&mut value)?;
            write_long(
                writer,
                GroupWideAttributeType::ACCESS_LIST.0,
                &value.finish(),
            )?;
        }
        if let Some(direction) = self.direction {
            let value = match direction {
                Direction::Both => 0,
                Direction::ReceiveOnly => 1,
            };
            write_short(writer, GroupWideAttributeType::DIRECTION.0, value);
        }
        if let Some(revision) = self.policy_revision {
            let value = revision.to_be_bytes();
            write_long(writer, GroupWideAttributeType::POLICY_REVISION.0, &value)?;
        }
        self.unknown
            .iter()
            .try_for_each(|attribute| attribute.write(writer))
    }
}
