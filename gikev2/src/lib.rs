//! G-IKEv2 (RFC 9838) protocol library: no I/O, no clock, no entropy of its own.
//!
//! The library turns datagrams into events and events into datagrams. Whoever owns the sockets,
//! the clock and the random source passes time and random octets in as arguments, so a whole
//! dialogue can be replayed exactly.
//!
//! * [`wire`] parses and writes payloads (RFC 7296 §3, RFC 9838 §4),
//! * [`crypto`] holds the algorithms and nothing of the protocol,
//! * [`keys`] derives and unwraps every key (RFC 7296 §2.14, RFC 9838 §3),
//! * [`exchange`] is what both ends share: Message IDs, retransmission, reassembly, cookies,
//! * [`initiator`] is the group member's end, [`responder`] the key server's,
//! * [`rekey`] builds and reads GSA_REKEY messages (RFC 9838 §2.4.1).
//!
//! ECDSA nonces and RSA-PSS salts are the one exception to "no entropy of its own": the
//! cryptographic library draws them itself, because a signature scheme must never depend on the
//! quality of a caller's random source.

pub mod crypto;
pub mod exchange;
pub mod initiator;
pub mod keys;
pub mod rekey;
pub mod responder;
pub mod wire;

use std::net::SocketAddr;

pub use crypto::secret::Secret;

/// A source of cryptographically secure random octets, lent by the caller.
///
/// Production passes the operating system's; a simulation passes a seeded generator.
pub trait Entropy {
    /// Fills `out` completely.
    fn fill(&mut self, out: &mut [u8]);
}

/// One datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// The UDP payload. Between ports 4500 it already begins with the four zero octets of the
    /// non-ESP marker (RFC 7296 §2.23, RFC 3948 §2.2).
    pub payload: Vec<u8>,
}
