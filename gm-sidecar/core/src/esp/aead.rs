//! The cipher an SA uses, behind a trait: which library is fastest depends on the processor.

use crate::sad::KeyMaterial;

/// Octets of the ICV of every algorithm we use.
pub const ICV: usize = 16;

/// The ICV does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ICV does not fit")]
pub struct AuthenticationFailed;

/// One expanded key. It does not know the salt: the caller makes the whole nonce.
pub trait PacketAead: Send + Sync {
    /// Encrypts `text` in place and returns its ICV. The caller answers for the nonce: never twice
    /// under one key.
    fn seal(&self, nonce: &[u8; 12], associated: &[u8; 8], text: &mut [u8]) -> [u8; ICV];

    /// Decrypts `text_and_icv` in place; the plaintext is all but the last 16 octets.
    ///
    /// # Errors
    /// When the ICV does not fit; the octets are worthless then.
    fn open(
        &self,
        nonce: &[u8; 12],
        associated: &[u8; 8],
        text_and_icv: &mut [u8],
    ) -> Result<(), AuthenticationFailed>;
}

/// Tells keys apart without being one: a one-way function of algorithm, key and salt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyFingerprint(pub [u8; 16]);

/// A cryptographic library.
pub trait AeadProvider {
    /// Expands a key.
    fn expand(&self, key: &KeyMaterial) -> Box<dyn PacketAead>;

    /// The key's fingerprint; the same for the same key for as long as the process lives, and for
    /// different keys different but with negligible probability.
    fn fingerprint(&self, key: &KeyMaterial) -> KeyFingerprint;
}
