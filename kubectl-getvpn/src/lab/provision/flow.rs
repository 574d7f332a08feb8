//! A flow of a resource, in the words of a member's configuration and as rules of a policy.

use crds::v1alpha1::{Flow, Protocol};
use ipnet::IpNet;
use keyserver_api::policy::{Action, Rule};
use serde_json::{Map, Value, json};

/// The flow as an entry of `bypass` or `allowClear` in a member's configuration file.
#[must_use]
pub(super) fn configuration(flow: &Flow) -> Value {
    let mut entry = Map::new();
    entry.insert("name".to_owned(), json!(flow.name));
    if let Some(number) = protocol_number(flow) {
        entry.insert("protocol".to_owned(), json!(number));
    }
    for (field, network) in [("source", &flow.source), ("destination", &flow.destination)] {
        if let Some(network) = network {
            entry.insert(field.to_owned(), json!(network.0));
        }
    }
    for (field, ports) in [
        ("sourcePorts", &flow.source_ports),
        ("destinationPorts", &flow.destination_ports),
    ] {
        if !ports.is_empty() {
            let ports: Vec<&str> = ports.iter().map(|range| range.0.as_str()).collect();
            entry.insert(field.to_owned(), json!(ports));
        }
    }
    Value::Object(entry)
}

/// The flow, there and back, as rules that leave it in clear.
#[must_use]
pub(super) fn rules(flow: &Flow) -> Vec<Rule> {
    let any = ["0.0.0.0/0", "::/0"].map(|text| text.parse::<IpNet>().expect("well-formed"));
    let networks = |network: &Option<crds::v1alpha1::Cidr>| -> Vec<IpNet> {
        match network {
            Some(network) => network.0.parse().into_iter().collect(),
            None => any.to_vec(),
        }
    };
    let ports = |ranges: &[crds::v1alpha1::PortRange]| -> Vec<(u16, u16)> {
        ranges
            .iter()
            .filter_map(|range| port_range(&range.0))
            .collect()
    };
    let mut rules = Vec::new();
    for source in networks(&flow.source) {
        for destination in networks(&flow.destination) {
            if source.addr().is_ipv4() != destination.addr().is_ipv4() {
                continue;
            }
            let there = Rule {
                name: flow.name.clone(),
                action: Action::Deny,
                protocol: protocol_number(flow),
                source,
                destination,
                source_ports: ports(&flow.source_ports),
                destination_ports: ports(&flow.destination_ports),
            };
            let back = Rule {
                source: there.destination,
                destination: there.source,
                source_ports: there.destination_ports.clone(),
                destination_ports: there.source_ports.clone(),
                ..there.clone()
            };
            rules.extend([there, back]);
        }
    }
    rules
}

fn port_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// The IP protocol number (IANA protocol-numbers); `None` for any.
fn protocol_number(flow: &Flow) -> Option<u8> {
    match flow.protocol {
        Protocol::Any => flow
            .protocol_number
            .and_then(|number| u8::try_from(number).ok()),
        Protocol::Icmp => Some(1),
        Protocol::Tcp => Some(6),
        Protocol::Udp => Some(17),
        Protocol::Gre => Some(47),
        Protocol::Esp => Some(50),
        Protocol::IcmpV6 => Some(58),
        Protocol::Ospf => Some(89),
    }
}
