//! What applying a command gave; the same on every key server.

use serde::{Deserialize, Serialize};

use crate::error::CodecError;

/// First octet of an encoded outcome.
const FORMAT: u8 = 1;

/// What applying a command gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done; there is nothing more to say.
    Done,
    /// A member was admitted.
    Registered {
        /// Its registration ID.
        registration_id: u64,
        /// The registration of the same identity that it replaces.
        replaced: Option<u64>,
    },
    /// Keys changed.
    Rekeyed {
        /// Generation of the group afterwards.
        generation: u64,
        /// Number of the rekey in its group, when members are told.
        number: Option<u64>,
    },
    /// The state moved on before the command came: nothing changed, plan it again.
    Superseded,
    /// The command cannot be done: nothing changed.
    Refused(Refused),
}

/// Why a command cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refused {
    /// No group of that number or name.
    #[error("there is no such group")]
    GroupNotFound,
    /// Another group has this number.
    #[error("another group already has this group ID")]
    GroupIdTaken,
    /// The number of a group never changes.
    #[error("the group ID of a group cannot change")]
    GroupIdImmutable,
    /// A key for this label exists and is another one.
    #[error("a different signing key is in use; approve the overwrite to replace it")]
    SigningKeyConflict,
    /// No signing key, so no keys.
    #[error("the group has no keys yet")]
    NoKeys,
    /// Every Sender-ID of the epoch was granted.
    #[error("the Sender-IDs of this epoch are used up")]
    SenderIdsExhausted,
    /// The key tree has no free leaf.
    #[error("the group is full")]
    GroupFull,
    /// The identity was evicted.
    #[error("the identity was evicted from the group")]
    Evicted,
    /// An SPI of the command is in use or was used.
    #[error("an SPI is already taken")]
    SpiTaken,
    /// The command contradicts itself or the state.
    #[error("the command is not consistent")]
    Inconsistent,
    /// The member registered again before this registration was committed.
    #[error("a later registration of the member is in force")]
    Overtaken,
}

impl Outcome {
    /// The octets to return through the log.
    ///
    /// # Errors
    /// [`CodecError::Encode`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        crate::snapshot::encode(FORMAT, self)
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`CodecError`] when the format is of another version or the octets are damaged.
    pub fn decode(octets: &[u8]) -> Result<Self, CodecError> {
        crate::snapshot::decode(FORMAT, octets)
    }
}
