//! Consensus among the key servers: openraft, its network and its membership.

pub mod state_machine;
pub mod types;
