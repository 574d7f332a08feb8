//! Rekeys: when they are due, what they contain, how they reach the members.

pub mod delivery;
pub mod plan;
pub mod schedule;
pub mod signing;
