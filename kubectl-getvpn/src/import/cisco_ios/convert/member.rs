//! Crypto maps of a member as GroupMembers.

use super::Plan;
use super::name::{self, Names};
use super::rules;
use crate::import::cisco_ios::device::{CryptoMap, Device, Group, Interface};
use crate::import::cisco_ios::note::{Notes, Weight};
use crate::import::cisco_ios::rule::{self, Role};
use crate::import::yaml::{Entry, Node};

/// Most interfaces, and most flows of a list.
const MOST_INTERFACES: usize = 8;
const MOST_FLOWS: usize = 64;

/// The GroupMembers of a device: one for each group that a crypto map on an interface joins.
pub(super) fn nodes(
    device: &Device,
    plans: &[Plan<'_>],
    names: &mut Names,
    notes: &mut Notes,
) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut joined: Vec<&str> = Vec::new();
    for map in &device.crypto_maps {
        let found = map
            .group
            .as_ref()
            .and_then(|name| device.groups.iter().find(|group| group.name == *name));
        let Some(group) = found else {
            let message = format!(
                "crypto map `{}`: it names no group of this configuration and is left out",
                map.name
            );
            notes.add(device.source, map.line, Weight::Lost, message);
            continue;
        };
        if group.server.is_some() {
            let message = format!(
                "group `{}`: a key server cannot be a member of its own group; the member is left out",
                group.name
            );
            notes.add(device.source, map.line, Weight::Lost, message);
            continue;
        }
        if joined.contains(&group.name.as_str()) {
            continue;
        }
        joined.push(&group.name);
        if let Some(node) = member(device, group, map, plans, names, notes) {
            nodes.push(node);
        }
    }
    if joined.len() > 1 {
        let message = "this member takes part in several groups: the one whose GroupMember comes first in its configuration decides first";
        notes.add(device.source, 0, Weight::Hint, message);
    }
    for group in &device.groups {
        if group.server.is_none() && !joined.contains(&group.name.as_str()) {
            let message = format!(
                "group `{}`: no crypto map joins it, so there is no member to import",
                group.name
            );
            notes.add(device.source, group.line, Weight::Lost, message);
        }
    }
    nodes
}

fn member(
    device: &Device,
    group: &Group,
    map: &CryptoMap,
    plans: &[Plan<'_>],
    names: &mut Names,
    notes: &mut Notes,
) -> Option<Node> {
    let maps: Vec<&CryptoMap> = device
        .crypto_maps
        .iter()
        .filter(|other| other.group == map.group)
        .collect();
    if let Some(other) = maps.iter().find(|other| other.list != map.list) {
        let message = format!(
            "crypto map `{}`: a member has one list for all its interfaces; that of line {} is taken",
            other.name, map.line
        );
        notes.add(device.source, other.line, Weight::Lost, message);
    }
    let interfaces: Vec<&Interface> = device
        .interfaces
        .iter()
        .filter(|interface| maps.iter().any(|map| map.name == interface.crypto_map))
        .collect();
    if interfaces.is_empty() {
        let message = format!(
            "crypto map `{}` is on no interface; the member is left out",
            map.name
        );
        notes.add(device.source, map.line, Weight::Lost, message);
        return None;
    }
    let plan = plans
        .iter()
        .find(|plan| Some(plan.identity) == group.identity);
    let group_name = plan.map_or_else(
        || {
            let message = format!(
                "group `{}`: its policy is in the key servers' configurations; import these too",
                group.name
            );
            notes.add(device.source, group.line, Weight::Hint, message);
            name::name(&group.name).chars().take(49).collect::<String>()
        },
        |plan| plan.name.clone(),
    );
    let group_name = group_name.trim_end_matches('-');
    let wanted = device
        .hostname
        .clone()
        .unwrap_or_else(|| format!("{group_name}-member"));
    let name = names.unique(&wanted, 63);
    let bypass = flows(device, map.list.as_ref(), false, notes);
    let (failure_mode, fail_closed) = failure(device, map, bypass.as_ref(), notes);
    let spec = Node::fields().with("groupRef", Node::fields().with("name", group_name));
    let spec = interface_fields(spec, device, group, map, &interfaces, notes)
        .with_some("bypass", bypass.map(Node::List))
        .with("failureMode", failure_mode)
        .with_some("failClosed", fail_closed)
        .with_some(
            "keyServerOrder",
            plan.and_then(|plan| key_server_order(device, group, plan, notes)),
        )
        .with_some("direction", group.passive.then_some("InboundOnly"));
    Some(super::group::object("GroupMember", &name, spec))
}

fn interface_fields(
    spec: Node,
    device: &Device,
    group: &Group,
    map: &CryptoMap,
    interfaces: &[&Interface],
    notes: &mut Notes,
) -> Node {
    let mut add = |line, weight, message: String| notes.add(device.source, line, weight, message);
    if let Some(beyond) = interfaces.get(MOST_INTERFACES) {
        let message = format!("a member has at most {MOST_INTERFACES} protected interfaces");
        add(beyond.line, Weight::Lost, message);
    }
    let interfaces = interfaces.get(..MOST_INTERFACES).unwrap_or(interfaces);
    let ours = |index: usize| format!("eth{index}");
    for (index, interface) in interfaces.iter().enumerate() {
        add(
            interface.line,
            Weight::Hint,
            format!(
                "interface {} is called {} here; write the name it has on the host",
                interface.name,
                ours(index)
            ),
        );
        if let Some((line, vrf)) = &interface.vrf {
            let message = format!(
                "interface {} is in VRF {vrf}: members know one routing table only, VRF-aware GET VPN is not offered",
                interface.name
            );
            add(*line, Weight::Lost, message);
        }
        if let Some(line) = interface.tunnel_protection {
            let message = format!(
                "interface {} is protected as a tunnel already; GET VPN over DMVPN is not offered",
                interface.name
            );
            add(line, Weight::Lost, message);
        }
        if let Some((line, mtu)) = interface.mtu {
            let message = format!(
                "an MTU of {mtu}: members learn it from the interface, and send packets that fit"
            );
            add(line, Weight::Hint, message);
        }
    }
    let chosen = group
        .registration_interface
        .clone()
        .or_else(|| Some((map.line, device.local_addresses.get(&map.name)?.clone())));
    let position = chosen.as_ref().and_then(|(_, name)| {
        interfaces
            .iter()
            .position(|interface| interface.name.eq_ignore_ascii_case(name))
    });
    if let (Some((line, name)), None) = (&chosen, position) {
        let message = format!(
            "interface {name} is not protected: members register from the address of a protected interface"
        );
        add(*line, Weight::Changed, message);
    }
    let local = match position {
        Some(index) => Some(ours(index)),
        None => (interfaces.len() > 1).then(|| ours(0)),
    };
    spec.with("interfaces", Node::texts((0..interfaces.len()).map(ours)))
        .with_some("localInterface", local.filter(|_| interfaces.len() > 1))
}

/// The flows that a list leaves in clear, as nodes.
fn flows(
    device: &Device,
    list: Option<&(usize, String)>,
    fail_close: bool,
    notes: &mut Notes,
) -> Option<Vec<Entry>> {
    let (line, name) = list?;
    let Some(list) = device.access_lists.get(name) else {
        let message = format!(
            "there is no access list `{name}` in this configuration; what it leaves in clear is not left in clear by the result"
        );
        notes.add(device.source, *line, Weight::Lost, message);
        return None;
    };
    let rules = rule::expand(device, list, Role::Member, notes);
    let mut flows = rules::clear_flows(rules, fail_close, device.source, notes);
    if let Some(beyond) = flows.get(MOST_FLOWS) {
        let message =
            format!("a list has at most {MOST_FLOWS} flows; from here on they are left out");
        notes.add(device.source, beyond.line, Weight::Lost, message);
        flows.truncate(MOST_FLOWS);
    }
    let name = if name.starts_with(|c: char| c.is_ascii_digit()) {
        format!("acl-{name}")
    } else {
        name.clone()
    };
    let nodes = rules::flow_nodes(&name, &flows);
    (!nodes.is_empty()).then_some(nodes)
}

/// What happens without keys.
fn failure(
    device: &Device,
    map: &CryptoMap,
    bypass: Option<&Vec<Entry>>,
    notes: &mut Notes,
) -> (&'static str, Option<Node>) {
    match device.fail_close.get(&map.name) {
        Some(fail_close) if fail_close.active => {
            let allow = flows(device, fail_close.list.as_ref(), true, notes);
            if allow.is_none() {
                let message = "without keys nothing goes in clear but registration itself; see to it that the host can still be reached";
                notes.add(device.source, fail_close.line, Weight::Hint, message);
            }
            // IOS compares the fail-close list whatever the member's own list says.
            let local = bypass.is_some().then_some("Exclude");
            let node = Node::fields()
                .with_some("allowClear", allow.map(Node::List))
                .with_some("localBypass", local)
                .unless_empty();
            ("FailClosed", node)
        }
        other => {
            let line = other.map_or(map.line, |fail_close| fail_close.line);
            let message = "no fail-close: before the first registration traffic goes in clear, as on IOS; `failureMode: FailClosed` holds it back";
            notes.add(device.source, line, Weight::Hint, message);
            ("FailOpen", None)
        }
    }
}

/// The order of a member's key servers, when it is not that of the group.
fn key_server_order(
    device: &Device,
    group: &Group,
    plan: &Plan<'_>,
    notes: &mut Notes,
) -> Option<Node> {
    let mut order: Vec<i64> = Vec::new();
    for (line, address) in &group.key_servers {
        let ordinal = plan
            .addresses
            .iter()
            .position(|known| *known == Some(*address))
            .and_then(|ordinal| i64::try_from(ordinal).ok());
        match ordinal {
            Some(ordinal) if !order.contains(&ordinal) => order.push(ordinal),
            Some(_) => {}
            None => {
                let message = format!("{address} is no key server of group `{}`", plan.name);
                notes.add(device.source, *line, Weight::Lost, message);
            }
        }
    }
    let usual = order
        .iter()
        .zip(0..)
        .all(|(ordinal, index)| *ordinal == index);
    (!usual).then(|| Node::list(order.into_iter().map(Node::Number)))
}
