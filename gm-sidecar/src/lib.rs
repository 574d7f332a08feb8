//! The group member's process: what it does with the decisions of `gm-core`.

pub mod datapath;
