//! Protected messages as datagrams: one SK payload, or SKF fragments when it would be too long (RFC 7383).

use std::time::Instant;

use crate::crypto::aead::{AeadKey, IV_LENGTH};
use crate::wire::encrypted::{self, ENCRYPTED_OVERHEAD};
use crate::wire::fragment::{self, FRAGMENT_MESSAGE_OVERHEAD, FragmentNumber};
use crate::wire::header::HEADER_LENGTH;
use crate::wire::payload::Chain;
use crate::wire::{Header, Message, Protected, WriteError};

use super::reassembly::{MAXIMUM_FRAGMENTS, Part, Reassembly};

/// Octets of an IKE message that fit the smallest IPv6 packet every link carries (1280), after IPv6 header, UDP
/// header and non-ESP marker.
pub const DEFAULT_FRAGMENT_SIZE: usize = 1280 - 40 - 8 - 4;

/// Smallest fragment size in use: what fits an IPv4 packet of 576 octets (RFC 7383 §2.5.1).
pub const SMALLEST_FRAGMENT_SIZE: usize = 576 - 20 - 8 - 4;

/// Seals `chain` into the datagrams of one message.
///
/// `iv` gives the IV of a fragment, or of the whole message when called with zero; it must never give the same IV
/// twice under one key. With `fragment_size` a longer message is cut into fragments of at most that many octets.
///
/// # Errors
///
/// [`WriteError`] when the message does not fit one SK payload, or would need too many fragments.
pub(crate) fn seal(
    header: &Header,
    key: &AeadKey,
    mut iv: impl FnMut(u16) -> [u8; IV_LENGTH],
    chain: &Chain,
    fragment_size: Option<usize>,
) -> Result<Vec<Vec<u8>>, WriteError> {
    let whole = chain
        .octets
        .len()
        .saturating_add(HEADER_LENGTH + ENCRYPTED_OVERHEAD);
    let Some(size) = fragment_size.filter(|size| whole > *size) else {
        return Ok(vec![encrypted::seal(header, key, iv(0), chain)?]);
    };
    let room = size
        .max(SMALLEST_FRAGMENT_SIZE)
        .saturating_sub(FRAGMENT_MESSAGE_OVERHEAD)
        .max(1);
    let total = chain.octets.len().div_ceil(room);
    let too_long = WriteError::TooLong {
        field: "fragments",
        limit: usize::from(MAXIMUM_FRAGMENTS),
        found: total,
    };
    let total = u16::try_from(total)
        .ok()
        .filter(|total| *total <= MAXIMUM_FRAGMENTS)
        .ok_or(too_long)?;
    (1..=total)
        .zip(chain.octets.chunks(room))
        .map(|(number, part)| {
            let position = FragmentNumber { number, total };
            fragment::seal_fragment(header, key, iv(number), chain.first, position, part)
        })
        .collect()
}

/// What came out of a protected message.
pub(crate) enum Opened {
    /// The inner chain, and the critical and reserved bits in front of it as received.
    Complete(Chain, u8),
    /// A fragment was stored; others are missing.
    Incomplete,
    /// Not protected, an unwanted fragment, or the ICV does not verify. Nothing changed.
    Refused,
}

/// Verifies and decrypts what `message` protects, putting fragments together.
pub(crate) fn open(
    now: Instant,
    message: &Message<'_>,
    key: &AeadKey,
    reassembly: &mut Reassembly,
) -> Opened {
    match &message.protected {
        None => Opened::Refused,
        Some(Protected::Whole(payload)) => match payload.open(key) {
            Ok(chain) => {
                reassembly.clear();
                Opened::Complete(chain, payload.flags)
            }
            Err(_) => Opened::Refused,
        },
        Some(Protected::Fragment(payload)) => {
            let message_id = message.header.message_id;
            if !reassembly.wants(message_id, payload.position) {
                return Opened::Refused;
            }
            let Ok(octets) = payload.open(key) else {
                return Opened::Refused;
            };
            let part = Part {
                message_id,
                position: payload.position,
                first: payload.first_inner,
                flags: payload.flags,
                octets,
            };
            match reassembly.store(now, part) {
                Some((chain, flags)) => Opened::Complete(chain, flags),
                None => Opened::Incomplete,
            }
        }
    }
}

/// Whether `message` could be a repetition that asks for the cached answer: the whole message, or its first fragment
/// (RFC 7383 §2.6.1).
pub(crate) fn asks_for_answer(message: &Message<'_>) -> bool {
    match &message.protected {
        Some(Protected::Whole(_)) => true,
        Some(Protected::Fragment(payload)) => payload.position.number == 1,
        None => false,
    }
}

/// Whether the ICV of this one datagram verifies.
pub(crate) fn verifies(message: &Message<'_>, key: &AeadKey) -> bool {
    match &message.protected {
        Some(Protected::Whole(payload)) => payload.open(key).is_ok(),
        Some(Protected::Fragment(payload)) => payload.open(key).is_ok(),
        None => false,
    }
}
