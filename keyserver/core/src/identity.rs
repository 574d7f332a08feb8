//! Identities of members in replicated state.

use std::fmt;

use gikev2::wire::{IdType, Identification};
use keyserver_api::identity::IdentityKind;
use serde::{Deserialize, Serialize};

/// A proven IKE identity: type and octets, compared exactly. An FQDN is kept in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MemberIdentity {
    id_type: u8,
    octets: Vec<u8>,
    /// For people and patterns. Part of the value, so every key server shows the same.
    text: String,
}

impl MemberIdentity {
    /// The identity of `identification`. `subject` is the certificate's subject as text, used for distinguished names.
    pub fn new(identification: &Identification, subject: Option<&str>) -> Self {
        let mut octets = identification.data.clone();
        if identification.id_type == IdType::FQDN {
            octets.make_ascii_lowercase();
        }
        let canonical = Identification {
            id_type: identification.id_type,
            data: octets.clone(),
        };
        let text = match (identification.id_type, subject) {
            (IdType::DER_ASN1_DN, Some(subject)) => subject.to_owned(),
            _ => value_of(&canonical),
        };
        Self {
            id_type: identification.id_type.0,
            octets,
            text,
        }
    }

    /// The kind used in policies; `None` for types no policy can name.
    pub fn kind(&self) -> Option<IdentityKind> {
        match IdType(self.id_type) {
            IdType::FQDN => Some(IdentityKind::Fqdn),
            IdType::KEY_ID => Some(IdentityKind::KeyId),
            IdType::DER_ASN1_DN => Some(IdentityKind::DistinguishedName),
            IdType::IPV4_ADDRESS | IdType::IPV6_ADDRESS => Some(IdentityKind::Address),
            _ => None,
        }
    }

    /// The value without its kind.
    pub fn value(&self) -> &str {
        &self.text
    }

    /// Whether this identity is meant by `name`: with its kind (`FQDN:m-1`) or without.
    pub fn is_named(&self, name: &str) -> bool {
        name == self.text || name == self.to_string()
    }
}

impl fmt::Display for MemberIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            Some(kind) => write!(formatter, "{kind}:{}", self.text),
            None => write!(formatter, "ID{}:{}", self.id_type, self.text),
        }
    }
}

/// What follows the type in the printed form: printable text, or hexadecimal with `0x`.
fn value_of(identification: &Identification) -> String {
    if identification.id_type == IdType::KEY_ID {
        // Printed as text also when it happens to have the four octets of a group number.
        return match std::str::from_utf8(&identification.data) {
            Ok(text) if !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic()) => {
                text.to_owned()
            }
            _ => identification
                .data
                .iter()
                .fold("0x".to_owned(), |text, octet| format!("{text}{octet:02x}")),
        };
    }
    let printed = identification.to_string();
    printed
        .split_once(':')
        .map_or(printed.as_str(), |(_, value)| value)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_lower_case_and_can_be_named_with_or_without_kind() {
        let identity = MemberIdentity::new(&Identification::new(IdType::FQDN, b"M-1.Member"), None);
        assert_eq!(identity.to_string(), "FQDN:m-1.member");
        assert!(identity.is_named("m-1.member") && identity.is_named("FQDN:m-1.member"));
        assert_eq!(
            identity,
            MemberIdentity::new(&Identification::new(IdType::FQDN, b"m-1.member"), None)
        );
    }

    #[test]
    fn octets_that_are_not_text_are_shown_in_hexadecimal() {
        let identity =
            MemberIdentity::new(&Identification::new(IdType::KEY_ID, &[0, 27, 255]), None);
        assert_eq!(identity.to_string(), "KeyID:0x001bff");
    }
}
