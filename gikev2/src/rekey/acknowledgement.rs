//! A member's acknowledgement of a GSA_REKEY: our private exchange 240, unicast to where the rekey came from.
//!
//! The message is an IKE header with the Rekey SA's SPI and the rekey's Message ID, and one notification with the
//! registration's identifier and a MAC over header and identifier. The MAC key was derived at registration and is
//! known to that member and the key servers only, so no member can acknowledge for another.

use crate::Secret;
use crate::crypto::prf::Prf;
use crate::wire::header::HEADER_LENGTH;
use crate::wire::message::write_clear;
use crate::wire::payload::PAYLOAD_HEADER_LENGTH;
use crate::wire::private::ACKNOWLEDGEMENT_MAC_LENGTH;
use crate::wire::{
    ExchangeType, Flags, Header, Message, Notify, NotifyType, ParseError, Payload, PayloadType,
    ProtocolId, RekeySpi, WriteError,
};

/// Octets of the notification in front of its data.
const NOTIFY_FIXED: usize = 4;

/// Octets of a registration identifier.
const REGISTRATION_ID_LENGTH: usize = 8;

/// Octets of an acknowledgement; all have the same length.
pub const ACKNOWLEDGEMENT_LENGTH: usize = HEADER_LENGTH
    + PAYLOAD_HEADER_LENGTH
    + NOTIFY_FIXED
    + REGISTRATION_ID_LENGTH
    + ACKNOWLEDGEMENT_MAC_LENGTH;

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

/// Why an acknowledgement could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AcknowledgementError {
    /// The octets cannot be parsed.
    #[error("malformed acknowledgement")]
    Malformed(#[source] ParseError),
    /// It parses, but is not an acknowledgement.
    #[error("not an acknowledgement")]
    NotAnAcknowledgement,
}

impl From<ParseError> for AcknowledgementError {
    fn from(error: ParseError) -> Self {
        Self::Malformed(error)
    }
}

fn header_of(spi: RekeySpi, message_id: u32) -> Header {
    Header {
        initiator_spi: spi.initiator_half(),
        responder_spi: spi.responder_half(),
        next_payload: PayloadType::NOTIFY,
        exchange: ExchangeType::GETVPN_REKEY_ACK,
        flags: Flags::RESPONSE,
        message_id,
    }
}

/// The acknowledgement of message `message_id` of a Rekey SA, without non-ESP marker. `key` is the
/// acknowledgement key of the registration.
///
/// # Errors
///
/// None that can happen; the writer's type says otherwise.
pub fn build(
    spi: RekeySpi,
    message_id: u32,
    registration_id: u64,
    key: &Secret,
) -> Result<Vec<u8>, WriteError> {
    let header = header_of(spi, message_id);
    let header_octets = header.to_bytes(ACKNOWLEDGEMENT_LENGTH)?;
    let registration = registration_id.to_be_bytes();
    let mac = Prf::HmacSha256.compute(key.as_bytes(), &[&header_octets, &registration]);
    let mut data = registration.to_vec();
    data.extend_from_slice(mac.as_bytes());
    write_clear(
        &header,
        &[Payload::Notify(Notify::new(
            NotifyType::GETVPN_REGISTRATION_ID,
            &data,
        ))],
    )
}

/// Reads an acknowledgement (without non-ESP marker).
///
/// # Errors
///
/// [`AcknowledgementError`].
pub fn parse(message: &[u8]) -> Result<Acknowledgement, AcknowledgementError> {
    let not_one = AcknowledgementError::NotAnAcknowledgement;
    let parsed = Message::parse(message)?;
    let header = parsed.header;
    if header.exchange != ExchangeType::GETVPN_REKEY_ACK || !header.flags.is_response() {
        return Err(not_one);
    }
    let [Payload::Notify(notify)] = parsed.clear.as_slice() else {
        return Err(not_one);
    };
    let about_ike_sa = notify.protocol == ProtocolId::NONE && notify.spi.is_empty();
    if notify.notify_type != NotifyType::GETVPN_REGISTRATION_ID
        || !about_ike_sa
        || parsed.protected.is_some()
    {
        return Err(not_one);
    }
    let (registration, mac) = notify
        .data
        .split_first_chunk::<REGISTRATION_ID_LENGTH>()
        .ok_or(not_one)?;
    Ok(Acknowledgement {
        spi: RekeySpi::from_header(&header),
        message_id: header.message_id,
        registration_id: u64::from_be_bytes(*registration),
        header: *message.first_chunk().ok_or(not_one)?,
        mac: mac.try_into().map_err(|_| not_one)?,
    })
}

impl Acknowledgement {
    /// Whether it was made with the acknowledgement key of its registration.
    #[must_use]
    pub fn verify(&self, key: &Secret) -> bool {
        let registration = self.registration_id.to_be_bytes();
        Prf::HmacSha256.verify(key.as_bytes(), &[&self.header, &registration], &self.mac)
    }
}
