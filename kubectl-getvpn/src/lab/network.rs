//! The lab's network: one routed network per node, joined by a core that forwards.

use std::fs;

use super::address::NodeAddresses;
use super::command::Program;
use super::error::LabError;
use super::name::LabName;
use super::namespace;

/// The interface of every node towards the core.
pub const NODE_INTERFACE: &str = "eth0";

/// The nftables table in the core that cuts links.
const PARTITION_TABLE: &str = "getvpn_lab";

/// Settings of a namespace that routes: it forwards and knows its IPv6 addresses at once.
const CORE_SETTINGS: [(&str, &str); 5] = [
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
];

/// Settings of a node: its IPv6 addresses are usable at once.
const NODE_SETTINGS: [(&str, &str); 2] = [
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
];

/// One node's place in the network.
#[derive(Debug, Clone)]
pub struct Attachment<'a> {
    /// The node's name, which is also the name of the core's interface towards it.
    pub node: &'a str,
    /// The node's addresses.
    pub addresses: NodeAddresses,
}

/// Creates the core and all nodes' namespaces, links, addresses and routes.
///
/// # Errors
/// When a namespace, link or address cannot be made; what was made so far stays until `lab down`.
pub fn build(lab: &LabName, nodes: &[Attachment<'_>]) -> Result<(), LabError> {
    let core = lab.core_namespace();
    let mut namespaces = vec![core.clone()];
    namespaces.extend(nodes.iter().map(|node| lab.namespace(node.node)));
    namespace::create(&namespaces)?;

    settings(&core, &CORE_SETTINGS)?;
    let mut in_core = vec!["link set lo up".to_owned()];
    for attachment in nodes {
        settings(&lab.namespace(attachment.node), &NODE_SETTINGS)?;
        in_core.extend(core_lines(lab, attachment));
    }
    Program::ip_batch(Some(&core), &in_core)?;
    for attachment in nodes {
        let namespace = lab.namespace(attachment.node);
        Program::ip_batch(Some(&namespace), &node_lines(attachment))?;
    }
    partition_table(&core)
}

fn core_lines(lab: &LabName, attachment: &Attachment<'_>) -> [String; 4] {
    let Attachment { node, addresses } = attachment;
    let namespace = lab.namespace(node);
    [
        format!("link add {node} type veth peer name {NODE_INTERFACE} netns {namespace}"),
        format!("address add {}/24 dev {node}", addresses.gateway_ipv4),
        format!("address add {}/64 dev {node} nodad", addresses.gateway_ipv6),
        format!("link set {node} up"),
    ]
}

fn node_lines(attachment: &Attachment<'_>) -> [String; 6] {
    let addresses = &attachment.addresses;
    [
        "link set lo up".to_owned(),
        format!("address add {}/24 dev {NODE_INTERFACE}", addresses.ipv4),
        format!(
            "address add {}/64 dev {NODE_INTERFACE} nodad",
            addresses.ipv6
        ),
        format!("link set {NODE_INTERFACE} up"),
        format!("route add default via {}", addresses.gateway_ipv4),
        format!("route add default via {}", addresses.gateway_ipv6),
    ]
}

fn settings(namespace: &str, values: &[(&str, &str)]) -> Result<(), LabError> {
    namespace::inside(namespace, || {
        values.iter().try_for_each(|(name, value)| {
            let path = format!("/proc/sys/net/{name}");
            fs::write(&path, value).map_err(LabError::file("write", &path))
        })
    })
}

/// A table whose two sets say which interfaces, and which ordered pairs of them, are cut.
fn partition_table(core: &str) -> Result<(), LabError> {
    Program::nft(
        core,
        &format!(
            "table inet {PARTITION_TABLE} {{
                set nodes {{ type ifname; }}
                set pairs {{ type ifname . ifname; }}
                chain forward {{
                    type filter hook forward priority 0; policy accept;
                    iifname @nodes drop
                    oifname @nodes drop
                    iifname . oifname @pairs drop
                }}
                chain input {{ type filter hook input priority 0; policy accept; iifname @nodes drop; }}
                chain output {{ type filter hook output priority 0; policy accept; oifname @nodes drop; }}
            }}\n"
        ),
    )
}

/// What a partition cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut<'a> {
    /// A node from everybody.
    Node(&'a str),
    /// Two nodes from each other.
    Pair(&'a str, &'a str),
}

impl Cut<'_> {
    fn elements(self) -> (&'static str, String) {
        match self {
            Self::Node(node) => ("nodes", format!("\"{node}\"")),
            Self::Pair(a, b) => ("pairs", format!("\"{a}\" . \"{b}\", \"{b}\" . \"{a}\"")),
        }
    }
}

/// Silently drops what crosses the cut, as a broken network does; cutting twice is no error.
///
/// # Errors
/// When `nft` refuses.
pub fn partition(lab: &LabName, cut: Cut<'_>) -> Result<(), LabError> {
    change_sets(lab, "add", cut)
}

/// Joins again what [`partition`] cut; joining what is whole is no error.
///
/// # Errors
/// When `nft` refuses.
pub fn join(lab: &LabName, cut: Cut<'_>) -> Result<(), LabError> {
    // Adding first makes the deletion succeed whatever the set held.
    change_sets(lab, "add", cut)?;
    change_sets(lab, "delete", cut)
}

/// Joins everything again.
///
/// # Errors
/// When `nft` refuses.
pub fn join_all(lab: &LabName) -> Result<(), LabError> {
    let script =
        format!("flush set inet {PARTITION_TABLE} nodes\nflush set inet {PARTITION_TABLE} pairs\n");
    Program::nft(&lab.core_namespace(), &script)
}

fn change_sets(lab: &LabName, verb: &str, cut: Cut<'_>) -> Result<(), LabError> {
    let (set, elements) = cut.elements();
    let script = format!("{verb} element inet {PARTITION_TABLE} {set} {{ {elements} }}\n");
    Program::nft(&lab.core_namespace(), &script)
}
