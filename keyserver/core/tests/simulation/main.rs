//! Key servers and members in one virtual world.

mod deliveries;
mod eviction;
mod fail_over;
mod fragments;
mod joining;
mod on_the_wire;
mod policy_change;
mod registration;
mod rekeying;
mod replication;
mod several_groups;
mod signing_key;
mod world;
