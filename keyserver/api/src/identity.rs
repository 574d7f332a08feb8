//! Identities of members and key servers, and the patterns that select them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Kind of an IKE identity (RFC 7296 §3.5), in the words of the configuration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IdentityKind {
    /// ID_FQDN: a host name.
    #[serde(rename = "FQDN")]
    Fqdn,
    /// ID_KEY_ID: opaque octets, written as text.
    #[serde(rename = "KeyID")]
    KeyId,
    /// ID_DER_ASN1_DN: the subject of a certificate, written as in RFC 4514.
    DistinguishedName,
    /// ID_IPV4_ADDR or ID_IPV6_ADDR.
    Address,
}

impl IdentityKind {
    /// The word used in configuration and status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fqdn => "FQDN",
            Self::KeyId => "KeyID",
            Self::DistinguishedName => "DistinguishedName",
            Self::Address => "Address",
        }
    }
}

impl fmt::Display for IdentityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An identity, or with `*` in its value a pattern of identities.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityPattern {
    /// Kind of identity; kinds never match each other.
    #[serde(rename = "type")]
    pub kind: IdentityKind,
    /// Value; `*` stands for any run of characters, dots included.
    pub value: String,
}

impl IdentityPattern {
    /// Whether the identity `value` of `kind` is selected. FQDNs compare without regard to ASCII case.
    pub fn matches(&self, kind: IdentityKind, value: &str) -> bool {
        if self.kind != kind {
            return false;
        }
        match kind {
            IdentityKind::Fqdn => wildcard(
                &self.value.to_ascii_lowercase(),
                &value.to_ascii_lowercase(),
            ),
            IdentityKind::KeyId | IdentityKind::DistinguishedName | IdentityKind::Address => {
                wildcard(&self.value, value)
            }
        }
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

/// Matches `text` against `pattern`, where `*` stands for any run of characters. Linear memory, no recursion.
fn wildcard(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        if let Some(middle) = last.replace(piece) {
            match rest.find(middle) {
                Some(at) => rest = &rest[at + middle.len()..],
                None => return false,
            }
        }
    }
    match last {
        None => rest.is_empty(),
        Some(suffix) => rest.ends_with(suffix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(kind: IdentityKind, value: &str) -> IdentityPattern {
        IdentityPattern {
            kind,
            value: value.to_owned(),
        }
    }

    #[test]
    fn a_star_matches_any_run_of_characters_and_nothing_else_is_special() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("*.member", "m-1.member", true),
            ("*.member", ".member", true),
            ("*.member", "m-1.members", false),
            ("m-*.member", "m-1.member", true),
            ("m-*-x-*.member", "m-1-x-2.member", true),
            ("m-*-x-*.member", "m-1-y-2.member", false),
            ("ab*ba", "aba", false),
            ("a.c", "abc", false),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn kinds_never_match_each_other_and_host_names_ignore_case() {
        let host = pattern(IdentityKind::Fqdn, "*.Member.getvpn");
        assert!(host.matches(IdentityKind::Fqdn, "M-1.member.GETVPN"));
        assert!(!host.matches(IdentityKind::KeyId, "m-1.member.getvpn"));
        let key = pattern(IdentityKind::KeyId, "abc");
        assert!(!key.matches(IdentityKind::KeyId, "ABC"));
    }
}
