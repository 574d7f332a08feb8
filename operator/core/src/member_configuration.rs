//! The configuration of the member in a pod: one document, made of everything that concerns it.
//!
//! Its form is that of the configuration file of a member without Kubernetes. Presets stand in it as flows of the pod
//! that stay in clear, before registration and after: the probes of the pod's own node at the ports its containers
//! declare, name resolution at port 53 of the name servers, the API server at its addresses. Nothing else leaves or
//! enters in clear unless a GroupMember or the group says so.

use std::net::IpAddr;

use crds::v1alpha1::{
    AuthenticationMode, FailureMode, Flow, GetVpnGroup, GroupMember, Identity, KeyServerSelection,
    MemberDirection, MulticastDelivery, Ordinal,
};
use operator_api::enrolment::WatchAnswer;
use operator_api::pod as place;
use operator_api::services::Services;
use serde_json::{Map, Value, json};

use crate::member::{MemberSettings, Surroundings, presets, settings};
use crate::{fingerprint, flow, names};

/// UDP port at which a key server's pod answers.
const REGISTRATION_PORT: u16 = 848;
/// Key servers that a member may be given (`gm-sidecar`, `groups[].keyServers`).
const MOST_KEY_SERVERS: usize = 8;

/// The pod.
#[derive(Clone, Copy, Debug)]
pub struct PodIdentity<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its addresses, the primary one first.
    pub addresses: &'a [IpAddr],
}

/// A key server that has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyServer {
    /// The number at the end of its pod's name.
    pub ordinal: usize,
    /// Its pod's addresses.
    pub addresses: Vec<IpAddr>,
}

/// What the pod has to do with one group.
#[derive(Clone, Debug)]
pub struct Membership<'a> {
    /// How it takes part.
    pub member: &'a GroupMember,
    /// The group.
    pub group: &'a GetVpnGroup,
    /// The group whose key servers serve it: itself, or the one named by `keyServersFrom`.
    pub host: &'a GetVpnGroup,
    /// Key servers of `host` that have an address.
    pub key_servers: &'a [KeyServer],
    /// Addresses of the Service through which any of them can be reached.
    pub register: &'a [IpAddr],
    /// Addresses of all pods that are members of `group`; may hold the pod's own.
    pub receivers: &'a [IpAddr],
}

/// Why there is no configuration yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    /// Nobody could be asked for keys.
    #[error("no key server of group `{0}` has an address yet; the member tries again")]
    NoKeyServers(String),
    /// The pod has no address yet.
    #[error("the pod has no address yet; the member tries again")]
    NoAddress,
}

/// The configuration of the pod's member, with its name.
///
/// # Errors
/// [`Unready`].
pub fn configuration(
    pod: PodIdentity<'_>,
    memberships: &[Membership<'_>],
    surroundings: &Surroundings,
    services: &Services,
) -> Result<WatchAnswer, Unready> {
    let primary = pod.addresses.first().ok_or(Unready::NoAddress)?;
    let all: Vec<MemberSettings> = memberships
        .iter()
        .map(|membership| settings(membership.member, surroundings))
        .collect();
    let mut interfaces: Vec<&str> = all
        .iter()
        .flat_map(|settings| settings.interfaces.iter().map(String::as_str))
        .collect();
    interfaces.sort_unstable();
    interfaces.dedup();
    let closed = all
        .iter()
        .all(|settings| settings.failure_mode == FailureMode::FailClosed);
    let mut allow_clear = Vec::new();
    if closed {
        for settings in &all {
            extend(&mut allow_clear, &settings.allow_clear);
        }
    }
    // The member writes the bypass lists of its groups one after the other, so that the pod's own flows are needed once.
    let mut own = Vec::new();
    for membership in memberships {
        extend(&mut own, &presets(membership.member, surroundings));
    }
    let groups = memberships
        .iter()
        .zip(&all)
        .map(|(membership, settings)| {
            let presets = std::mem::take(&mut own);
            group(pod, primary, membership, settings, presets)
        })
        .collect::<Result<Vec<_>, Unready>>()?;
    let any = match primary {
        IpAddr::V4(_) => "0.0.0.0",
        IpAddr::V6(_) => "[::]",
    };
    let mut document = json!({
        "name": place::MEMBER_NAME,
        "interfaces": interfaces,
        "tunDevice": place::TUN_NAME,
        "controlSocket": format!("{}/{}", place::STATE_DIRECTORY, place::CONTROL_SOCKET_FILE),
        "metrics": { "listen": format!("{any}:{}", place::METRICS_PORT) },
        "identity": identity(pod, memberships),
        "mtuBytes": all.iter().filter_map(|settings| settings.mtu).max().unwrap_or(0),
        "failureMode": if closed { "FailClosed" } else { "FailOpen" },
        "allowClear": entries(&allow_clear),
        // What may go in clear before registration is written out above, for each GroupMember as it wants it.
        "localBypass": "Exclude",
        "ike": { "port": place::IKE_PORT },
        "groups": groups,
    });
    if !services.is_empty() {
        document["services"] = json!(services);
    }
    Ok(WatchAnswer {
        revision: fingerprint::of(&document),
        configuration: document,
    })
}

/// How the member names itself: by the subject of its certificate if a group wants that, else by a domain name.
fn identity(pod: PodIdentity<'_>, memberships: &[Membership<'_>]) -> Value {
    let name = place::identity(pod.name, pod.namespace);
    let by_subject = memberships
        .iter()
        .find(|membership| membership.group.spec.identity == Identity::DistinguishedName);
    match by_subject {
        Some(membership) => {
            let group = group_name(membership.group);
            let subject = names::member_subject(&name, pod.namespace, group);
            json!({ "type": "DistinguishedName", "value": subject })
        }
        None => json!({ "type": "FQDN", "value": name }),
    }
}

fn group(
    pod: PodIdentity<'_>,
    primary: &IpAddr,
    membership: &Membership<'_>,
    settings: &MemberSettings,
    presets: Vec<Flow>,
) -> Result<Value, Unready> {
    let spec = &membership.group.spec;
    let name = group_name(membership.group);
    let authentication = match spec.authentication.mode {
        AuthenticationMode::PreSharedKey => json!({
            "preSharedKeyFile": format!(
                "{}/{name}/{}",
                place::PRE_SHARED_KEY_DIRECTORY,
                place::PRE_SHARED_KEY_ENTRY
            ),
        }),
        AuthenticationMode::Certificate => json!({
            "certificate": {
                "chainFile": format!("{name}/{}", place::CHAIN_FILE),
                "keyFile": place::KEY_FILE,
                "trustFile": format!("{name}/{}", place::GROUP_TRUST_FILE),
            },
        }),
    };
    let set = names::key_servers(group_name(membership.host));
    let mut bypass = presets;
    extend(&mut bypass, &settings.bypass);
    let mut value = Map::new();
    value.insert("groupID".to_owned(), json!(spec.group_id));
    value.insert(
        "keyServers".to_owned(),
        json!(key_servers(pod, primary, membership)?),
    );
    value.insert(
        "keyServerIdentities".to_owned(),
        json!([{ "type": "FQDN", "value": place::key_server_identity(&set, pod.namespace) }]),
    );
    value.insert("authentication".to_owned(), authentication);
    value.insert("bypass".to_owned(), json!(entries(&bypass)));
    value.insert("direction".to_owned(), json!(direction(settings.direction)));
    if spec.multicast_delivery == MulticastDelivery::HeadEndReplication {
        let receivers = receivers(pod, membership.receivers);
        value.insert("multicastReceivers".to_owned(), json!(receivers));
    }
    Ok(Value::Object(value))
}

/// Where copies of multicast go: to the other members, each once, in an order that does not depend on who asks.
fn receivers(pod: PodIdentity<'_>, all: &[IpAddr]) -> Vec<IpAddr> {
    let mut others = all.to_vec();
    others.retain(|address| !pod.addresses.contains(address));
    others.sort_unstable();
    others.dedup();
    others
}

/// Addresses of key servers in the order they are tried: the GroupMember's, else the group's, the others by ordinal;
/// then the Service. Addresses of the pod's own family come before the others.
fn key_servers(
    pod: PodIdentity<'_>,
    primary: &IpAddr,
    membership: &Membership<'_>,
) -> Result<Vec<String>, Unready> {
    let host = membership.host.spec.key_servers.as_ref();
    let own = &membership.member.spec.key_server_order;
    let order: &[Ordinal] = match host {
        Some(host) if own.is_empty() => &host.registration.default_order,
        _ => own,
    };
    let place = |ordinal: usize| {
        order
            .iter()
            .position(|wanted| usize::try_from(wanted.0) == Ok(ordinal))
            .unwrap_or(usize::MAX)
    };
    let reachable = |addresses: &[IpAddr]| {
        let same = addresses
            .iter()
            .find(|address| address.is_ipv4() == primary.is_ipv4());
        same.or(addresses.first()).copied()
    };
    let mut servers: Vec<&KeyServer> = membership.key_servers.iter().collect();
    servers.sort_by_key(|server| (place(server.ordinal), server.ordinal));
    let spread = host.is_some_and(|host| host.registration.selection == KeyServerSelection::Spread);
    if spread && own.is_empty() && !servers.is_empty() {
        let first = fingerprint::number(&(pod.namespace, pod.name)) % servers.len() as u64;
        servers.rotate_left(usize::try_from(first).unwrap_or(0));
    }
    let mut found: Vec<String> = servers
        .into_iter()
        .filter_map(|server| reachable(&server.addresses))
        .map(|address| written(address, REGISTRATION_PORT))
        .collect();
    let register = reachable(membership.register).map(|address| {
        let port = host.and_then(|host| u16::try_from(host.service.port).ok());
        written(address, port.unwrap_or(REGISTRATION_PORT))
    });
    found.truncate(MOST_KEY_SERVERS - usize::from(register.is_some()));
    found.extend(register);
    if found.is_empty() {
        return Err(Unready::NoKeyServers(
            group_name(membership.group).to_owned(),
        ));
    }
    Ok(found)
}

fn written(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

fn direction(direction: MemberDirection) -> &'static str {
    match direction {
        MemberDirection::Inherit => "Inherit",
        MemberDirection::Bidirectional => "Bidirectional",
        MemberDirection::InboundOnly => "InboundOnly",
        MemberDirection::InboundOptional => "InboundOptional",
    }
}

fn group_name(group: &GetVpnGroup) -> &str {
    group.metadata.name.as_deref().unwrap_or_default()
}

/// Adds the flows that are not there yet.
fn extend(flows: &mut Vec<Flow>, more: &[Flow]) {
    for flow in more {
        if !flows.contains(flow) {
            flows.push(flow.clone());
        }
    }
}

fn entries(flows: &[Flow]) -> Vec<Value> {
    flows.iter().map(flow::entry).collect()
}
