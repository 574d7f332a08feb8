//! What nodes, pods and Services of the cluster say about the place where a member runs.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Container, ContainerPort, Node, Pod, PodSpec, Probe, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::services::{Place, SERVICE_NAME};

/// Node annotations by which network plugins name the address that a node has inside their network, and from which
/// probes then come.
const PLUGIN_ADDRESSES: [&str; 7] = [
    "network.cilium.io/ipv4-cilium-host",
    "network.cilium.io/ipv6-cilium-host",
    "projectcalico.org/IPv4IPIPTunnelAddr",
    "projectcalico.org/IPv4VXLANTunnelAddr",
    "projectcalico.org/IPv6VXLANTunnelAddr",
    "projectcalico.org/IPv4WireguardInterfaceAddr",
    "projectcalico.org/IPv6WireguardInterfaceAddr",
];

/// The label of a node with its zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// The place of pods on `node`.
#[must_use]
pub fn place(node: &Node) -> Place {
    Place {
        node: node.metadata.name.clone().unwrap_or_default(),
        zone: node
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(ZONE).cloned()),
        node_addresses: status_addresses(node),
    }
}

fn status_addresses(node: &Node) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = node
        .status
        .iter()
        .filter_map(|status| status.addresses.as_ref())
        .flatten()
        .filter(|address| matches!(address.type_.as_str(), "InternalIP" | "ExternalIP"))
        .filter_map(|address| address.address.parse().ok())
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Addresses from which the kubelet of `node` probes its pods: the node's own, the first of its pod networks, which is
/// that of the bridge the pods are attached to, and what network plugins name. None of `pods`, the addresses of pods, is
/// among them: a pod is no kubelet.
#[must_use]
pub fn probe_sources(node: &Node, pods: &dyn Fn(IpAddr) -> bool) -> Vec<IpAddr> {
    let mut found = status_addresses(node);
    let networks = node.spec.iter().flat_map(|spec| {
        let many = spec.pod_cidrs.iter().flatten();
        many.chain(spec.pod_cidr.iter())
    });
    found.extend(
        networks
            .filter_map(|network| network.parse::<IpNet>().ok())
            .filter_map(|network| first_host(&network)),
    );
    let annotations = node.metadata.annotations.iter().flatten();
    found.extend(
        annotations
            .filter(|(name, _)| PLUGIN_ADDRESSES.contains(&name.as_str()))
            .filter_map(|(_, address)| address.parse::<IpAddr>().ok()),
    );
    found.sort_unstable();
    found.dedup();
    found.retain(|address| !pods(*address));
    found
}

/// The first address of a network that a host may have.
fn first_host(network: &IpNet) -> Option<IpAddr> {
    match network {
        IpNet::V4(network) => {
            let first = u32::from(network.network()).checked_add(1)?;
            Some(IpAddr::V4(first.into())).filter(|_| network.prefix_len() < 31)
        }
        IpNet::V6(network) => {
            let first = u128::from(network.network()).checked_add(1)?;
            Some(IpAddr::V6(first.into())).filter(|_| network.prefix_len() < 127)
        }
    }
}

/// TCP ports at which the kubelet calls the pod's containers: probes and lifecycle hooks by HTTP, gRPC or TCP. Those by
/// exec need no network.
#[must_use]
pub fn probe_ports(pod: &Pod) -> Vec<u16> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let mut ports: Vec<u16> = containers(spec).flat_map(container_ports).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
}

fn container_ports(container: &Container) -> Vec<u16> {
    let named = container.ports.as_deref().unwrap_or_default();
    let probes = [
        &container.startup_probe,
        &container.readiness_probe,
        &container.liveness_probe,
    ];
    let hooks = container.lifecycle.iter().flat_map(|lifecycle| {
        let hooks = [&lifecycle.post_start, &lifecycle.pre_stop];
        hooks.into_iter().flatten()
    });
    let from_hooks = hooks.filter_map(|hook| {
        let http = hook.http_get.as_ref().map(|get| &get.port);
        let port = http.or(hook.tcp_socket.as_ref().map(|socket| &socket.port))?;
        resolve(port, named)
    });
    probes
        .into_iter()
        .flatten()
        .filter_map(|probe| probe_port(probe, named))
        .chain(from_hooks)
        .collect()
}

fn probe_port(probe: &Probe, named: &[ContainerPort]) -> Option<u16> {
    if let Some(grpc) = &probe.grpc {
        return valid(grpc.port);
    }
    let http = probe.http_get.as_ref().map(|get| &get.port);
    let port = http.or(probe.tcp_socket.as_ref().map(|socket| &socket.port))?;
    resolve(port, named)
}

fn resolve(port: &IntOrString, named: &[ContainerPort]) -> Option<u16> {
    match port {
        IntOrString::Int(number) => valid(*number),
        IntOrString::String(name) => named
            .iter()
            .find(|port| port.name.as_ref() == Some(name))
            .and_then(|port| valid(port.container_port))
            .or_else(|| name.parse().ok().and_then(valid)),
    }
}

fn valid(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

/// Addresses of name servers that a pod asks: those of its own `dnsConfig`, and unless it wants no others, those of the
/// cluster.
#[must_use]
pub fn name_servers(pod: &Pod, cluster: &[IpAddr]) -> Vec<IpAddr> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let own = spec
        .dns_config
        .iter()
        .filter_map(|config| config.nameservers.as_ref())
        .flatten()
        .filter_map(|address| address.parse().ok());
    // `Default` is the node's configuration, which is not known here; its servers are no pods as a rule.
    let of_cluster = !matches!(spec.dns_policy.as_deref(), Some("None" | "Default"));
    let mut found: Vec<IpAddr> = own
        .chain(cluster.iter().copied().filter(|_| of_cluster))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Every address and port at which a Service may be seen in a packet that leaves a pod: its cluster addresses, and its
/// endpoints for networks that translate when a socket is connected.
#[must_use]
pub fn service_ends(service: &Service, slices: &[&EndpointSlice]) -> Vec<(IpAddr, u16)> {
    let name = service.metadata.name.as_ref();
    let spec = service.spec.iter();
    let of_service = spec.flat_map(|spec| {
        let addresses = spec.cluster_ips.iter().flatten();
        let ports = spec.ports.iter().flatten();
        addresses
            .filter_map(|address| address.parse().ok())
            .flat_map(move |address: IpAddr| {
                ports
                    .clone()
                    .filter_map(move |port| Some((address, valid(port.port)?)))
            })
    });
    let own = |slice: &&&EndpointSlice| {
        let label = slice.metadata.labels.as_ref();
        label.and_then(|labels| labels.get(SERVICE_NAME)) == name
    };
    let of_endpoints = slices.iter().filter(own).flat_map(|slice| {
        let ports = slice.ports.iter().flatten();
        slice
            .endpoints
            .iter()
            .flat_map(|endpoint| &endpoint.addresses)
            .filter_map(|address| address.parse().ok())
            .flat_map(move |address: IpAddr| {
                ports
                    .clone()
                    .filter_map(move |port| Some((address, valid(port.port?)?)))
            })
    });
    let mut ends: Vec<(IpAddr, u16)> = of_service.chain(of_endpoints).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}
