//! Group Security Association payload (RFC 9838 §4.4): the policies of the group's SAs and of the group.

pub(crate) mod attributes;
pub mod data;
pub mod group_wide;
pub mod rekey;

use super::attribute::Attribute;
use super::error::{ParseError, WriteError};
use super::private::{FIRST_PRIVATE_ATTRIBUTE, PrivateUse};
use super::reader::Reader;
use super::registry::{ProtocolId, TransformType};
use super::sa::Transform;
use super::writer::Writer;

pub use data::{DataSaPolicy, Encapsulation};
pub use group_wide::{Direction, GroupWidePolicy};
pub use rekey::RekeySaPolicy;

/// Most SA policies accepted in one payload.
pub const MOST_POLICIES: usize = 512;
/// Most attributes accepted in one policy.
pub(crate) const MOST_ATTRIBUTES: usize = 64;

/// The GSA payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupSecurityAssociation {
    /// Policies of the group's SAs: at most one Rekey SA, any number of data SAs.
    pub policies: Vec<SaPolicy>,
    /// What belongs to the group and not to one SA.
    pub group_wide: Option<GroupWidePolicy>,
}

/// The policy of one SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaPolicy {
    /// The Rekey SA, GIKE_UPDATE.
    Rekey(RekeySaPolicy),
    /// A Data-Security SA, ESP or AH.
    Data(DataSaPolicy),
}

impl SaPolicy {
    /// The protocol identifier.
    pub fn protocol(&self) -> ProtocolId {
        match self {
            Self::Rekey(_) => ProtocolId::GIKE_UPDATE,
            Self::Data(policy) => policy.protocol,
        }
    }

    /// The transforms.
    pub fn transforms(&self) -> &[Transform] {
        match self {
            Self::Rekey(policy) => &policy.transforms,
            Self::Data(policy) => &policy.transforms,
        }
    }
}

/// The first transform of a type.
pub(crate) fn transform_of(
    transforms: &[Transform],
    transform_type: TransformType,
) -> Option<&Transform> {
    transforms
        .iter()
        .find(|transform| transform.transform_type == transform_type)
}

impl GroupSecurityAssociation {
    /// The Rekey SA's policy.
    pub fn rekey(&self) -> Option<&RekeySaPolicy> {
        self.policies.iter().find_map(|policy| match policy {
            SaPolicy::Rekey(policy) => Some(policy),
            SaPolicy::Data(_) => None,
        })
    }

    /// The data SAs' policies.
    pub fn data(&self) -> impl Iterator<Item = &DataSaPolicy> {
        self.policies.iter().filter_map(|policy| match policy {
            SaPolicy::Rekey(_) => None,
            SaPolicy::Data(policy) => Some(policy),
        })
    }

    /// What a peer may see that did not send our Vendor ID: the same without any private attribute.
    #[must_use]
    pub fn without_private_attributes(mut self) -> Self {
        for policy in &mut self.policies {
            match policy {
                SaPolicy::Rekey(policy) => strip(&mut policy.unknown),
                SaPolicy::Data(policy) => {
                    policy.activation_delay_ms = None;
                    policy.association = None;
                    policy.pseudotime_window_ms = None;
                    policy.encapsulation = None;
                    policy.lifetime_kilobytes = None;
                    strip(&mut policy.unknown);
                }
            }
        }
        if let Some(policy) = &mut self.group_wide {
            policy.pseudotime_ms = None;
            policy.access_list = None;
            policy.direction = None;
            policy.policy_revision = None;
            strip(&mut policy.unknown);
        }
        self
    }

    /// Reads the content of the payload: structure only; whoever uses it checks the rules.
    pub(crate) fn parse(reader: &mut Reader<'_>, private: PrivateUse) -> Result<Self, ParseError> {
        let mut gsa = Self::default();
        while !reader.is_empty() {
            let offset = reader.offset();
            let protocol = ProtocolId(reader.u8("GSA policy protocol")?);
            let spi_size = reader.u8("GSA policy SPI size")?;
            let mut body = reader.length_prefixed("GSA policy", 2)?;
            if protocol == ProtocolId::NONE {
                if gsa.group_wide.is_some() {
                    return Err(ParseError::Duplicate {
                        field: "GW policy",
                        offset,
                    });
                }
                gsa.group_wide = Some(GroupWidePolicy::parse(&mut body, private)?);
                continue;
            }
            if gsa.policies.len() == MOST_POLICIES {
                return Err(ParseError::TooMany {
                    field: "GSA policies",
                    offset,
                    limit: MOST_POLICIES,
                });
            }
            check_spi_size(protocol, spi_size, offset)?;
            let policy = if protocol == ProtocolId::GIKE_UPDATE {
                if gsa.rekey().is_some() {
                    return Err(ParseError::Duplicate {
                        field: "GIKE_UPDATE policy",
                        offset,
                    });
                }
                SaPolicy::Rekey(RekeySaPolicy::parse(&mut body)?)
            } else {
                SaPolicy::Data(DataSaPolicy::parse(protocol, &mut body, private)?)
            };
            gsa.policies.push(policy);
        }
        Ok(gsa)
    }

    /// Writes the content of the payload: SA policies, then the group-wide policy.
    pub(crate) fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        for policy in &self.policies {
            writer.u8(policy.protocol().0);
            match policy {
                SaPolicy::Rekey(policy) => {
                    writer.u8(16);
                    writer
                        .length_prefixed("GIKE_UPDATE policy", 2, |writer| policy.write(writer))?;
                }
                SaPolicy::Data(policy) => {
                    writer.u8(4);
                    writer.length_prefixed("data SA policy", 2, |writer| policy.write(writer))?;
                }
            }
        }
        if let Some(policy) = &self.group_wide {
            writer.u8(0);
            writer.u8(0);
            writer.length_prefixed("GW policy", 2, |writer| policy.write(writer))?;
        }
        Ok(())
    }
}

fn strip(attributes: &mut Vec<Attribute>) {
    attributes.retain(|attribute| attribute.attribute_type() < FIRST_PRIVATE_ATTRIBUTE);
}

/// Checks that the SPI Size is the one of the protocol (RFC 9838 §4.4.2): the field is under the
/// sender's control, the size is not.
pub(crate) fn check_spi_size(
    protocol: ProtocolId,
    spi_size: u8,
    offset: usize,
) -> Result<(), ParseError> {
    let expected = match protocol {
        ProtocolId::GIKE_UPDATE => 16,
        ProtocolId::ESP | ProtocolId::AH => 4,
        other => {
            return Err(ParseError::Value {
                field: "protocol of a policy or key bag",
                offset,
                expected: "0, 2, 3 or 6",
                found: u64::from(other.0),
            });
        }
    };
    if spi_size == expected {
        return Ok(());
    }
    Err(ParseError::Value {
        field: "SPI size of a policy or key bag",
        offset: offset.saturating_add(1),
        expected: "16 for GIKE_UPDATE and 4 for ESP and AH",
        found: u64::from(spi_size),
    })
}
