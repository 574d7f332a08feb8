//! Secrets that are part of replicated state: erased when dropped, never printed.
//!
//! They can be serialised, because commands and snapshots have to carry them. Both are sealed before they reach a
//! disk and travel between key servers only inside mutual TLS; nothing else may serialise them.

use std::fmt;

use gikev2::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Secret octets inside commands and replicated state.
#[derive(Clone)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes octets over.
    pub fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// Draws `length` octets.
    pub fn random(length: usize, entropy: &mut dyn gikev2::Entropy) -> Self {
        let mut octets = vec![0; length];
        entropy.fill(&mut octets);
        Self::new(octets)
    }

    /// The octets. Whoever calls this must not copy them anywhere that outlives the secret.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A copy in the protocol library's own type.
    pub fn to_secret(&self) -> Secret {
        Secret::from_slice(&self.0)
    }
}

impl From<&Secret> for SecretBytes {
    fn from(secret: &Secret) -> Self {
        Self::new(secret.as_bytes().to_vec())
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for SecretBytes {}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SecretBytes({} octets)", self.0.len())
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(Visitor)
    }
}

struct Visitor;

impl serde::de::Visitor<'_> for Visitor {
    type Value = SecretBytes;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("octets")
    }

    fn visit_bytes<E: serde::de::Error>(self, octets: &[u8]) -> Result<SecretBytes, E> {
        Ok(SecretBytes::new(octets.to_vec()))
    }

    fn visit_byte_buf<E: serde::de::Error>(self, octets: Vec<u8>) -> Result<SecretBytes, E> {
        Ok(SecretBytes::new(octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_textual_form_shows_no_content() {
        assert_eq!(
            format!("{:?}", SecretBytes::new(b"key".to_vec())),
            "SecretBytes(3 octets)"
        );
    }
}
