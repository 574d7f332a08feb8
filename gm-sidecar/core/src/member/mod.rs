//! The group member's control side: registration, keys over time, merged policy.
//!
//! Everything here is a function of events, `now` and lent randomness. Sockets, kernel rules and
//! routes belong to the process around it.

pub mod flow;
pub mod traffic_plan;
