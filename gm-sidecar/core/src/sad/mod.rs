//! The Security Association Database of the packet path.

mod key_material;

pub use key_material::{Algorithm, KeyMaterial, KeyMaterialError};

/// Security Parameters Index of an ESP SA (RFC 4303 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(pub u32);

impl std::fmt::Display for Spi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// A Sender-ID granted by the key server (RFC 9838 §2.5), right-aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderId(pub u32);
