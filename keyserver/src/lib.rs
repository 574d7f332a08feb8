//! The process around `keyserver-core`: sockets, consensus, storage, admin endpoint, metrics.
//!
//! This crate acts; what to do is decided in `keyserver-core`, which has no input or output, clock
//! or randomness of its own.

pub mod admin;
pub mod certificates;
pub mod cli;
pub mod config;
pub mod ike;
pub mod metrics;
mod multicast;
pub mod process;
pub mod raft;
pub mod runner;
pub mod signing_key;
pub mod storage;
pub mod udp;
