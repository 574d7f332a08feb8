//! What is allowed in a policy and yet deserves a look.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use keyserver_api::policy::{Action, Rule};

use crate::expand::covers;

/// IPv4 networks that no public host has an address in: RFC 6890 and multicast.
const NOT_PUBLIC_V4: [([u8; 4], u8); 12] = [
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 2, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// The same for IPv6, by the first two groups.
const NOT_PUBLIC_V6: [([u16; 2], u8); 4] = [
    ([0xfc00, 0], 7),
    ([0xfe80, 0], 10),
    ([0xff00, 0], 8),
    ([0x2001, 0x0db8], 32),
];

/// Permit rules of one object from which a summary is worth while.
const MANY_NETWORKS: usize = 4;

/// The rules of one accepted object, those for the way back included.
pub(crate) struct Object<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its rules, in order.
    pub(crate) rules: Vec<&'a Rule>,
}

/// Advice about the accepted objects of a group, by object: names of objects with messages.
pub(crate) fn advice(objects: &[Object<'_>]) -> Vec<(String, String)> {
    let permits = |object: &Object<'_>| -> Vec<Rule> {
        let permit = |rule: &&&Rule| rule.action == Action::Permit;
        let rules = object.rules.iter().filter(permit);
        rules.map(|rule| (*rule).clone()).collect()
    };
    let all: Vec<Rule> = objects.iter().flat_map(permits).collect();
    let mut found = Vec::new();
    for object in objects {
        let own = permits(object);
        let messages = own
            .iter()
            .filter_map(exposure)
            .chain(own.iter().filter_map(|rule| missing_mirror(rule, &all)))
            .chain(summary(&own));
        found.extend(messages.map(|message| (object.name.to_owned(), message)));
    }
    found
}

/// Outer headers show the addresses of hosts, which is fit for a private network only.
fn exposure(rule: &Rule) -> Option<String> {
    let public = [rule.source, rule.destination]
        .into_iter()
        .find(|network| !is_private(network))?;
    // The rule for the way back has the same ends.
    (!rule.name.contains('.')).then(|| {
        format!(
            "rule `{}` covers public addresses (`{public}`): encrypted packets show the addresses of hosts, so send them \
             over a private network only",
            rule.name
        )
    })
}

fn is_private(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => NOT_PUBLIC_V4.iter().any(|(address, length)| {
            Ipv4Net::new(Ipv4Addr::from(*address), *length)
                .is_ok_and(|private| private.contains(network))
        }),
        IpNet::V6(network) => NOT_PUBLIC_V6.iter().any(|([first, second], length)| {
            let address = Ipv6Addr::new(*first, *second, 0, 0, 0, 0, 0, 0);
            Ipv6Net::new(address, *length).is_ok_and(|private| private.contains(network))
        }),
    }
}

/// A rule whose ends differ needs one for the way back, unless nobody answers from its destination.
fn missing_mirror(rule: &Rule, permits: &[Rule]) -> Option<String> {
    let back = Rule {
        name: format!("{}-back", rule.name),
        source: rule.destination,
        destination: rule.source,
        source_ports: rule.destination_ports.clone(),
        destination_ports: rule.source_ports.clone(),
        ..rule.clone()
    };
    let multicast = rule.destination.network().is_multicast();
    let there = permits.iter().any(|other| covers(other, &back));
    (!multicast && !there).then(|| {
        format!(
            "MissingMirror: no rule encrypts what answers rule `{}`: from {}{} to {}{}",
            rule.name,
            back.source,
            ports(&back.source_ports),
            back.destination,
            ports(&back.destination_ports)
        )
    })
}

fn ports(ranges: &[(u16, u16)]) -> String {
    let words: Vec<String> = ranges
        .iter()
        .map(|(low, high)| {
            if low == high {
                low.to_string()
            } else {
                format!("{low}-{high}")
            }
        })
        .collect();
    if words.is_empty() {
        String::new()
    } else {
        format!(" port {}", words.join(", "))
    }
}

/// Many rules for adjacent networks do what few for wider ones would.
fn summary(permits: &[Rule]) -> Option<String> {
    let networks: Vec<IpNet> = permits
        .iter()
        .filter(|rule| rule.source == rule.destination && rule.protocol.is_none())
        .map(|rule| rule.source)
        .collect();
    let joined = IpNet::aggregate(&networks);
    let worth = networks.len() >= MANY_NETWORKS && joined.len().saturating_mul(2) <= networks.len();
    worth.then(|| {
        let words: Vec<String> = joined.iter().map(ToString::to_string).collect();
        format!(
            "{} permit rules are for adjacent networks that {} would cover ({}); fewer, wider rules take fewer SAs",
            networks.len(),
            joined.len(),
            words.join(", ")
        )
    })
}
