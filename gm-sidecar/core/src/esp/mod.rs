//! ESP in tunnel mode with address preservation (RFC 4303, RFC 5374 §3.1).
//!
//! ```text
//! SPI 4 | sequence number 4 | IV 8 | [pseudotime header 12 | inner packet | padding | pad length | next header] | ICV 16
//! ```

pub mod aead;
pub mod delay;
pub mod iv;
pub mod layout;
pub mod open;
pub mod seal;

pub use aead::{AeadProvider, AuthenticationFailed, KeyFingerprint, PacketAead};
pub use layout::Layout;
