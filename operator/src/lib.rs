//! The Kubernetes operator of getvpn: turns resources into key servers, policy and members.
//!
//! `operator-core` decides what there should be; this crate reads the cluster through watches, applies objects, talks
//! to key servers, and serves what pods need. Every replica watches, so that each can answer admission and enrolment;
//! only the holder of the lease changes the cluster.

pub mod announce;
pub mod apply;
pub mod authority;
pub mod check;
pub mod cli;
pub mod cluster;
pub mod context;
pub mod controllers;
pub mod enrolment;
pub mod error;
pub mod events;
pub mod fetch;
pub mod injections;
pub mod key_servers;
pub mod lease;
pub mod metrics;
pub mod observations;
pub mod process;
pub mod reports;
pub mod secrets;
pub mod serving;
pub mod status;
pub mod store;
pub mod webhook;
