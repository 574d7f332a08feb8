//! Consensus among the key servers: openraft, its network and its membership.

mod consensus;
mod plan;
mod proposal;
mod role;
pub mod state_machine;
mod steward;
pub mod transport;
pub mod types;

pub use consensus::{Consensus, ConsensusError, Handover, Settings, Timing};
pub use plan::{Step, View, desired_voters, next_step};
pub use proposal::{ProposeError, Proposer};
pub use role::Role;
pub use steward::InitialMember;
