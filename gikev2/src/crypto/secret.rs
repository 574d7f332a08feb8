//! Octets that must not leak: erased when dropped, compared in constant time, never printed.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::Entropy;

/// Secret octets: a key, a shared secret, keying material.
///
/// There is no `Debug`, `Display`, `Clone` or serialisation on purpose. [`Secret::duplicate`] makes a second copy
/// where the protocol needs one, and is easy to search for.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes octets over.
    pub fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// Copies octets.
    pub fn from_slice(octets: &[u8]) -> Self {
        Self::new(octets.to_vec())
    }

    /// Draws `length` octets.
    pub fn random(length: usize, entropy: &mut dyn Entropy) -> Self {
        let mut octets = vec![0; length];
        entropy.fill(&mut octets);
        Self::new(octets)
    }

    /// The octets. Whoever calls this must not copy them anywhere that outlives the secret.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Number of octets.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no octets.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A second copy, erased on its own.
    pub fn duplicate(&self) -> Self {
        Self::from_slice(&self.0)
    }

    /// Whether the octets are equal, in time that depends only on the lengths.
    pub fn matches(&self, octets: &[u8]) -> bool {
        self.0.as_slice().ct_eq(octets).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.as_bytes())
    }
}

impl Eq for Secret {}
