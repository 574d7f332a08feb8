//! The Encrypted and Authenticated Fragment payload SKF (RFC 7383 §2.5).

use zeroize::Zeroizing;

use crate::crypto::aead::{AeadKey, IV_LENGTH, OpenError};

use super::encrypted::{ENCRYPTED_OVERHEAD, open_padded, seal_padded};
use super::error::{ParseError, WriteError};
use super::header::{HEADER_LENGTH, Header};
use super::reader::Reader;
use super::registry::PayloadType;
use super::writer::length_u16;

/// Octets of the fields Fragment Number and Total Fragments.
const NUMBERS_LENGTH: usize = 4;

/// Octets that a fragment message adds to its part of the chain: IKE header, SKF header, numbers, IV, Pad
/// Length, ICV.
pub const FRAGMENT_MESSAGE_OVERHEAD: usize = HEADER_LENGTH + ENCRYPTED_OVERHEAD + NUMBERS_LENGTH;

/// Which part of a message a fragment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentNumber {
    /// 1 to `total`.
    pub number: u16,
    /// Same in all fragments of a set.
    pub total: u16,
}

/// A received SKF payload, not opened yet.
#[derive(Debug, Clone, Copy)]
pub struct EncryptedFragment<'a> {
    /// Type of the first inner payload in fragment 1, [`PayloadType::NONE`] in the others.
    pub first_inner: PayloadType,
    /// Critical bit and reserved bits, as received.
    pub flags: u8,
    /// Which part this is.
    pub position: FragmentNumber,
    /// From the first octet of the IKE header to the last of Total Fragments.
    pub(crate) associated_data: &'a [u8],
    /// IV, ciphertext and ICV.
    pub(crate) body: &'a [u8],
}

impl EncryptedFragment<'_> {
    /// Verifies and decrypts this part of the inner chain.
    ///
    /// # Errors
    /// [`OpenError`] without detail: the fragment must be dropped silently.
    pub fn open(&self, key: &AeadKey) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        open_padded(key, self.associated_data, self.body)
    }
}

/// Reads Fragment Number and Total Fragments.
pub(crate) fn parse_numbers(reader: &mut Reader<'_>) -> Result<FragmentNumber, ParseError> {
    let offset = reader.offset();
    let number = reader.u16("fragment number")?;
    let total = reader.u16("total fragments")?;
    if number == 0 || number > total {
        return Err(ParseError::Value {
            field: "fragment number",
            offset,
            expected: "1 to total fragments",
            found: u64::from(number),
        });
    }
    Ok(FragmentNumber { number, total })
}

/// One fragment message holding `part` of the chain. `first_inner` goes into fragment 1 only; the header's Next
/// Payload is set here.
///
/// # Errors
/// [`WriteError`] when the part does not fit, or the position is not 1 to total.
pub fn seal_fragment(
    header: &Header,
    key: &AeadKey,
    iv: [u8; IV_LENGTH],
    first_inner: PayloadType,
    position: FragmentNumber,
    part: &[u8],
) -> Result<Vec<u8>, WriteError> {
    if position.number == 0 || position.number > position.total {
        return Err(WriteError::Invalid {
            field: "fragment number",
            expected: "1 to total fragments",
        });
    }
    let payload_length = part
        .len()
        .saturating_add(ENCRYPTED_OVERHEAD + NUMBERS_LENGTH);
    let header = Header {
        next_payload: PayloadType::ENCRYPTED_FRAGMENT,
        ..*header
    };
    let mut message = header
        .to_bytes(payload_length.saturating_add(HEADER_LENGTH))?
        .to_vec();
    let first_inner = if position.number == 1 {
        first_inner
    } else {
        PayloadType::NONE
    };
    message.extend_from_slice(&[first_inner.0, 0]);
    message.extend_from_slice(&length_u16("SKF payload", payload_length)?.to_be_bytes());
    message.extend_from_slice(&position.number.to_be_bytes());
    message.extend_from_slice(&position.total.to_be_bytes());
    seal_padded(&mut message, key, iv, part)?;
    Ok(message)
}
