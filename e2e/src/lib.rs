//! End-to-end tests on real processes, network namespaces and independent tools.
//!
//! The lab of `kubectl-getvpn` is the rig: tests start it as a user does, run traffic through it,
//! break it, and let outside judges (a capture in the core, tshark, scapy, strongSwan, OpenSSL) decide.

pub mod bench;
pub mod cluster;
pub mod load;
pub mod rig;
pub mod sim;
pub mod strongswan;
pub mod traffic;
mod waiting;
pub mod wire;
