//! Which algorithms protect an IKE SA: offers, and the choice among them (RFC 7296 §2.7, §3.3.6).

use crate::wire::KeyExchangeMethod;

/// One way to agree on the secret of an IKE SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyExchangeChoice {
    /// X25519 in IKE_SA_INIT and ML-KEM-768 in IKE_INTERMEDIATE (RFC 9370): safe while either holds.
    X25519MlKem768,
    /// X25519 alone.
    X25519,
    /// NIST P-256 alone.
    P256,
    /// NIST P-384 alone.
    P384,
}

impl KeyExchangeChoice {
    /// All of them, the preferred one first.
    pub const PREFERENCE: [Self; 4] = [Self::X25519MlKem768, Self::X25519, Self::P256, Self::P384];

    /// The method of transform type 4, whose KE payload is in IKE_SA_INIT.
    pub fn method(self) -> KeyExchangeMethod {
        match self {
            Self::X25519MlKem768 | Self::X25519 => KeyExchangeMethod::CURVE25519,
            Self::P256 => KeyExchangeMethod::ECP_256,
            Self::P384 => KeyExchangeMethod::ECP_384,
        }
    }

    /// The method of transform type 6, whose KE payload is in IKE_INTERMEDIATE.
    pub fn additional_method(self) -> Option<KeyExchangeMethod> {
        match self {
            Self::X25519MlKem768 => Some(KeyExchangeMethod::ML_KEM_768),
            Self::X25519 | Self::P256 | Self::P384 => None,
        }
    }
}
