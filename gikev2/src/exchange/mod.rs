//! What both ends of an IKE SA share: Message IDs, retransmission, fragments, cookies, NAT detection, the choice of
//! algorithms, the key schedule, and proofs of identity.
//!
//! Nothing here knows whether it serves a member or a key server.

pub mod authentication;
pub(crate) mod cookie;
pub mod datagram;
pub(crate) mod download;
pub mod identity;
pub(crate) mod key_schedule;
#[cfg(test)]
mod known_answers;
pub(crate) mod message_id;
pub(crate) mod nat;
pub(crate) mod payloads;
pub(crate) mod policy;
pub mod proposal;
pub mod protect;
pub(crate) mod reassembly;
pub mod retransmit;
