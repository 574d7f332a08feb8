//! Says of each packet on the wire whether it is ESP, IKE, or something in clear that a group's
//! policy protects.

use std::net::IpAddr;

use keyserver_api::policy::{Action, GroupPolicy, Rule};

use super::frame::{Packet, protocol, u16_at};
use crate::lab::state::Lab;

/// Ports of IKE without the non-ESP marker.
const IKE_PORTS: [u16; 2] = [500, 848];
/// Port of IKE with the non-ESP marker and of ESP in UDP (RFC 3948).
const NAT_TRAVERSAL_PORT: u16 = 4500;
/// ICMPv6 types of neighbour discovery, which never leave the link (RFC 4861).
const NEIGHBOUR_DISCOVERY: std::ops::RangeInclusive<u8> = 133..=137;

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// ESP, in UDP or as IP protocol 50.
    Esp {
        /// Whether it is inside UDP.
        in_udp: bool,
        /// The whole ESP packet.
        packet: &'a [u8],
    },
    /// IKE, G-IKEv2 rekeys and their acknowledgements included.
    Ike,
    /// A flow that the policy of the sender's group protects, in clear.
    ClearProtected,
    /// Everything else.
    Other,
}

impl Kind<'_> {
    /// SPI and the 8-octet IV of an ESP packet, which every cipher of this product has.
    #[must_use]
    pub fn spi_and_iv(&self) -> Option<(u32, u64)> {
        let Self::Esp { packet, .. } = self else {
            return None;
        };
        let spi = packet.get(..4)?.try_into().ok()?;
        let iv = packet.get(8..16)?.try_into().ok()?;
        Some((u32::from_be_bytes(spi), u64::from_be_bytes(iv)))
    }
}

/// The ordered rules that hold for what one node sends.
#[derive(Debug, Clone)]
struct Sender {
    addresses: [IpAddr; 2],
    rules: Vec<Rule>,
}

/// Classifies packets of one lab.
#[derive(Debug, Clone)]
pub struct Classifier {
    senders: Vec<Sender>,
}

impl Classifier {
    /// A classifier that knows the lab's members and the policies of their groups.
    #[must_use]
    pub fn new(lab: &Lab) -> Self {
        let senders = lab
            .members()
            .map(|node| {
                let policies = lab
                    .groups
                    .iter()
                    .map(|group| &group.policy)
                    .filter(|policy| node.groups.contains(&policy.name));
                Sender {
                    addresses: [node.addresses.ipv4.into(), node.addresses.ipv6.into()],
                    rules: node
                        .bypass
                        .iter()
                        .cloned()
                        .chain(policies.flat_map(ordered_rules))
                        .collect(),
                }
            })
            .collect();
        Self { senders }
    }

    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self {
            senders: Vec::new(),
        }
    }

    /// What this packet is.
    #[must_use]
    pub fn classify<'a>(&self, packet: &Packet<'a>) -> Kind<'a> {
        if packet.protocol == protocol::ESP {
            return Kind::Esp {
                in_udp: false,
                packet: packet.payload,
            };
        }
        if let (Some((source, destination)), Some(payload)) = (packet.ports(), packet.udp_payload())
        {
            let either = |port: u16| source == port || destination == port;
            if IKE_PORTS.into_iter().any(either) {
                return Kind::Ike;
            }
            if either(NAT_TRAVERSAL_PORT) {
                return match payload {
                    [0, 0, 0, 0, ..] | [0xff] => Kind::Ike,
                    _ => Kind::Esp {
                        in_udp: true,
                        packet: payload,
                    },
                };
            }
        }
        if self.is_protected(packet) {
            Kind::ClearProtected
        } else {
            Kind::Other
        }
    }

    fn is_protected(&self, packet: &Packet<'_>) -> bool {
        if stays_on_link(packet) {
            return false;
        }
        let sender = self
            .senders
            .iter()
            .find(|sender| sender.addresses.contains(&packet.source));
        let decided = sender
            .into_iter()
            .flat_map(|sender| &sender.rules)
            .find(|rule| matches(rule, packet));
        decided.is_some_and(|rule| rule.action == Action::Permit)
    }
}

/// Rules of a group, first to be looked at first.
fn ordered_rules(policy: &GroupPolicy) -> Vec<Rule> {
    let mut associations: Vec<_> = policy.security_associations.iter().collect();
    associations.sort_by_key(|association| association.order);
    associations
        .into_iter()
        .flat_map(|association| association.rules.iter().cloned())
        .collect()
}

fn matches(rule: &Rule, packet: &Packet<'_>) -> bool {
    let protocol = rule.protocol.is_none_or(|number| number == packet.protocol);
    let addresses =
        rule.source.contains(&packet.source) && rule.destination.contains(&packet.destination);
    let within = |ranges: &[(u16, u16)], port: u16| {
        ranges.is_empty()
            || ranges
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&port))
    };
    let ports = match packet.ports() {
        Some((source, destination)) => {
            within(&rule.source_ports, source) && within(&rule.destination_ports, destination)
        }
        None => rule.source_ports.is_empty() && rule.destination_ports.is_empty(),
    };
    protocol && addresses && ports
}

/// Control traffic of a link is outside any group's policy.
fn stays_on_link(packet: &Packet<'_>) -> bool {
    let local_multicast = match packet.destination {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => {
            address.segments()[0] & 0xff0f == 0xff02 || address.is_unicast_link_local()
        }
    };
    let neighbour_discovery = packet.protocol == protocol::ICMPV6
        && u16_at(packet.payload, 0).is_some_and(|start| {
            let [kind, _code] = start.to_be_bytes();
            NEIGHBOUR_DISCOVERY.contains(&kind)
        });
    local_multicast || neighbour_discovery || packet.protocol == protocol::IGMP
}

#[cfg(test)]
mod tests {
    use super::super::frame::samples::{ipv4, udp};
    use super::*;

    fn rule(action: Action, protocol: Option<u8>, destination_ports: Vec<(u16, u16)>) -> Rule {
        Rule {
            name: "r".to_owned(),
            action,
            protocol,
            source: "10.0.0.0/8".parse().expect("network"),
            destination: "10.0.0.0/8".parse().expect("network"),
            source_ports: Vec::new(),
            destination_ports,
        }
    }

    fn classifier() -> Classifier {
        Classifier {
            senders: vec![Sender {
                addresses: ["10.1.1.2", "fd00:1:1::2"].map(|text| text.parse().expect("address")),
                rules: vec![
                    rule(Action::Deny, Some(protocol::UDP), vec![(53, 53)]),
                    rule(Action::Permit, None, Vec::new()),
                ],
            }],
        }
    }

    fn kind_of(frame: &[u8]) -> String {
        let packet = Packet::parse(frame).expect("IP");
        match classifier().classify(&packet) {
            Kind::Esp { in_udp, .. } => format!("esp in_udp={in_udp}"),
            Kind::Ike => "ike".to_owned(),
            Kind::ClearProtected => "clear".to_owned(),
            Kind::Other => "other".to_owned(),
        }
    }

    #[test]
    fn each_kind_of_packet_is_told_apart() {
        let cases = [
            (
                udp(4500, 4500, &[1, 2, 3, 4, 0, 0, 0, 1]),
                "esp in_udp=true",
            ),
            (udp(4500, 4500, &[0, 0, 0, 0, 9]), "ike"),
            (udp(4500, 4500, &[0xff]), "ike"),
            (udp(848, 848, b"x"), "ike"),
            (udp(4000, 5000, b"x"), "clear"),
            (udp(4000, 53, b"x"), "other"),
        ];
        for (datagram, expected) in cases {
            assert_eq!(kind_of(&ipv4(1, 3, protocol::UDP, &datagram)), expected);
        }
        assert_eq!(
            kind_of(&ipv4(1, 3, protocol::ESP, &[0; 40])),
            "esp in_udp=false"
        );
        assert_eq!(kind_of(&ipv4(1, 3, protocol::ICMP, &[8, 0])), "clear");
    }

    #[test]
    fn what_a_stranger_sends_is_not_the_groups_concern() {
        assert_eq!(kind_of(&ipv4(9, 1, protocol::ICMP, &[8, 0])), "other");
    }
}
