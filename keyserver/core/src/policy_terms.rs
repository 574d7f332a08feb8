//! A group's policy in the terms of the protocol: transforms, selectors, access list.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gikev2::wire::{
    AccessAction, AccessEntry, AccessList, AddressRange, EncryptionId, PortRange,
    SequenceNumbersId, TrafficSelector, Transform,
};
use ipnet::IpNet;
use keyserver_api::policy::{Action, EspEncryption, GroupPolicy, Rule, SecurityAssociationPolicy};

use crate::state::traffic_key::Associations;

/// The transforms of a data SA: cipher, and sequence numbers without meaning, since several senders share the SA
/// (RFC 9838 §2.6).
pub fn data_transforms(encryption: EspEncryption) -> Vec<Transform> {
    let cipher = match encryption {
        EspEncryption::Aes256Gcm => Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
        EspEncryption::Aes128Gcm => Transform::encryption(EncryptionId::AES_GCM_16, Some(128)),
        EspEncryption::ChaCha20Poly1305 => {
            Transform::encryption(EncryptionId::CHACHA20_POLY1305, None)
        }
    };
    vec![
        cipher,
        Transform::sequence_numbers(SequenceNumbersId::UNSPECIFIED_32),
    ]
}

/// Source and destination selector of a security association's data SA of one family: those of its permit rule when
/// there is exactly one, else ranges that cover all. The exact rules are in the access list.
pub fn selectors(
    policy: &SecurityAssociationPolicy,
    family: u8,
) -> (TrafficSelector, TrafficSelector) {
    let permits: Vec<&Rule> = policy
        .rules
        .iter()
        .filter(|rule| rule.action == Action::Permit && family_of(&rule.source) == family)
        .collect();
    if let [rule] = permits.as_slice() {
        let protocol = rule.protocol.unwrap_or(0);
        return (
            selector(protocol, &rule.source, &rule.source_ports),
            selector(protocol, &rule.destination, &rule.destination_ports),
        );
    }
    let side = |networks: &mut dyn Iterator<Item = &IpNet>| {
        TrafficSelector::addresses(covering(networks, family))
    };
    (
        side(&mut permits.iter().map(|rule| &rule.source)),
        side(&mut permits.iter().map(|rule| &rule.destination)),
    )
}

/// The complete ordered list of what members encrypt and leave in clear. A policy that was never put in force with
/// these associations gives entries only for those that are known.
pub fn access_list(policy: &GroupPolicy, associations: &Associations) -> AccessList {
    let mut ordered: Vec<_> = policy.security_associations.iter().collect();
    ordered.sort_by_key(|association| association.order);
    let mut entries = Vec::new();
    for association in ordered {
        let number = associations
            .continuing(association)
            .map(|known| known.number);
        for rule in &association.rules {
            let action = match (rule.action, number) {
                (Action::Deny, _) => AccessAction::Deny,
                (Action::Permit, Some(association)) => AccessAction::Permit { association },
                (Action::Permit, None) => continue,
            };
            entries.extend(entries_of(rule, action));
        }
    }
    AccessList { entries }
}

/// One entry for each pair of port ranges.
fn entries_of(rule: &Rule, action: AccessAction) -> impl Iterator<Item = AccessEntry> + '_ {
    port_ranges(&rule.source_ports)
        .into_iter()
        .flat_map(move |source_ports| {
            port_ranges(&rule.destination_ports)
                .into_iter()
                .map(move |destination_ports| AccessEntry {
                    action,
                    protocol: rule.protocol.unwrap_or(0),
                    source: range(&rule.source),
                    destination: range(&rule.destination),
                    source_ports,
                    destination_ports,
                })
        })
}

fn port_ranges(ports: &[(u16, u16)]) -> Vec<PortRange> {
    if ports.is_empty() {
        return vec![PortRange::ANY];
    }
    ports
        .iter()
        .map(|&(start, end)| PortRange { start, end })
        .collect()
}

fn selector(protocol: u8, network: &IpNet, ports: &[(u16, u16)]) -> TrafficSelector {
    let start = ports
        .iter()
        .map(|(start, _)| *start)
        .min()
        .unwrap_or(PortRange::ANY.start);
    let end = ports
        .iter()
        .map(|(_, end)| *end)
        .max()
        .unwrap_or(PortRange::ANY.end);
    TrafficSelector {
        protocol,
        ports: PortRange { start, end },
        addresses: range(network),
    }
}

fn range(network: &IpNet) -> AddressRange {
    match network {
        IpNet::V4(network) => AddressRange::V4(network.network(), network.broadcast()),
        IpNet::V6(network) => AddressRange::V6(network.network(), network.broadcast()),
    }
}

fn covering(networks: &mut dyn Iterator<Item = &IpNet>, family: u8) -> AddressRange {
    let any = if family == 4 {
        AddressRange::ANY_V4
    } else {
        AddressRange::ANY_V6
    };
    networks
        .map(range)
        .reduce(|a, b| {
            AddressRange::new(a.start().min(b.start()), a.end().max(b.end())).unwrap_or(any)
        })
        .unwrap_or(any)
}

/// 4 or 6.
pub fn family_of(network: &IpNet) -> u8 {
    match network {
        IpNet::V4(_) => 4,
        IpNet::V6(_) => 6,
    }
}

/// The unspecified address of a family.
pub fn unspecified(family: u8) -> IpAddr {
    if family == 4 {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(action: Action, network: &str, ports: &[(u16, u16)]) -> Rule {
        Rule {
            name: network.to_owned(),
            action,
            protocol: Some(17),
            source: network.parse().expect("a network"),
            destination: network.parse().expect("a network"),
            source_ports: Vec::new(),
            destination_ports: ports.to_vec(),
        }
    }

    fn association(name: &str, order: u16, rules: Vec<Rule>) -> SecurityAssociationPolicy {
        SecurityAssociationPolicy {
            name: name.to_owned(),
            order,
            encryption: EspEncryption::Aes256Gcm,
            lifetime_ms: 20_000,
            lifetime_kilobytes: 0,
            anti_replay: keyserver_api::policy::AntiReplay::Counter,
            encapsulation: keyserver_api::policy::Encapsulation::Udp,
            rules,
        }
    }

    #[test]
    fn a_single_permit_gives_its_own_selectors_and_several_a_range_that_covers_them() {
        let denied = rule(Action::Deny, "10.9.0.0/16", &[]);
        let single = association(
            "a",
            1,
            vec![
                denied.clone(),
                rule(Action::Permit, "10.1.0.0/16", &[(5, 9), (20, 30)]),
            ],
        );
        let (source, destination) = selectors(&single, 4);
        assert_eq!(
            source.addresses,
            range(&"10.1.0.0/16".parse().expect("a network"))
        );
        assert_eq!(
            (destination.protocol, destination.ports),
            (17, PortRange { start: 5, end: 30 })
        );

        let several = association(
            "b",
            1,
            vec![
                rule(Action::Permit, "10.1.0.0/16", &[]),
                rule(Action::Permit, "10.4.0.0/16", &[]),
            ],
        );
        let (source, _) = selectors(&several, 4);
        assert_eq!(source.protocol, 0);
        assert_eq!(source.addresses.start().to_string(), "10.1.0.0");
        assert_eq!(source.addresses.end().to_string(), "10.4.255.255");
    }

    #[test]
    fn numbers_on_an_sa_of_several_senders_are_unspecified_ones_of_32_bits() {
        for encryption in [
            EspEncryption::Aes256Gcm,
            EspEncryption::Aes128Gcm,
            EspEncryption::ChaCha20Poly1305,
        ] {
            let numbers: Vec<u16> = data_transforms(encryption)
                .iter()
                .filter(|it| it.transform_type == gikev2::wire::TransformType::SEQUENCE_NUMBERS)
                .map(|it| it.id)
                .collect();
            assert_eq!(numbers, [2]);
        }
    }

    #[test]
    fn families_do_not_mix() {
        let both = association(
            "a",
            1,
            vec![
                rule(Action::Permit, "10.1.0.0/16", &[]),
                rule(Action::Permit, "fd00::/16", &[]),
            ],
        );
        assert!(selectors(&both, 4).0.addresses.is_ipv4());
        assert!(!selectors(&both, 6).0.addresses.is_ipv4());
    }

    #[test]
    fn each_pair_of_port_ranges_is_an_entry() {
        let mut several = rule(Action::Permit, "10.1.0.0/16", &[(1, 2), (3, 4)]);
        several.source_ports = vec![(10, 20), (30, 40), (50, 60)];
        assert_eq!(entries_of(&several, AccessAction::Deny).count(), 6);
    }
}
