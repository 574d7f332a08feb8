//! Services are translated in the pod, before encryption (ADR 8): a node could not translate what is encrypted.
//!
//! The rules are a table of their own, replaced in one transaction. A connection keeps the endpoint that it was given,
//! since the kernel asks the rules for the first packet of a connection only.

use std::fmt::Write as _;
use std::net::IpAddr;

use operator_api::services::{Endpoint, EndpointState, ServicePort, ServiceProtocol, Services};

use crate::guard::{GuardError, nft};

/// Mixes the choice of endpoints of Services with session affinity.
const SEED: u32 = 0x47;

/// Puts the translations of `member` in force.
///
/// # Errors
/// [`GuardError`]; the earlier translations are then still in force.
pub fn install(member: &str, services: &Services) -> Result<(), GuardError> {
    nft(&["-f", "-"], &ruleset(member, services)).map(drop)
}

/// The whole transaction.
fn ruleset(member: &str, services: &Services) -> String {
    let name = format!("getvpn_{member}_services");
    let mut text = format!("table inet {name}\ndelete table inet {name}\ntable inet {name} {{\n");
    let mut chains = String::new();
    let mut translated = String::new();
    let mut refused = String::new();
    let mut number = 0_usize;
    for service in &services.services {
        for port in &service.ports {
            for v6 in [false, true] {
                let family = |address: &&IpAddr| address.is_ipv6() == v6;
                let mut matches: Vec<String> = service
                    .addresses
                    .iter()
                    .filter(family)
                    .map(|address| place(*address, port.protocol, port.port))
                    .collect();
                if let Some(node_port) = port.node_port {
                    let nodes = services.node_addresses.iter().filter(family);
                    matches.extend(nodes.map(|address| place(*address, port.protocol, node_port)));
                }
                if matches.is_empty() {
                    continue;
                }
                let endpoints = eligible(port, v6);
                if endpoints.is_empty() {
                    for one in &matches {
                        let _ = writeln!(refused, "\t\t{one} ct state new {}", refusal(port));
                    }
                    continue;
                }
                let verdicts: Vec<String> = endpoints
                    .iter()
                    .enumerate()
                    .map(|(index, endpoint)| {
                        let chain = format!("endpoint_{}", number + index);
                        let _ = writeln!(
                            chains,
                            "\tchain {chain} {{\n\t\t{}\n\t}}",
                            translation(port.protocol, endpoint)
                        );
                        format!("{index} : goto {chain}")
                    })
                    .collect();
                number += endpoints.len();
                let count = endpoints.len();
                let choice = match service.affinity_seconds {
                    Some(_) => format!(
                        "jhash {} saddr mod {count} seed {SEED:#x}",
                        if v6 { "ip6" } else { "ip" }
                    ),
                    None => format!("numgen random mod {count}"),
                };
                for one in &matches {
                    let _ = writeln!(
                        translated,
                        "\t\t{one} {choice} vmap {{ {} }}",
                        verdicts.join(", ")
                    );
                }
            }
        }
    }
    text.push_str(&chains);
    let _ = write!(
        text,
        "\tchain refused {{\n\t\ttype filter hook output priority -110; policy accept;\n{refused}\t}}\n\
         \tchain translated {{\n\t\ttype nat hook output priority -100; policy accept;\n{translated}\t}}\n}}\n"
    );
    text
}

/// Who is sent new connections: whoever is ready, else whoever still serves while it shuts down.
fn eligible(port: &ServicePort, v6: bool) -> Vec<Endpoint> {
    let of = |state: EndpointState| -> Vec<Endpoint> {
        port.endpoints
            .iter()
            .filter(|endpoint| endpoint.address.is_ipv6() == v6 && endpoint.state == state)
            .copied()
            .collect()
    };
    let ready = of(EndpointState::Ready);
    if ready.is_empty() {
        of(EndpointState::Terminating)
    } else {
        ready
    }
}

fn word(protocol: ServiceProtocol) -> &'static str {
    match protocol {
        ServiceProtocol::Tcp => "tcp",
        ServiceProtocol::Udp => "udp",
        ServiceProtocol::Sctp => "sctp",
    }
}

fn place(address: IpAddr, protocol: ServiceProtocol, port: u16) -> String {
    let family = if address.is_ipv6() { "ip6" } else { "ip" };
    format!("{family} daddr {address} {} dport {port}", word(protocol))
}

fn translation(protocol: ServiceProtocol, endpoint: &Endpoint) -> String {
    let (family, target) = match endpoint.address {
        IpAddr::V4(address) => ("ip", format!("{address}:{}", endpoint.port)),
        IpAddr::V6(address) => ("ip6", format!("[{address}]:{}", endpoint.port)),
    };
    format!("meta l4proto {} dnat {family} to {target}", word(protocol))
}

fn refusal(port: &ServicePort) -> &'static str {
    match port.protocol {
        ServiceProtocol::Tcp => "reject with tcp reset",
        ServiceProtocol::Udp | ServiceProtocol::Sctp => "reject",
    }
}

#[cfg(test)]
mod tests {
    use operator_api::services::Service;

    use super::*;

    fn endpoint(last: u8, state: EndpointState) -> Endpoint {
        Endpoint {
            address: IpAddr::from([10, 244, 0, last]),
            port: 8080,
            state,
        }
    }

    fn services(endpoints: Vec<Endpoint>, affinity_seconds: Option<u32>) -> Services {
        Services {
            node_addresses: vec![IpAddr::from([192, 0, 2, 1])],
            services: vec![Service {
                name: "shop/web".to_owned(),
                addresses: vec![IpAddr::from([10, 96, 0, 7])],
                affinity_seconds,
                ports: vec![ServicePort {
                    protocol: ServiceProtocol::Tcp,
                    port: 80,
                    node_port: Some(30_080),
                    endpoints,
                }],
            }],
        }
    }

    #[test]
    fn ready_endpoints_share_new_connections_and_others_get_none() {
        let text = ruleset(
            "pod",
            &services(
                vec![
                    endpoint(3, EndpointState::Ready),
                    endpoint(4, EndpointState::Terminating),
                    endpoint(5, EndpointState::Ready),
                ],
                None,
            ),
        );
        for line in [
            "chain endpoint_0 {\n\t\tmeta l4proto tcp dnat ip to 10.244.0.3:8080\n\t}",
            "chain endpoint_1 {\n\t\tmeta l4proto tcp dnat ip to 10.244.0.5:8080\n\t}",
            "ip daddr 10.96.0.7 tcp dport 80 numgen random mod 2 vmap { 0 : goto endpoint_0, 1 : goto endpoint_1 }",
            "ip daddr 192.0.2.1 tcp dport 30080 numgen random mod 2 vmap",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("10.244.0.4"), "{text}");
    }

    #[test]
    fn the_kernel_accepts_the_rules() {
        if !nix::unistd::geteuid().is_root() {
            assert!(
                std::env::var_os("CI").is_none(),
                "this test needs root, and must not be skipped in CI"
            );
            return;
        }
        let mut all = services(
            vec![
                endpoint(3, EndpointState::Ready),
                endpoint(5, EndpointState::Ready),
            ],
            Some(60),
        );
        let mut empty = services(Vec::new(), None).services;
        empty[0].addresses = vec![
            IpAddr::from([10, 96, 0, 8]),
            "fd00::8".parse().expect("address"),
        ];
        all.services.append(&mut empty);
        let mut v6 = services(Vec::new(), None).services;
        v6[0].addresses = vec!["fd00::9".parse().expect("address")];
        v6[0].ports[0].protocol = ServiceProtocol::Udp;
        v6[0].ports[0].endpoints = vec![Endpoint {
            address: "fd00::10".parse().expect("address"),
            port: 53,
            state: EndpointState::Ready,
        }];
        all.services.append(&mut v6);
        nft(&["-c", "-f", "-"], &ruleset("pod", &all)).expect("accepted");
    }

    #[test]
    fn without_a_ready_endpoint_those_that_shut_down_serve_and_without_any_it_is_refused() {
        let only = services(vec![endpoint(4, EndpointState::Terminating)], Some(10_800));
        let text = ruleset("pod", &only);
        assert!(
            text.contains("jhash ip saddr mod 1 seed 0x47 vmap { 0 : goto endpoint_0 }"),
            "{text}"
        );
        let none = ruleset("pod", &services(Vec::new(), None));
        assert!(
            none.contains("ip daddr 10.96.0.7 tcp dport 80 ct state new reject with tcp reset"),
            "{none}"
        );
        assert!(!none.contains("vmap"), "{none}");
    }
}
