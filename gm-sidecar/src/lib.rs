//! The group member's process: what it does with the decisions of `gm-core`.

pub mod config;
pub mod datapath;
pub mod guard;
pub mod network;
