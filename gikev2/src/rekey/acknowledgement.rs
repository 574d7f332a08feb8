//! A member's acknowledgement of a GSA_REKEY: our private exchange 240, unicast to where the rekey came from.
//!
//! The message is an IKE header with the Rekey SA's SPI and the rekey's Message ID, and one notification with the
//! registration's identifier and a MAC over header and identifier. The MAC key was derived at registration and is
//! known to that member and the key servers only, so no member can acknowledge for another.

use crate::Secret;
use crate::crypto::prf;
use crate::wire::header::HEADER_LENGTH;
use crate::wire::private::ACKNOWLEDGEMENT_MAC_LENGTH;
use crate::wire::{
    ExchangeType, Flags, Header, Message, Notify, NotifyType, ParseError, Payload, PayloadType, RekeySpi, WriteError,
};

/// An acknowledgement as received. It proves nothing before [`Acknowledgement::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The Rekey SA.
    pub spi: RekeySpi,
    /// The acknowledged message.
    pub message_id: u32,
    /// The registration that acknowledges.
    pub registration_id: u64,
    header: [u8; HEADER_LENGTH],
    mac: [u8; ACKNOWLEDGEMENT_MAC_LENGTH],
}
