//! One rule of a resource as the rules of a policy: the rule itself, and the one for the way back.

use crds::v1alpha1::{Action as ResourceAction, Mirror, TrafficRule};
use ipnet::IpNet;
use keyserver_api::policy::{Action, Rule};

use crate::flow::{self, ValueError};

/// What the name of a rule for the way back ends with. No name a user may write has a dot.
const MIRROR_SUFFIX: &str = ".mirror";

/// The rule, and the rule for the way back where it needs one.
///
/// # Errors
/// The field at fault, and what is wrong; only for objects that never passed admission.
pub fn both_ways(rule: &TrafficRule) -> Result<Vec<Rule>, (&'static str, ValueError)> {
    let there = Rule {
        name: rule.name.clone(),
        action: match rule.action {
            ResourceAction::Permit => Action::Permit,
            ResourceAction::Deny => Action::Deny,
        },
        protocol: flow::protocol_number(rule.protocol, rule.protocol_number),
        source: flow::prefix(&rule.source).map_err(|error| ("source", error))?,
        destination: flow::prefix(&rule.destination).map_err(|error| ("destination", error))?,
        source_ports: flow::ports(&rule.source_ports).map_err(|error| ("sourcePorts", error))?,
        destination_ports: flow::ports(&rule.destination_ports)
            .map_err(|error| ("destinationPorts", error))?,
    };
    let differs =
        there.source != there.destination || there.source_ports != there.destination_ports;
    // Nobody answers from a multicast address.
    let multicast = there.destination.network().is_multicast();
    if rule.mirror == Mirror::Disabled || !differs || multicast {
        return Ok(vec![there]);
    }
    let back = Rule {
        name: format!("{}{MIRROR_SUFFIX}", there.name),
        source: there.destination,
        destination: there.source,
        source_ports: there.destination_ports.clone(),
        destination_ports: there.source_ports.clone(),
        ..there.clone()
    };
    Ok(vec![there, back])
}

/// Whether every packet that fits `inner` fits `outer` as well.
#[must_use]
pub fn covers(outer: &Rule, inner: &Rule) -> bool {
    outer
        .protocol
        .is_none_or(|number| inner.protocol == Some(number))
        && outer.source.contains(&inner.source)
        && outer.destination.contains(&inner.destination)
        && covers_ports(&outer.source_ports, &inner.source_ports)
        && covers_ports(&outer.destination_ports, &inner.destination_ports)
}

fn covers_ports(outer: &[(u16, u16)], inner: &[(u16, u16)]) -> bool {
    let within = |&(low, high): &(u16, u16)| {
        outer
            .iter()
            .any(|&(lowest, highest)| lowest <= low && high <= highest)
    };
    outer.is_empty() || (!inner.is_empty() && inner.iter().all(within))
}

/// Whether some packet fits both.
#[must_use]
pub fn overlap(one: &Rule, other: &Rule) -> bool {
    let protocols = match (one.protocol, other.protocol) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    protocols
        && networks_overlap(&one.source, &other.source)
        && networks_overlap(&one.destination, &other.destination)
        && ports_overlap(&one.source_ports, &other.source_ports)
        && ports_overlap(&one.destination_ports, &other.destination_ports)
}

fn networks_overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn ports_overlap(one: &[(u16, u16)], other: &[(u16, u16)]) -> bool {
    let meets = |&(low, high): &(u16, u16)| {
        other
            .iter()
            .any(|&(lowest, highest)| low <= highest && lowest <= high)
    };
    one.is_empty() || other.is_empty() || one.iter().any(meets)
}

/// Lines the rule takes in a member's access list: one for each pair of its port ranges.
#[must_use]
pub fn entries(rule: &Rule) -> usize {
    rule.source_ports.len().max(1) * rule.destination_ports.len().max(1)
}
