//! A group and its key servers as a GetVpnGroup.

use std::net::IpAddr;

use super::timing::Timing;
use super::{Plan, access, registration};
use crate::import::cisco_ios::address;
use crate::import::cisco_ios::device::{Device, Group, GroupIdentity, Server};
use crate::import::cisco_ios::note::{Notes, Weight};
use crate::import::yaml::{Entry, Node};

/// Most key servers of a group.
const MOST_KEY_SERVERS: usize = 8;

/// An object of ours.
pub(super) fn object(kind: &'static str, name: &str, spec: Node) -> Node {
    Node::fields()
        .with("apiVersion", format!("{}/{}", crds::GROUP, crds::VERSION))
        .with("kind", kind)
        .with("metadata", Node::fields().with("name", name))
        .with("spec", spec)
}

/// Addresses of the key servers by ordinal: the first configuration's own, then its peers.
pub(super) fn addresses(plan: &Plan<'_>, notes: &mut Notes) -> Vec<Option<IpAddr>> {
    let Some((device, group, server)) = plan.servers.first() else {
        return Vec::new();
    };
    let mut addresses = vec![server.address];
    for peer in &server.peers {
        if !addresses.contains(&Some(*peer)) {
            addresses.push(Some(*peer));
        }
    }
    if addresses.len() > MOST_KEY_SERVERS {
        let message = format!(
            "group `{}` has {} key servers; {MOST_KEY_SERVERS} is the most",
            group.name,
            addresses.len()
        );
        notes.add(device.source, server.line, Weight::Lost, message);
        addresses.truncate(MOST_KEY_SERVERS);
    }
    addresses
}

/// The GetVpnGroup.
pub(super) fn node(
    plan: &Plan<'_>,
    devices: &[Device],
    timing: &Timing,
    notes: &mut Notes,
) -> Node {
    // A plan is made with its first server.
    let Some((device, group, server)) = plan.servers.first().copied() else {
        return Node::fields();
    };
    if let Some((line, label)) = &server.signing_key {
        let message = format!(
            "the RSA key `{label}` is not in a configuration; the key servers make one of 3072 bits (`kubectl getvpn signing-key import {}` brings one along)",
            plan.name
        );
        notes.add(device.source, *line, Weight::Hint, message);
    }
    let access = access::decide(device, server, notes);
    let members: Vec<&Device> = devices
        .iter()
        .filter(|other| {
            other
                .groups
                .iter()
                .any(|it| it.server.is_none() && it.identity == Some(plan.identity))
        })
        .collect();
    let several = plan.addresses.len() > 1;
    let spec = Node::fields()
        .with("groupID", group_id(plan, device, group, notes))
        .with("description", description(device, group))
        .with_some("direction", server.receive_only.then_some("ReceiveOnly"))
        .with("keyServers", key_servers(plan, device, notes))
        .with("authentication", access.authentication(&plan.name))
        .with_some("identity", access.identity)
        .with_some("authorization", access.authorization)
        .with_some(
            "registration",
            registration::node(device, &members, several, notes),
        )
        .with_some(
            "traffic",
            Node::fields()
                .with_some("lifetimeSeconds", timing.traffic_seconds)
                .with_some("lifetimeKilobytes", timing.traffic_kilobytes)
                .unless_empty(),
        )
        .with("rekey", rekey(device, server, timing, notes));
    object("GetVpnGroup", &plan.name, spec)
}

fn group_id(plan: &Plan<'_>, device: &Device, group: &Group, notes: &mut Notes) -> i64 {
    let (number, what) = match plan.identity {
        GroupIdentity::Number(number) => (number, number.to_string()),
        GroupIdentity::Address(address) => (u32::from(address), address.to_string()),
    };
    // Numbers have 31 bits.
    let id = number & 0x7fff_ffff;
    if id != number || matches!(plan.identity, GroupIdentity::Address(_)) {
        let message = format!(
            "identity {what} becomes the number {id}, which members must name: groups have numbers up to 2147483647"
        );
        notes.add(device.source, group.line, Weight::Changed, message);
    }
    i64::from(id)
}

fn description(device: &Device, group: &Group) -> String {
    let text = match &device.hostname {
        Some(host) => format!("Imported from group {} of {host}", group.name),
        None => format!("Imported from group {}", group.name),
    };
    text.chars().take(250).collect()
}

fn key_servers(plan: &Plan<'_>, device: &Device, notes: &mut Notes) -> Node {
    let mut priorities = Vec::new();
    for (server_device, _, server) in &plan.servers {
        let ordinal = plan
            .addresses
            .iter()
            .position(|address| address.is_some() && *address == server.address)
            .or_else(|| server.address.is_none().then_some(0));
        let (Some(ordinal), Some((line, priority))) = (ordinal, server.priority) else {
            continue;
        };
        if !(1..=100).contains(&priority) {
            let message = format!("priority {priority} is not possible; 1 to 100 is");
            notes.add(server_device.source, line, Weight::Lost, message);
            continue;
        }
        if priorities.iter().all(|(other, _)| *other != ordinal) {
            priorities.push((ordinal, priority));
        }
    }
    let unknown = plan.addresses.len().saturating_sub(priorities.len());
    if unknown > 0 && !priorities.is_empty() {
        let message = format!(
            "priorities of {unknown} more key servers are in their own configurations; import those together with this one, or set `keyServers.priorities`"
        );
        let line = plan.servers.first().map_or(0, |(_, _, server)| server.line);
        notes.add(device.source, line, Weight::Hint, message);
    }
    let priorities = priorities.into_iter().map(|(ordinal, priority)| {
        Node::fields()
            .with("ordinal", i64::try_from(ordinal).unwrap_or(0))
            .with("priority", priority)
    });
    let detection = device.ike.keepalive.map(|keepalive| {
        let seconds = keepalive.seconds.clamp(10, 3_600);
        if seconds != keepalive.seconds {
            let message = format!(
                "a keepalive every {} s becomes one every {seconds} s",
                keepalive.seconds
            );
            notes.add(device.source, keepalive.line, Weight::Changed, message);
        }
        let mode = if keepalive.periodic {
            "Periodic"
        } else {
            "OnDemand"
        };
        Node::fields()
            .with("mode", mode)
            .with("periodSeconds", seconds)
            .with_some(
                "retryPeriodSeconds",
                keepalive.retry.map(|retry| retry.clamp(2, 60)),
            )
    });
    Node::fields()
        .with("replicas", i64::try_from(plan.addresses.len()).unwrap_or(1))
        .with_some("priorities", Node::list(priorities).unless_empty())
        .with_some("deadPeerDetection", detection)
}

fn rekey(device: &Device, server: &Server, timing: &Timing, notes: &mut Notes) -> Node {
    let multicast = multicast(device, server, notes);
    let retransmit = timing.retransmit.map(|(attempts, period)| {
        Node::fields()
            .with("attempts", attempts)
            .with("periodSeconds", period)
    });
    let transport: Entry = if multicast.is_some() {
        "Multicast".into()
    } else {
        "Unicast".into()
    };
    Node::fields()
        .with("transport", transport)
        .with_some("multicast", multicast)
        .with_some("kekLifetimeSeconds", timing.kek_seconds)
        .with_some("leadTimeSeconds", timing.lead_seconds)
        .with_some("retransmit", retransmit)
}

/// Where rekeys are multicast to; on IOS that is what happens unless `rekey transport unicast` is set.
fn multicast(device: &Device, server: &Server, notes: &mut Notes) -> Option<Node> {
    let mut changed = |line, message: &str| {
        notes.add(device.source, line, Weight::Changed, message);
        None
    };
    let Some((line, name)) = &server.rekey_address else {
        if !server.unicast {
            return changed(
                server.line,
                "rekeys are multicast, but there is no `rekey address`; they go by unicast",
            );
        }
        return None;
    };
    if server.unicast {
        return changed(
            *line,
            "rekeys go by unicast, their multicast address is not needed",
        );
    }
    let entry = device
        .access_lists
        .get(name)
        .and_then(|list| list.entries.iter().find(|entry| entry.permit));
    let address = entry
        .and_then(|entry| entry.destination.nets.first())
        .filter(|net| net.prefix_len() == net.max_prefix_len())
        .map(ipnet::IpNet::addr)
        .filter(|address| address::is_routable_multicast(*address));
    let (Some(entry), Some(address)) = (entry, address) else {
        let message = format!(
            "the access list `{name}` names no multicast address that routers forward; rekeys go by unicast"
        );
        return changed(*line, &message);
    };
    let port = entry.destination.ports.first().map(|(port, _)| *port);
    Some(
        Node::fields()
            .with("address", address.to_string())
            .with_some("port", port.filter(|port| *port > 0).map(i64::from)),
    )
}
