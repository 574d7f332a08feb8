//! The member's control side against real key server ends, in virtual time: nothing here sleeps,
//! and the same seed gives the same world.

mod group;
mod inband;
mod keys_over_time;
mod policy;
mod pseudotime;
mod reconfiguring;
mod refused_rekeys;
mod registering;
mod staying;
mod world;
