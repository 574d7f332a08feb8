//! Algorithms: secrets, pseudorandom functions, authenticated encryption, key exchange, signatures and
//! certificates. Nothing here knows a message of the protocol.

pub mod aead;
pub mod certificate;
pub mod digest;
pub mod key_exchange;
pub mod prf;
pub mod public_key;
pub mod secret;
pub mod signature;

pub use aead::{AeadAlgorithm, AeadKey, OpenError};
pub use certificate::{CertificateError, PeerCertificate, TrustAnchors};
pub use key_exchange::{KeyExchangeError, PendingKeyExchange};
pub use prf::Prf;
pub use public_key::PublicKey;
pub use secret::Secret;
pub use signature::{SignatureAlgorithm, SignatureError, Signer};
