//! The `kubectl getvpn` plugin, and the lab that it runs on one machine.
//!
//! The library part is the lab's machinery, which the end-to-end tests drive as well.

pub mod cli;
pub mod cluster;
pub mod import;
pub mod lab;
