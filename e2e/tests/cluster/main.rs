//! Tests on a real Kubernetes. They are ignored unless asked for, because they need `cargo xtask cluster up` and
//! `cargo xtask cluster install`; `cargo xtask test --only cluster` does both and runs them.

mod command_line;
mod disruption;
mod injection;
mod key_servers;
mod migration;
mod multicast;
mod pod_life;
mod quickstart;
mod roles;
mod secrets;
mod services;
mod uninstallation;

/// Nodes of the cluster.
pub(crate) const NODES: [&str; 2] = ["node-1", "node-2"];
