//! One flow as people write it: protocol, networks, ports. What is left out means any.

use gm_core::data_plane::Family;
use gm_core::member::flow::ANY_PORT;
use gm_core::spd::{AddressRange, Selector};
use ipnet::IpNet;
use serde::Deserialize;
use std::ops::RangeInclusive;

/// A flow that goes in clear, from the point of view of the member that sends it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlowEntry {
    /// A name for logs and people.
    #[serde(default)]
    pub name: Option<String>,
    /// TCP, UDP, ICMP, ICMPv6, SCTP, ESP, AH, GRE, OSPF, PIM, IGMP, or a number 1–255.
    #[serde(default)]
    protocol: Option<Protocol>,
    /// Source network.
    #[serde(default)]
    source: Option<IpNet>,
    /// Destination network.
    #[serde(default)]
    destination: Option<IpNet>,
    /// Source ports, each `22` or `1000-2000`.
    #[serde(default)]
    source_ports: Vec<Ports>,
    /// Destination ports.
    #[serde(default)]
    destination_ports: Vec<Ports>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Text")]
struct Protocol(u8);

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Text")]
struct Ports(RangeInclusive<u16>);

/// A scalar that people write with or without quotes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Number(u32),
    Text(String),
}

impl Text {
    fn into_string(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

impl TryFrom<Text> for Protocol {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        let text = text.into_string();
        let number = match text.to_ascii_uppercase().as_str() {
            "ICMP" => 1,
            "IGMP" => 2,
            "TCP" => 6,
            "UDP" => 17,
            "GRE" => 47,
            "ESP" => 50,
            "AH" => 51,
            "ICMPV6" => 58,
            "OSPF" => 89,
            "PIM" => 103,
            "SCTP" => 132,
            other => other.parse().unwrap_or(0),
        };
        if number == 0 {
            return Err(format!(
                "protocol `{text}` is unknown; write TCP, UDP, ICMP, ICMPv6, SCTP, ESP, AH, GRE, \
                 OSPF, PIM, IGMP or a number 1 to 255"
            ));
        }
        Ok(Self(number))
    }
}

impl TryFrom<Text> for Ports {
    type Error = String;

    fn try_from(text: Text) -> Result<Self, String> {
        let text = text.into_string();
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(Self(first..=last)),
            _ => Err(format!(
                "`{text}` is no port or port range; write for example 22 or 1000-2000"
            )),
        }
    }
}

impl FlowEntry {
    /// What is wrong with the combination of fields.
    pub(super) fn check(&self) -> Result<(), String> {
        if let (Some(source), Some(destination)) = (self.source, self.destination)
            && source.network().is_ipv4() != destination.network().is_ipv4()
        {
            return Err(format!(
                "source {source} and destination {destination} are of different families"
            ));
        }
        let has_ports = !self.source_ports.is_empty() || !self.destination_ports.is_empty();
        match self.protocol {
            Some(Protocol(6 | 17 | 132)) => Ok(()),
            _ if has_ports => Err("ports need `protocol: TCP`, `UDP` or `SCTP`".to_owned()),
            Some(_) | None => Ok(()),
        }
    }

    /// The selectors this entry stands for: one per family and pair of port ranges.
    pub fn selectors(&self) -> Vec<Selector> {
        let families = match self.source.or(self.destination) {
            Some(IpNet::V4(_)) => &[Family::V4][..],
            Some(IpNet::V6(_)) => &[Family::V6],
            None => &[Family::V4, Family::V6],
        };
        let mut selectors = Vec::new();
        for &family in families {
            let range = |network: Option<IpNet>| {
                network.map_or(AddressRange::any(family), AddressRange::network)
            };
            for source_ports in port_ranges(&self.source_ports) {
                for destination_ports in port_ranges(&self.destination_ports) {
                    selectors.push(Selector {
                        source: range(self.source),
                        destination: range(self.destination),
                        protocol: self.protocol.map(|Protocol(number)| number),
                        source_ports: source_ports.clone(),
                        destination_ports,
                    });
                }
            }
        }
        selectors
    }
}

fn port_ranges(ports: &[Ports]) -> Vec<RangeInclusive<u16>> {
    if ports.is_empty() {
        return vec![ANY_PORT];
    }
    ports.iter().map(|Ports(range)| range.clone()).collect()
}
