//! The lab: real key servers and members on one machine, each in a network namespace.
//!
//! A lab is made from the same resources that users give to Kubernetes. Everything it creates
//! carries its name and is removed by [`down::down`], also after a crash.

pub mod address;
pub mod admin;
pub mod capture;
mod command;
pub mod control;
pub mod down;
pub mod error;
pub mod multicast_router;
pub mod name;
pub mod namespace;
pub mod network;
pub mod node_control;
pub mod ping;
pub mod plan;
pub mod preflight;
pub mod process;
pub mod progress;
pub mod provision;
pub mod resources;
mod socket_option;
pub mod state;
pub mod up;
pub mod wait;
