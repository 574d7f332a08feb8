//! The member's control side against real key server ends, in virtual time: nothing here sleeps,
//! and the same seed gives the same world.

mod group;
mod keys_over_time;
mod policy;
mod registering;
mod world;
