//! The Group Identification payload IDg (RFC 9838 §4.2): the layout of an identification payload
//! under its own payload type.
//!
//! [`Identification`] is the value; this module holds what is particular to naming a group.

use super::id::Identification;
use super::registry::IdType;

/// Whether the identity may name a group: RFC 5374 §4.1.3.3 wants 4 to 255 octets for a KEY_ID, and
/// RFC 9838 §4.2 does not expect the two ASN.1 kinds.
pub fn names_a_group(identification: &Identification) -> bool {
    match identification.id_type {
        IdType::KEY_ID => (4..=255).contains(&identification.data.len()),
        IdType::IPV4_ADDRESS | IdType::IPV6_ADDRESS => true,
        IdType::FQDN | IdType::RFC822_ADDRESS => (1..=255).contains(&identification.data.len()),
        _ => false,
    }
}
