//! What a GroupMember means for a member: plain settings, presets written out.

use std::net::IpAddr;

use crds::v1alpha1::{
    Cidr, FailureMode, Flow, GroupMember, LocalBypass, MemberDirection, NatTraversal, PortRange,
    Preset, Protocol,
};

/// UDP port of registration through address translation.
const NAT_TRAVERSAL_PORT: u16 = 4500;
/// Port of name resolution.
const DNS_PORT: u16 = 53;

/// Settings of one membership.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberSettings {
    /// The group.
    pub group: String,
    /// Interfaces whose traffic is judged.
    pub interfaces: Vec<String>,
    /// The member's own exclusions: flows that go in clear.
    pub bypass: Vec<Flow>,
    /// What happens before registration.
    pub failure_mode: FailureMode,
    /// Flows that go in clear before registration, presets written out; with `FailClosed` only.
    pub allow_clear: Vec<Flow>,
    /// Which way the group's SAs are used.
    pub direction: MemberDirection,
    /// Ordinals of the key servers in the order they are tried; empty for the group's order.
    pub key_server_order: Vec<usize>,
    /// Whether UDP port 4500 is used without being asked to.
    pub nat_traversal: NatTraversal,
    /// Octets of the largest packet of the protected network; `None` to learn it.
    pub mtu: Option<u16>,
}

/// What presets stand for in the place where a member runs. A lab or a gateway has none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Addresses of the node the member's pod runs on, from which probes come.
    pub node_addresses: Vec<IpAddr>,
    /// TCP ports at which the pod's containers are probed; no probe comes in when there are none.
    pub probe_ports: Vec<u16>,
    /// Addresses of the cluster's DNS.
    pub dns_servers: Vec<IpAddr>,
    /// Addresses and port of the Kubernetes API server.
    pub api_servers: Vec<(IpAddr, u16)>,
    /// UDP port of the group's key servers; 0 when nobody registers through this member.
    pub registration_port: u16,
}

/// The settings of a GroupMember that runs in `surroundings`.
#[must_use]
pub fn settings(member: &GroupMember, surroundings: &Surroundings) -> MemberSettings {
    let spec = &member.spec;
    MemberSettings {
        group: spec.group_ref.name.clone(),
        interfaces: spec.interfaces.clone(),
        bypass: spec.bypass.clone(),
        failure_mode: spec.failure_mode,
        allow_clear: allow_clear(member, surroundings),
        direction: spec.direction,
        key_server_order: spec
            .key_server_order
            .iter()
            .filter_map(|ordinal| usize::try_from(ordinal.0).ok())
            .collect(),
        nat_traversal: spec.nat_traversal,
        mtu: u16::try_from(spec.sidecar.mtu_bytes)
            .ok()
            .filter(|mtu| *mtu > 0),
    }
}

fn allow_clear(member: &GroupMember, surroundings: &Surroundings) -> Vec<Flow> {
    let spec = &member.spec;
    if spec.failure_mode == FailureMode::FailOpen {
        return Vec::new();
    }
    let fail_closed = spec.fail_closed.clone().unwrap_or_default();
    let mut flows = fail_closed.allow_clear;
    if fail_closed.local_bypass == LocalBypass::Include {
        flows.extend(spec.bypass.iter().cloned());
    }
    flows.extend(presets(member, surroundings));
    flows
}

/// The flows that a member's presets stand for. A pod keeps them in clear after registration as well: probes, name
/// resolution and the API server are outside the group, whatever its rules cover. A member that fails open has all
/// presets then.
#[must_use]
pub fn presets(member: &GroupMember, surroundings: &Surroundings) -> Vec<Flow> {
    // Presets are a set: their order must not show.
    let mut presets = member.spec.fail_closed.clone().unwrap_or_default().presets;
    presets.sort_unstable();
    presets.dedup();
    presets
        .into_iter()
        .flat_map(|preset| expand(preset, surroundings))
        .collect()
}

/// The flows a preset stands for. Their names have a dot, which no name a user may write has.
#[must_use]
pub fn expand(preset: Preset, surroundings: &Surroundings) -> Vec<Flow> {
    let ports = |ports: &[u16]| {
        ports
            .iter()
            .map(|port| PortRange(port.to_string()))
            .collect::<Vec<_>>()
    };
    let flow = |index: usize, protocol, destination: Option<IpAddr>, to: &[u16]| Flow {
        name: format!("preset.{}-{index}", word(preset)),
        action: None,
        protocol,
        protocol_number: None,
        source: None,
        destination: destination.map(host),
        source_ports: Vec::new(),
        destination_ports: ports(to),
    };
    match preset {
        // A flow is written as the member sends it, so this is the answer to a probe; the probe is its way back.
        Preset::KubeletProbes if surroundings.probe_ports.is_empty() => Vec::new(),
        Preset::KubeletProbes => {
            let nodes = surroundings.node_addresses.iter().enumerate();
            nodes
                .map(|(index, node)| Flow {
                    source_ports: ports(&surroundings.probe_ports),
                    ..flow(index, Protocol::Tcp, Some(*node), &[])
                })
                .collect()
        }
        Preset::ClusterDns => {
            let both = |server: &IpAddr| [(Protocol::Udp, *server), (Protocol::Tcp, *server)];
            let servers = surroundings.dns_servers.iter().flat_map(both).enumerate();
            servers
                .map(|(index, (protocol, server))| flow(index, protocol, Some(server), &[DNS_PORT]))
                .collect()
        }
        Preset::KubernetesApi => {
            let servers = surroundings.api_servers.iter().enumerate();
            servers
                .map(|(index, (server, port))| flow(index, Protocol::Tcp, Some(*server), &[*port]))
                .collect()
        }
        Preset::RegistrationTransit => match surroundings.registration_port {
            0 => Vec::new(),
            port => vec![flow(0, Protocol::Udp, None, &[port, NAT_TRAVERSAL_PORT])],
        },
    }
}

fn word(preset: Preset) -> &'static str {
    match preset {
        Preset::KubeletProbes => "kubelet-probes",
        Preset::ClusterDns => "cluster-dns",
        Preset::KubernetesApi => "kubernetes-api",
        Preset::RegistrationTransit => "registration-transit",
    }
}

/// The prefix that holds one address only.
fn host(address: IpAddr) -> Cidr {
    match address {
        IpAddr::V4(address) => Cidr(format!("{address}/32")),
        IpAddr::V6(address) => Cidr(format!("{address}/128")),
    }
}
