//! GSA_REKEY (RFC 9838 §2.4.1): the one-way messages that bring new policy and keys to a whole group.
//!
//! * [`sender`] builds the final datagrams of a message; the key server commits them before it sends them,
//! * [`receiver`] is a member's side: authenticate, then change state, never the other way round,
//! * [`acknowledgement`] is our private answer of a member (exchange 240),
//! * [`key_tree`] is the key server's logical key hierarchy (RFC 9838 §3.2, Appendix A).

pub mod acknowledgement;
pub(crate) mod content;
mod error;
pub mod key_tree;
pub mod receiver;
mod rekey_sa;
pub mod sender;

pub use error::RekeyError;
