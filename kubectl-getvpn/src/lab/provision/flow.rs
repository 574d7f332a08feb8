//! A flow of a resource as rules of a policy.

use crds::v1alpha1::Flow;
use ipnet::IpNet;
use keyserver_api::policy::{Action, Rule};
use operator_core::flow::protocol_number;

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
                protocol: protocol_number(flow.protocol, flow.protocol_number),
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
