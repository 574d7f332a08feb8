//! The key server's decisions and replicated state, pure: no input or output, no clock, no randomness of its own.
//!
//! [`server::KeyServer`] composes one [`gikev2::responder::Responder`] with the replicated [`state::State`]. What
//! must be remembered leaves it as a [`command::Command`] to be committed; only when the committed command came back
//! through [`server::KeyServer::handle_committed`] does anything that depends on it go on the wire.
//!
//! * [`command`], [`outcome`] are what is replicated and what became of it,
//! * [`state`] is what the commands make,
//! * [`log_time`] is the only time replicated state knows,
//! * [`rekey`] decides when to rekey, plans it, and delivers it,
//! * [`registration`] decides who may join and what a member gets,
//! * [`cooperation`] decides who should be primary.

pub mod audit;
pub mod command;
pub mod cooperation;
pub mod error;
pub mod group_policy;
pub mod identity;
pub mod log_time;
pub mod outcome;
pub mod policy_terms;
pub mod registration;
pub mod rekey;
pub mod secret;
pub mod server;
mod snapshot;
pub mod state;
