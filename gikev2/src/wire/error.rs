//! Why octets could not be read or a value could not be written.
//!
//! Messages name the field, the offset, what was expected and what was found. They never carry
//! text chosen by the peer.

use super::registry::PayloadType;

/// Why a message or a part of it was refused. Offsets count from the first octet of the buffer
/// that was parsed: the datagram, or the decrypted payload chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The buffer or the enclosing structure ends before the field does.
    #[error("{field} at offset {offset}: {expected} octets needed, {found} remain")]
    Truncated {
        /// What was being read.
        field: &'static str,
        /// Where it starts.
        offset: usize,
        /// Octets the field needs.
        expected: usize,
        /// Octets that remain.
        found: usize,
    },
    /// A length field, or the amount of octets present, is not one the field can have.
    #[error("{field} at offset {offset}: length must be {expected}, found {found}")]
    Length {
        /// What was being read.
        field: &'static str,
        /// Where it starts.
        offset: usize,
        /// The lengths that are allowed.
        expected: &'static str,
        /// The length found.
        found: usize,
    },
    /// A number is not one the field can have.
    #[error("{field} at offset {offset}: must be {expected}, found {found}")]
    Value {
        /// What was being read.
        field: &'static str,
        /// Where it starts.
        offset: usize,
        /// The values that are allowed.
        expected: &'static str,
        /// The value found.
        found: u64,
    },
    /// A structure that may appear once appears again.
    #[error("{field} at offset {offset}: appears more than once")]
    Duplicate {
        /// What was repeated.
        field: &'static str,
        /// Where the second one starts.
        offset: usize,
    },
    /// A structure that must appear does not.
    #[error("{field} at offset {offset}: missing")]
    Missing {
        /// What is missing.
        field: &'static str,
        /// Where the structure that lacks it starts.
        offset: usize,
    },
    /// More items than this implementation accepts.
    #[error("{field} at offset {offset}: more than {limit}")]
    TooMany {
        /// What there is too much of.
        field: &'static str,
        /// Where the first one over the limit starts.
        offset: usize,
        /// The limit.
        limit: usize,
    },
    /// A payload type we do not know has the critical bit set; answer with
    /// UNSUPPORTED_CRITICAL_PAYLOAD and this type (RFC 7296 §2.5).
    #[error("payload type {payload_type} is critical and not supported")]
    UnsupportedCriticalPayload {
        /// The type to echo in the notification.
        payload_type: PayloadType,
    },
}

/// Why a value could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The value does not fit its length field or the protocol's limit.
    #[error("{field}: {found} is more than the {limit} that fit")]
    TooLong {
        /// What was being written.
        field: &'static str,
        /// The greatest length or count that fits.
        limit: usize,
        /// The length or count of the value.
        found: usize,
    },
    /// The value breaks a rule of the format, for example an empty transform list.
    #[error("{field}: must be {expected}")]
    Invalid {
        /// What was being written.
        field: &'static str,
        /// The rule.
        expected: &'static str,
    },
}
