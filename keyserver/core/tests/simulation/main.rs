//! Key servers and members in one virtual world.

mod eviction;
mod fail_over;
mod policy_change;
mod registration;
mod rekeying;
mod replication;
mod world;
