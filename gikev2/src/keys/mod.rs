//! Every key of the protocol: how it is derived, wrapped and found (RFC 7296 §2.14, RFC 9838 §3).

pub mod group;
pub mod ike_sa;
pub mod tree;
pub mod wrap;
