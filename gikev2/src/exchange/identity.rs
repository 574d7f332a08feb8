//! Patterns of identities, for lists of who may be what.

use crate::wire::{IdType, Identification};

/// Who is meant: one identity exactly, or every name under a domain.
///
/// Only ID_FQDN has a wildcard: a leading `*.` stands for one or more whole labels of a domain
/// name. Names compare without regard to ASCII case; everything else compares octet by octet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityPattern {
    id_type: IdType,
    pattern: Vec<u8>,
}

impl IdentityPattern {
    /// A pattern for identities of type `id_type`.
    pub fn new(id_type: IdType, pattern: impl Into<Vec<u8>>) -> Self {
        Self {
            id_type,
            pattern: pattern.into(),
        }
    }

    /// Whether `identity` is meant.
    pub fn matches(&self, identity: &Identification) -> bool {
        if identity.id_type != self.id_type {
            return false;
        }
        let data: &[u8] = &identity.data;
        match self.id_type {
            IdType::FQDN => match self.pattern.strip_prefix(b"*") {
                Some(suffix) if suffix.first() == Some(&b'.') && suffix.len() > 1 => {
                    data.len() > suffix.len()
                        && data.first() != Some(&b'.')
                        && data
                            .get(data.len().saturating_sub(suffix.len())..)
                            .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
                }
                _ => data.eq_ignore_ascii_case(&self.pattern),
            },
            IdType::RFC822_ADDRESS => data.eq_ignore_ascii_case(&self.pattern),
            _ => data == self.pattern.as_slice(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Identification {
        Identification {
            id_type: IdType::FQDN,
            data: text.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_wildcard_stands_for_whole_labels_only() {
        let pattern = IdentityPattern::new(IdType::FQDN, "*.keyserver.getvpn");
        assert!(pattern.matches(&name("ks-0.keyserver.getvpn")));
        assert!(pattern.matches(&name("KS-0.KeyServer.getvpn")));
        assert!(pattern.matches(&name("a.b.keyserver.getvpn")));
        assert!(!pattern.matches(&name("keyserver.getvpn")));
        assert!(!pattern.matches(&name(".keyserver.getvpn")));
        assert!(!pattern.matches(&name("evilkeyserver.getvpn")));
        assert!(!pattern.matches(&name("ks-0.keyserver.getvpn.example")));
    }

    #[test]
    fn a_bare_star_is_not_a_wildcard_and_types_must_agree() {
        assert!(!IdentityPattern::new(IdType::FQDN, "*").matches(&name("anything")));
        assert!(!IdentityPattern::new(IdType::FQDN, "*.").matches(&name("anything.")));
        assert!(!IdentityPattern::new(IdType::KEY_ID, "ks-0").matches(&name("ks-0")));
    }
}
