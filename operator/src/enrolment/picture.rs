//! The configuration of a pod's member, from everything that the watches show.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::http::StatusCode;
use crds::v1alpha1::{
    AuthenticationMode, CertificateIssuer, GetVpnGroup, GroupMember, MulticastDelivery,
};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use operator_api::enrolment::WatchAnswer;
use operator_core::group_member::pods::{MemberPod as MemberState, belongs};
use operator_core::injection::{PodLabels, selected};
use operator_core::member::Surroundings;
use operator_core::member_configuration::{
    KeyServer, Membership, PodIdentity, Unready, configuration,
};
use operator_core::services::{MemberPod, Place, candidates, for_place};
use operator_core::surroundings::{name_servers, place, probe_ports, probe_sources, service_ends};
use operator_core::{labels, names};

use super::Refused;
use super::caller::Caller;
use crate::context::{Context, Stores};
use crate::fetch::Namespace;

/// What a pod gets.
#[derive(Debug)]
pub(super) struct Picture {
    /// Its configuration.
    pub(super) configured: WatchAnswer,
    /// Its groups whose certificates the operator issues.
    pub(super) by_certificate: Vec<GetVpnGroup>,
}

/// What one membership is made of.
struct Parts<'a> {
    member: &'a GroupMember,
    group: &'a GetVpnGroup,
    host: &'a GetVpnGroup,
    key_servers: Vec<KeyServer>,
    register: Vec<IpAddr>,
    receivers: Vec<IpAddr>,
}

/// The picture of the caller's pod.
pub(super) fn of(context: &Context, caller: &Caller) -> Result<Picture, Refused> {
    let (stores, namespace) = (&context.stores, caller.key.namespace.as_str());
    let pod: &Pod = &caller.pod;
    let all = Namespace::new(stores, namespace);
    let members = memberships(&all, pod)?;
    let parts = members
        .into_iter()
        .map(|member| parts(stores, &all, namespace, member))
        .collect::<Result<Vec<_>, _>>()?;
    let whole: Vec<Membership<'_>> = parts
        .iter()
        .map(|parts| Membership {
            member: parts.member,
            group: parts.group,
            host: parts.host,
            key_servers: &parts.key_servers,
            register: &parts.register,
            receivers: &parts.receivers,
        })
        .collect();
    let addresses = addresses(pod);
    let services = stores.services.within(namespace);
    let slices = stores.slices.within(namespace);
    let services: Vec<&Service> = services.iter().map(AsRef::as_ref).collect();
    let slices: Vec<&EndpointSlice> = slices.iter().map(AsRef::as_ref).collect();
    let (surroundings, place) = around(context, pod);
    let pods = stores.pods.within(namespace);
    let none = BTreeMap::new();
    let in_group: Vec<MemberPod<'_>> = pods
        .iter()
        .filter(|pod| pod.labels().get(labels::ROLE).map(String::as_str) == Some(labels::MEMBER))
        .map(|pod| MemberPod {
            labels: pod.metadata.labels.as_ref().unwrap_or(&none),
            addresses: self::addresses(pod),
        })
        .collect();
    let all_members: Vec<&GroupMember> = all.members.iter().collect();
    let translated = for_place(
        &candidates(&services, &slices, &in_group, &all_members),
        &place,
    );
    let identity = PodIdentity {
        name: &caller.key.name,
        namespace,
        addresses: &addresses,
    };
    let configured = configuration(identity, &whole, &surroundings, &translated)
        .map_err(|unready: Unready| Refused::not_ready(unready.to_string()))?;
    let by_certificate = parts
        .iter()
        .map(|parts| parts.group)
        .filter(|group| {
            let source = group.spec.authentication.certificate.clone();
            group.spec.authentication.mode == AuthenticationMode::Certificate
                && source.unwrap_or_default().issuer == CertificateIssuer::Internal
        })
        .cloned()
        .collect();
    Ok(Picture {
        configured,
        by_certificate,
    })
}

/// The GroupMembers that choose the pod now. That it was given a sidecar once is not enough.
fn memberships<'a>(all: &'a Namespace, pod: &Pod) -> Result<Vec<&'a GroupMember>, Refused> {
    let none = BTreeMap::new();
    let members: Vec<&GroupMember> = all.members.iter().collect();
    let found = selected(
        PodLabels {
            labels: pod.metadata.labels.as_ref().unwrap_or(&none),
            annotations: pod.metadata.annotations.as_ref().unwrap_or(&none),
        },
        &members,
    );
    let not_selected =
        |message: String| Refused::new(StatusCode::FORBIDDEN, "NotSelected", message);
    match found {
        Ok(members) if members.is_empty() => Err(not_selected(
            "no GroupMember of the namespace chooses this pod".to_owned(),
        )),
        Ok(members) => Ok(members),
        Err(message) => Err(not_selected(message)),
    }
}

fn parts<'a>(
    stores: &Stores,
    all: &'a Namespace,
    namespace: &str,
    member: &'a GroupMember,
) -> Result<Parts<'a>, Refused> {
    let named = |name: &str| {
        all.groups
            .iter()
            .find(|group| group.metadata.name.as_deref() == Some(name))
            .ok_or_else(|| {
                Refused::not_ready(format!("there is no GetVpnGroup `{name}` in the namespace"))
            })
    };
    let group = named(&member.spec.group_ref.name)?;
    let host = match &group.spec.key_servers_from {
        Some(from) => named(&from.group_ref.name)?,
        None => group,
    };
    let host_name = host.name_any();
    let key_servers = stores
        .pods
        .within(namespace)
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter(|pod| {
            let labels = pod.labels();
            labels::key_servers(&host_name)
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
        })
        .filter_map(|pod| {
            let addresses = addresses(pod);
            (!addresses.is_empty()).then_some(KeyServer {
                ordinal: names::ordinal(&host_name, &pod.name_any())?,
                addresses,
            })
        })
        .collect();
    let register = stores
        .services
        .get(namespace, &names::register_service(&host_name))
        .map(|service| cluster_addresses(&service))
        .unwrap_or_default();
    Ok(Parts {
        member,
        group,
        host,
        key_servers,
        register,
        receivers: receivers(stores, all, namespace, group),
    })
}

/// Addresses of the pods that are members of a group and have not ended, where copies of multicast go to them.
fn receivers(
    stores: &Stores,
    all: &Namespace,
    namespace: &str,
    group: &GetVpnGroup,
) -> Vec<IpAddr> {
    if group.spec.multicast_delivery != MulticastDelivery::HeadEndReplication {
        return Vec::new();
    }
    let name = group.name_any();
    let names: Vec<String> = all
        .members
        .iter()
        .filter(|member| member.spec.group_ref.name == name)
        .map(ResourceExt::name_any)
        .collect();
    stores
        .pods
        .within(namespace)
        .iter()
        .filter(|pod| names.iter().any(|member| belongs(pod, member)))
        .filter(|pod| MemberState::new(pod).is_some())
        .flat_map(|pod| addresses(pod))
        .collect()
}

/// What is around the pod: its node, name servers, the API server.
fn around(context: &Context, pod: &Pod) -> (Surroundings, Place) {
    let stores = &context.stores;
    let node_name = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.node_name.clone())
        .unwrap_or_default();
    let node = stores
        .nodes
        .as_ref()
        .and_then(|nodes| nodes.get_global(&node_name));
    let host_addresses: Vec<IpAddr> = pod
        .status
        .iter()
        .flat_map(|status| {
            let many = status.host_ips.iter().flatten().map(|address| &address.ip);
            many.chain(status.host_ip.iter())
        })
        .filter_map(|address| address.parse().ok())
        .collect();
    let place = match &node {
        Some(node) => place(node),
        None => Place {
            node: node_name,
            zone: None,
            node_addresses: host_addresses.clone(),
        },
    };
    let is_pod = |address: IpAddr| {
        let all = stores.pods.all();
        all.iter().any(|pod| addresses(pod).contains(&address))
    };
    let mut node_addresses = host_addresses;
    if let Some(node) = &node {
        node_addresses.extend(probe_sources(node, &is_pod));
    }
    node_addresses.sort_unstable();
    node_addresses.dedup();
    let mut api_servers = context.cluster.api_servers.clone();
    if let Some(service) = stores.services.get("default", "kubernetes") {
        let slices = stores.slices.within("default");
        let slices: Vec<&EndpointSlice> = slices.iter().map(AsRef::as_ref).collect();
        api_servers.extend(service_ends(&service, &slices));
    }
    api_servers.sort_unstable();
    api_servers.dedup();
    let surroundings = Surroundings {
        node_addresses,
        probe_ports: probe_ports(pod),
        dns_servers: name_servers(pod, &context.cluster.name_servers),
        api_servers,
        // Nobody registers through a pod.
        registration_port: 0,
    };
    (surroundings, place)
}

fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    if let Some(status) = &pod.status {
        let many = status.pod_ips.iter().flatten().map(|address| &address.ip);
        for address in status.pod_ip.iter().chain(many) {
            if let Ok(address) = address.parse()
                && !found.contains(&address)
            {
                found.push(address);
            }
        }
    }
    found
}

fn cluster_addresses(service: &Service) -> Vec<IpAddr> {
    service
        .spec
        .iter()
        .flat_map(|spec| spec.cluster_ips.iter().flatten())
        .filter_map(|address| address.parse().ok())
        .collect()
}
