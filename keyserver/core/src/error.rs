//! Errors of encoding and of planning.

use gikev2::rekey::key_tree::KeyTreeError;
use gikev2::rekey::sender::BuildError;

/// Octets that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// A value cannot be written.
    #[error("the value cannot be encoded")]
    Encode(#[source] postcard::Error),
    /// The octets are empty.
    #[error("there are no octets to decode")]
    Empty,
    /// Written by another version.
    #[error("format version {found} cannot be read, only {expected}")]
    Version {
        /// The version this program reads.
        expected: u8,
        /// The version found.
        found: u8,
    },
    /// The octets are damaged.
    #[error("the octets cannot be decoded")]
    Decode(#[source] postcard::Error),
    /// Octets follow the value.
    #[error("{0} octets follow the value")]
    Trailing(usize),
}

/// Why a rekey could not be planned. The schedule tries again later.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The group has no signing key or no keys yet.
    #[error("the group has no keys yet")]
    NotEstablished,
    /// The signing key cannot be used.
    #[error("the signing key cannot be used")]
    SigningKey,
    /// The Rekey SA's keying material has the wrong length.
    #[error("the Rekey SA's keys cannot be used")]
    RekeySa,
    /// The key tree refused.
    #[error("the key tree refused the change")]
    Tree(#[from] KeyTreeError),
    /// The message cannot be built.
    #[error("the message cannot be built")]
    Build(#[from] BuildError),
    /// No more association numbers or SPIs.
    #[error("numbers of security associations are used up")]
    NumbersExhausted,
}
