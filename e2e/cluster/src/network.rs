//! Addresses of the cluster, and the wire between its machines.
//!
//! ```text
//!   control 10.100.0.1 ── wire (bridge) ──┬── node-1 10.100.0.11 ── cni0 ── pods 10.244.1.0/24
//!   (API server, etcd, …)                 └── node-2 10.100.0.12 ── cni0 ── pods 10.244.2.0/24
//! ```
//!
//! All of it lies inside network namespaces: outside there is no interface, address, route or rule.
//! Whatever pods of two nodes say to each other passes `wire`.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::run;
use crate::machine::Machine;

/// Address of the machine of the control plane.
pub const CONTROL: Ipv4Addr = Ipv4Addr::new(10, 100, 0, 1);
/// First address of the Services: the API server's own.
pub const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// Address of the name service.
pub const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Addresses of Services.
pub const SERVICES: &str = "10.96.0.0/16";
/// Addresses of pods.
pub const PODS: &str = "10.244.0.0/16";
/// The bridge between the machines, in the control machine.
pub const WIRE: &str = "wire";

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name of the node and of its machine.
    pub name: String,
    /// Its address on the wire.
    pub address: Ipv4Addr,
    /// Addresses of its pods.
    pub pods: String,
}

impl Node {
    /// The node with this number, counted from 1.
    #[must_use]
    pub fn number(number: u8) -> Self {
        Self {
            name: format!("node-{number}"),
            address: Ipv4Addr::new(10, 100, 0, 10 + number),
            pods: format!("10.244.{number}.0/24"),
        }
    }
}

/// Gives the control machine its bridge.
///
/// # Errors
/// When `ip` fails.
pub(crate) fn connect_control(control: &Machine) -> Result<()> {
    ip(control, &["link", "set", "lo", "up"])?;
    ip(control, &["link", "add", WIRE, "type", "bridge"])?;
    // Multicast is flooded as on a plain switch: nobody on this wire asks for memberships.
    ip(
        control,
        &["link", "set", WIRE, "type", "bridge", "mcast_snooping", "0"],
    )?;
    ip(
        control,
        &["address", "add", &format!("{CONTROL}/24"), "dev", WIRE],
    )?;
    ip(control, &["link", "set", WIRE, "up"])
}

/// Plugs a node into the wire, and routes its pods.
///
/// # Errors
/// When `ip` fails.
pub(crate) fn connect_node(
    control: &Machine,
    machine: &Machine,
    node: &Node,
    all: &[Node],
) -> Result<()> {
    let pid = machine.init.pid.to_string();
    ip(
        control,
        &[
            "link", "add", &node.name, "type", "veth", "peer", "name", "eth0", "netns", &pid,
        ],
    )?;
    ip(control, &["link", "set", &node.name, "master", WIRE, "up"])?;
    ip(
        control,
        &[
            "route",
            "add",
            &node.pods,
            "via",
            &node.address.to_string(),
            "onlink",
            "dev",
            WIRE,
        ],
    )?;
    ip(machine, &["link", "set", "lo", "up"])?;
    ip(
        machine,
        &[
            "address",
            "add",
            &format!("{}/24", node.address),
            "dev",
            "eth0",
        ],
    )?;
    ip(machine, &["link", "set", "eth0", "up"])?;
    ip(
        machine,
        &["route", "add", "default", "via", &CONTROL.to_string()],
    )?;
    for other in all.iter().filter(|other| *other != node) {
        ip(
            machine,
            &[
                "route",
                "add",
                &other.pods,
                "via",
                &other.address.to_string(),
            ],
        )?;
    }
    // Each network namespace has its own copy of these.
    run(machine.enter().args([
        "sh",
        "-c",
        "echo 1 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables",
    ]))
    .with_context(|| format!("{} cannot forward packets", node.name))?;
    Ok(())
}

/// What the kubelets give pods as `/etc/resolv.conf` of the node: there is no name service outside.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_resolver(directory: &std::path::Path) -> Result<()> {
    fs::write(directory.join("resolv.conf"), "").context("cannot write resolv.conf")
}

fn ip(machine: &Machine, arguments: &[&str]) -> Result<()> {
    run(Command::new("nsenter")
        .args(["--net", "--target", &machine.init.pid.to_string(), "ip"])
        .args(arguments))
    .with_context(|| format!("the network of {}", machine.name))?;
    Ok(())
}
