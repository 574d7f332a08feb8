//! Consensus among the key servers: openraft, its network and its membership.

mod callers;
mod consensus;
mod formation;
mod handover;
mod plan;
mod proposal;
mod removal;
mod role;
mod roster;
pub mod state_machine;
mod steward;
pub mod transport;
pub mod types;

pub use consensus::{Consensus, ConsensusError, Settings, Timing};
pub use handover::Handover;
pub use plan::{Obstacle, Step, View, desired_voters, next_step, removal_step};
pub use proposal::{ProposeError, Proposer};
pub use removal::{RemovalError, Remover};
pub use role::Role;
pub use roster::{InitialMember, Roster};
