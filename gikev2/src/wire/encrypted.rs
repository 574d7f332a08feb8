//! The Encrypted and Authenticated payload SK with an AEAD cipher (RFC 7296 §3.14, RFC 5282).

use zeroize::Zeroizing;

use crate::crypto::aead::{AeadKey, INTEGRITY_CHECK_LENGTH, IV_LENGTH, OpenError};

use super::error::{ParseError, WriteError};
use super::header::{HEADER_LENGTH, Header};
use super::payload::{Chain, PAYLOAD_HEADER_LENGTH};
use super::registry::PayloadType;
use super::writer::length_u16;

/// Octets an SK payload adds to the inner chain: header, IV, Pad Length, ICV.
pub const ENCRYPTED_OVERHEAD: usize =
    PAYLOAD_HEADER_LENGTH + IV_LENGTH + 1 + INTEGRITY_CHECK_LENGTH;

/// A received SK payload, not opened yet.
#[derive(Debug, Clone, Copy)]
pub struct EncryptedPayload<'a> {
    /// Type of the first payload inside.
    pub first_inner: PayloadType,
    /// Critical bit and reserved bits, as received: a GSA_REKEY signature covers them.
    pub flags: u8,
    /// From the first octet of the IKE header to the last of the SK header.
    pub(crate) associated_data: &'a [u8],
    /// IV, ciphertext and ICV.
    pub(crate) body: &'a [u8],
}

impl EncryptedPayload<'_> {
    /// Verifies and decrypts.
    ///
    /// # Errors
    /// [`OpenError`] without detail: the message must be dropped silently.
    pub fn open(&self, key: &AeadKey) -> Result<Chain, OpenError> {
        Ok(Chain {
            first: self.first_inner,
            octets: open_padded(key, self.associated_data, self.body)?,
        })
    }
}

/// Opens IV, ciphertext and ICV, and takes the padding off.
pub(crate) fn open_padded(
    key: &AeadKey,
    associated_data: &[u8],
    body: &[u8],
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let (iv, sealed) = body.split_first_chunk::<IV_LENGTH>().ok_or(OpenError)?;
    let mut octets = key.open(*iv, associated_data, sealed)?;
    let pad_length = usize::from(*octets.last().ok_or(OpenError)?);
    let chain_length = octets
        .len()
        .checked_sub(pad_length.saturating_add(1))
        .ok_or(OpenError)?;
    octets.truncate(chain_length);
    Ok(octets)
}

/// A whole message: header, SK payload with the chain inside. The header's Next Payload is set here.
///
/// `iv` must never repeat under the key (RFC 5282 §3).
///
/// # Errors
/// [`WriteError::TooLong`] when the chain does not fit one SK payload.
pub fn seal(
    header: &Header,
    key: &AeadKey,
    iv: [u8; IV_LENGTH],
    chain: &Chain,
) -> Result<Vec<u8>, WriteError> {
    let payload_length = chain.octets.len().saturating_add(ENCRYPTED_OVERHEAD);
    let header = Header {
        next_payload: PayloadType::ENCRYPTED,
        ..*header
    };
    let mut message = header
        .to_bytes(payload_length.saturating_add(HEADER_LENGTH))?
        .to_vec();
    message.extend_from_slice(&[chain.first.0, 0]);
    message.extend_from_slice(&length_u16("SK payload", payload_length)?.to_be_bytes());
    seal_padded(&mut message, key, iv, &chain.octets)?;
    Ok(message)
}

/// Appends IV, ciphertext of `plaintext` with an empty padding, and ICV. What the message holds so far is the
/// associated data.
pub(crate) fn seal_padded(
    message: &mut Vec<u8>,
    key: &AeadKey,
    iv: [u8; IV_LENGTH],
    plaintext: &[u8],
) -> Result<(), WriteError> {
    let mut padded = Zeroizing::new(Vec::with_capacity(
        plaintext.len().saturating_add(1 + INTEGRITY_CHECK_LENGTH),
    ));
    padded.extend_from_slice(plaintext);
    padded.push(0);
    key.seal(iv, message, &mut padded)
        .map_err(|_| WriteError::Invalid {
            field: "plaintext of an encrypted payload",
            expected: "shorter than the cipher's limit",
        })?;
    message.extend_from_slice(&iv);
    message.extend_from_slice(&padded);
    Ok(())
}

/// What a GSA_REKEY signature (RFC 9838 §2.4.1.1) and IntAuth (RFC 9242 §3.3.2) cover: `A | P`, header and SK
/// header with lengths as if IV, padding and ICV were absent, and the inner chain in clear.
///
/// `flags` is the second octet of the SK header as sent.
///
/// # Errors
/// [`WriteError::TooLong`] when the chain does not fit one SK payload.
pub fn authenticated_octets(
    header: &Header,
    flags: u8,
    chain: &Chain,
) -> Result<Zeroizing<Vec<u8>>, WriteError> {
    let payload_length = chain.octets.len().saturating_add(PAYLOAD_HEADER_LENGTH);
    let header = Header {
        next_payload: PayloadType::ENCRYPTED,
        ..*header
    };
    let mut octets = Zeroizing::new(Vec::with_capacity(payload_length + HEADER_LENGTH));
    octets.extend_from_slice(&header.to_bytes(payload_length.saturating_add(HEADER_LENGTH))?);
    octets.extend_from_slice(&[chain.first.0, flags]);
    octets.extend_from_slice(&length_u16("SK payload", payload_length)?.to_be_bytes());
    octets.extend_from_slice(&chain.octets);
    Ok(octets)
}

/// Refuses a body that cannot hold IV, Pad Length and ICV.
pub(crate) fn check_body(body: &[u8], offset: usize) -> Result<(), ParseError> {
    if body.len() > IV_LENGTH + INTEGRITY_CHECK_LENGTH {
        return Ok(());
    }
    Err(ParseError::Length {
        field: "encrypted payload",
        offset,
        expected: "at least IV, Pad Length and ICV",
        found: body.len(),
    })
}
