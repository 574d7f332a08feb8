//! The group member's process: what it does with the decisions of `gm-core`.
//!
//! [`guard`] keeps protected traffic from going in clear, whatever else happens; [`network`] leads
//! it into the packet path ([`datapath`]); [`ike`] carries registration and rekeys; [`runner`] moves
//! everything; [`control`] and [`metrics`] show it.

pub mod cli;
pub mod config;
pub mod control;
pub mod credentials;
pub mod datapath;
pub mod guard;
pub mod ike;
pub mod metrics;
pub mod network;
pub mod pod;
pub mod privileges;
pub mod reach;
pub mod runner;
pub mod services;
