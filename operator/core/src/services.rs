//! Which Services members translate themselves, and where to.
//!
//! [`candidates`] looks at a namespace once, for all of its pods; [`for_place`] picks what matters to one pod.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crds::v1alpha1::GroupMember;
use k8s_openapi::api::core::v1::{Service, ServicePort as Port};
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};
use operator_api::services::{
    Endpoint, EndpointState, Service as Translated, ServicePort, ServiceProtocol, Services,
};

/// The label by which an EndpointSlice names its Service (Kubernetes, EndpointSlices).
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A pod that is a member of a group.
#[derive(Clone, Debug)]
pub struct MemberPod<'a> {
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// Where a pod runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Name of its node.
    pub node: String,
    /// The node's zone, if it has one.
    pub zone: Option<String>,
    /// The node's addresses, at which node ports are translated.
    pub node_addresses: Vec<IpAddr>,
}

/// A Service that may lead to members, before it is known from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    name: String,
    addresses: Vec<IpAddr>,
    affinity_seconds: Option<u32>,
    only_this_node: bool,
    ports: Vec<CandidatePort>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct CandidatePort {
    protocol: ServiceProtocol,
    port: u16,
    node_port: Option<u16>,
    endpoints: Vec<CandidateEndpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct CandidateEndpoint {
    endpoint: Endpoint,
    node: Option<String>,
    zones: BTreeSet<String>,
    nodes: BTreeSet<String>,
}

/// The Services of one namespace that lead, or may come to lead, to members. A Service counts when
///
/// * one of its endpoints is a member,
/// * its selector fits a member, or
/// * whatever its selector fits is chosen by a GroupMember, so that its first endpoint will be a member.
///
/// The last two keep a Service in the list while it has no endpoints: a packet to it must not reach the node, which
/// learns of new endpoints by itself.
#[must_use]
pub fn candidates(
    services: &[&Service],
    slices: &[&EndpointSlice],
    pods: &[MemberPod<'_>],
    members: &[&GroupMember],
) -> Vec<Candidate> {
    let of_members: BTreeSet<IpAddr> = pods
        .iter()
        .flat_map(|pod| pod.addresses.iter().copied())
        .collect();
    let mut by_service: BTreeMap<&str, Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices {
        if let Some(name) = slice
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(SERVICE_NAME))
        {
            by_service.entry(name).or_default().push(slice);
        }
    }
    let mut found: Vec<Candidate> = services
        .iter()
        .filter_map(|service| {
            let name = service.metadata.name.as_deref()?;
            let slices = by_service.get(name).map(Vec::as_slice).unwrap_or_default();
            let leads = slices.iter().any(|slice| reaches(slice, &of_members));
            (leads || may_lead(service, pods, members))
                .then(|| candidate(service, slices))
                .flatten()
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

fn reaches(slice: &EndpointSlice, members: &BTreeSet<IpAddr>) -> bool {
    slice
        .endpoints
        .iter()
        .flat_map(|endpoint| &endpoint.addresses)
        .filter_map(|address| address.parse().ok())
        .any(|address: IpAddr| members.contains(&address))
}

fn may_lead(service: &Service, pods: &[MemberPod<'_>], members: &[&GroupMember]) -> bool {
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref());
    let Some(selector) = selector.filter(|selector| !selector.is_empty()) else {
        return false;
    };
    let within = |wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>| {
        wanted
            .iter()
            .all(|(label, value)| labels.get(label) == Some(value))
    };
    pods.iter().any(|pod| within(selector, pod.labels))
        || members.iter().any(|member| {
            member
                .spec
                .pod_selector
                .as_ref()
                .is_some_and(|pods| within(&pods.match_labels, selector))
        })
}

fn candidate(service: &Service, slices: &[&EndpointSlice]) -> Option<Candidate> {
    let spec = service.spec.as_ref()?;
    let addresses = addresses(service);
    if addresses.is_empty() {
        // Headless, or a name of something outside.
        return None;
    }
    let affinity_seconds = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        spec.session_affinity_config
            .as_ref()
            .and_then(|config| config.client_ip.as_ref()?.timeout_seconds)
            .and_then(|seconds| u32::try_from(seconds).ok())
            // The API server's default.
            .unwrap_or(10_800)
    });
    let mut ports: Vec<CandidatePort> = spec
        .ports
        .iter()
        .flatten()
        .filter_map(|port| candidate_port(port, slices))
        .collect();
    ports.sort_by_key(|port| (port.protocol, port.port));
    Some(Candidate {
        name: format!(
            "{}/{}",
            service.metadata.namespace.as_deref().unwrap_or_default(),
            service.metadata.name.as_deref()?
        ),
        addresses,
        affinity_seconds,
        only_this_node: spec.internal_traffic_policy.as_deref() == Some("Local"),
        ports,
    })
}

/// All addresses at which the Service is reached from within the cluster.
fn addresses(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let cluster: Vec<&String> = match &spec.cluster_ips {
        Some(addresses) => addresses.iter().collect(),
        None => spec.cluster_ip.iter().collect(),
    };
    let balancer = service
        .status
        .iter()
        .filter_map(|status| status.load_balancer.as_ref()?.ingress.as_ref())
        .flatten()
        // `Proxy` sends everything through the balancer, which is then not to be passed by.
        .filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|ingress| ingress.ip.as_ref());
    let mut found: Vec<IpAddr> = cluster
        .into_iter()
        .chain(spec.external_ips.iter().flatten())
        .chain(balancer)
        .filter_map(|address| address.parse().ok())
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn candidate_port(port: &Port, slices: &[&EndpointSlice]) -> Option<CandidatePort> {
    let protocol = protocol(port.protocol.as_deref())?;
    let name = port.name.as_deref().unwrap_or_default();
    let mut endpoints: Vec<CandidateEndpoint> = Vec::new();
    for slice in slices {
        let target = slice.ports.iter().flatten().find(|target| {
            target.name.as_deref().unwrap_or_default() == name
                && self::protocol(target.protocol.as_deref()) == Some(protocol)
        });
        let Some(target) = target.and_then(|target| number(target.port?)) else {
            continue;
        };
        let here = slice.endpoints.iter();
        endpoints.extend(here.flat_map(|endpoint| candidate_endpoints(endpoint, target)));
    }
    // An endpoint that two slices name for a moment counts once, and as ready if one of them says so.
    endpoints.sort_by_key(|endpoint| endpoint.endpoint);
    endpoints.dedup_by_key(|endpoint| (endpoint.endpoint.address, endpoint.endpoint.port));
    Some(CandidatePort {
        protocol,
        port: number(port.port)?,
        node_port: port.node_port.and_then(number),
        endpoints,
    })
}

fn candidate_endpoints(endpoint: &SliceEndpoint, port: u16) -> Vec<CandidateEndpoint> {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    // What is not said is true (Kubernetes, EndpointSlice API); `serving` is what `ready` is.
    let ready = conditions.ready.unwrap_or(true);
    let serving = conditions.serving.unwrap_or(ready);
    let state = if ready {
        EndpointState::Ready
    } else if serving && conditions.terminating == Some(true) {
        EndpointState::Terminating
    } else {
        return Vec::new();
    };
    let hints = endpoint.hints.clone().unwrap_or_default();
    let zones: BTreeSet<String> = hints
        .for_zones
        .into_iter()
        .flatten()
        .map(|zone| zone.name)
        .collect();
    let nodes: BTreeSet<String> = hints
        .for_nodes
        .into_iter()
        .flatten()
        .map(|node| node.name)
        .collect();
    endpoint
        .addresses
        .iter()
        .filter_map(|address| address.parse().ok())
        .map(|address| CandidateEndpoint {
            endpoint: Endpoint {
                address,
                port,
                state,
            },
            node: endpoint.node_name.clone(),
            zones: zones.clone(),
            nodes: nodes.clone(),
        })
        .collect()
}

fn protocol(name: Option<&str>) -> Option<ServiceProtocol> {
    match name {
        None | Some("TCP") => Some(ServiceProtocol::Tcp),
        Some("UDP") => Some(ServiceProtocol::Udp),
        Some("SCTP") => Some(ServiceProtocol::Sctp),
        Some(_) => None,
    }
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

/// What a pod at `place` translates.
#[must_use]
pub fn for_place(candidates: &[Candidate], place: &Place) -> Services {
    let services: Vec<Translated> = candidates
        .iter()
        .map(|candidate| Translated {
            name: candidate.name.clone(),
            addresses: candidate.addresses.clone(),
            affinity_seconds: candidate.affinity_seconds,
            ports: candidate
                .ports
                .iter()
                .map(|port| ServicePort {
                    protocol: port.protocol,
                    port: port.port,
                    node_port: port.node_port,
                    endpoints: near(candidate, port, place),
                })
                .collect(),
        })
        .collect();
    let any_node_port = services
        .iter()
        .any(|service| service.ports.iter().any(|port| port.node_port.is_some()));
    Services {
        node_addresses: if any_node_port {
            place.node_addresses.clone()
        } else {
            Vec::new()
        },
        services,
    }
}

/// The endpoints that a node of `place` would use: those of the node itself with `internalTrafficPolicy: Local`, else
/// those that hints assign to the node or its zone, as long as every ready endpoint has hints and one of them fits.
fn near(candidate: &Candidate, port: &CandidatePort, place: &Place) -> Vec<Endpoint> {
    let here =
        |endpoint: &&CandidateEndpoint| endpoint.node.as_deref() == Some(place.node.as_str());
    let all = || port.endpoints.iter();
    let ready = || all().filter(|endpoint| endpoint.endpoint.state == EndpointState::Ready);
    let by_node = |endpoint: &&CandidateEndpoint| endpoint.nodes.contains(&place.node);
    let by_zone = |endpoint: &&CandidateEndpoint| {
        place
            .zone
            .as_ref()
            .is_some_and(|zone| endpoint.zones.contains(zone))
    };
    let plain = |chosen: Vec<&CandidateEndpoint>| {
        chosen
            .into_iter()
            .map(|endpoint| endpoint.endpoint)
            .collect()
    };
    if candidate.only_this_node {
        return plain(all().filter(here).collect());
    }
    if ready().all(|endpoint| !endpoint.nodes.is_empty()) && ready().any(|one| by_node(&one)) {
        return plain(ready().filter(by_node).collect());
    }
    if ready().all(|endpoint| !endpoint.zones.is_empty()) && ready().any(|one| by_zone(&one)) {
        return plain(ready().filter(by_zone).collect());
    }
    plain(all().collect())
}
