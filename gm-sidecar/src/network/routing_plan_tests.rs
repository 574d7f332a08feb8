use super::*;
use gm_core::member::traffic_plan::{Origin, PlanEntry, Treatment};

const PROTECT: Treatment = Treatment::Protect {
    outbound: true,
    inbound: true,
};

fn names() -> Names {
    Names {
        mark: 0x47,
        table: 7848,
        tun: "getvpn0".to_owned(),
        interfaces: vec!["eth0".to_owned()],
    }
}

fn network(text: &str) -> IpNet {
    text.parse().expect("network")
}

fn plan(entries: &[(Treatment, &str, &str)]) -> TrafficPlan {
    TrafficPlan {
        closed: false,
        exposed: false,
        allow_clear: Vec::new(),
        entries: entries
            .iter()
            .map(|(treatment, source, destination)| PlanEntry {
                origin: Origin::Group(1),
                treatment: *treatment,
                selector: Selector::between(
                    AddressRange::network(network(source)),
                    AddressRange::network(network(destination)),
                ),
            })
            .collect(),
    }
}

fn host(address: &str) -> Host {
    Host {
        addresses: vec![address.parse().expect("address")],
        ..Host::default()
    }
}

/// The rules after the four that let our own packets and the device's through.
fn entry_rules(wanted: &RoutingPlan) -> Vec<String> {
    wanted.rules[4..]
        .iter()
        .map(|rule| {
            let text = |network: Option<IpNet>| network.map_or("any".to_owned(), |n| n.to_string());
            format!(
                "{} -> {} in {}",
                text(rule.source),
                text(rule.destination),
                rule.table
            )
        })
        .collect()
}

#[test]
fn the_lists_order_is_the_rules_order_and_clear_stays_in_main() {
    let wanted = RoutingPlan::build(
        &plan(&[
            (Treatment::Clear, "10.1.0.0/16", "10.1.9.0/24"),
            (PROTECT, "10.1.0.0/16", "10.1.0.0/16"),
        ]),
        &names(),
        &host("10.1.1.2"),
    );
    assert_eq!(
        entry_rules(&wanted),
        ["any -> 10.1.9.0/24 in 254", "any -> 10.1.0.0/16 in 7848"]
    );
    assert_eq!(wanted.rules[0].mark, Some(0x47));
    assert_eq!(
        wanted.routes,
        [Route {
            table: 7848,
            destination: network("10.1.0.0/16"),
            kind: RouteKind::Tunnel,
            preferred_source: Some("10.1.1.2".parse().expect("address")),
        }]
    );
}

#[test]
fn a_source_that_is_not_ours_stays_in_the_rule() {
    let wanted = RoutingPlan::build(
        &plan(&[(PROTECT, "10.7.0.0/16", "10.8.0.0/16")]),
        &names(),
        &host("10.1.1.2"),
    );
    assert_eq!(entry_rules(&wanted), ["10.7.0.0/16 -> 10.8.0.0/16 in 7848"]);
    assert_eq!(wanted.routes[0].preferred_source, None);
}

#[test]
fn receive_only_flows_are_sent_the_ordinary_way() {
    let receive = Treatment::Protect {
        outbound: false,
        inbound: false,
    };
    let wanted = RoutingPlan::build(
        &plan(&[(receive, "0.0.0.0/0", "0.0.0.0/0")]),
        &names(),
        &host("10.1.1.2"),
    );
    assert_eq!(entry_rules(&wanted), ["any -> any in 254"]);
    assert!(wanted.routes.is_empty());
}

#[test]
fn networks_behind_other_interfaces_come_before_the_list() {
    let mut host = host("10.1.1.2");
    host.elsewhere = vec![network("10.1.5.0/24")];
    let wanted = RoutingPlan::build(
        &plan(&[(PROTECT, "0.0.0.0/0", "0.0.0.0/0")]),
        &names(),
        &host,
    );
    assert_eq!(
        entry_rules(&wanted),
        ["any -> 10.1.5.0/24 in 254", "any -> any in 7848"]
    );
}

#[test]
fn a_gateway_takes_encrypted_packets_for_hosts_behind_it() {
    let mut host = host("10.1.1.2");
    host.forwards = vec![Family::V4];
    let wanted = RoutingPlan::build(
        &plan(&[(PROTECT, "10.0.0.0/8", "10.0.0.0/8")]),
        &names(),
        &host,
    );
    let transit: Vec<&Rule> = wanted
        .rules
        .iter()
        .filter(|rule| rule.table == 7849)
        .collect();
    assert_eq!(transit.len(), 2);
    assert_eq!(transit[0].destination_ports, Some((4500, 4500)));
    assert_eq!(transit[1].protocol, Some(50));
    assert!(
        wanted
            .routes
            .iter()
            .any(|route| route.kind == RouteKind::Local)
    );
}

#[test]
fn ports_are_compared_only_where_the_kernel_can() {
    let mut policy = plan(&[(PROTECT, "0.0.0.0/0", "0.0.0.0/0")]);
    policy.entries[0].selector.protocol = Some(17);
    policy.entries[0].selector.destination_ports = 0..=99;
    let rule = RoutingPlan::build(&policy, &names(), &host("10.1.1.2")).rules[4].clone();
    assert_eq!(rule.destination_ports, Some((1, 99)));
    policy.entries[0].selector.protocol = Some(1);
    let rule = RoutingPlan::build(&policy, &names(), &host("10.1.1.2")).rules[4].clone();
    assert_eq!(rule.destination_ports, None);
}

#[test]
fn ipv6_multicast_is_led_into_the_device_by_the_local_table() {
    let wanted = RoutingPlan::build(
        &plan(&[(PROTECT, "fd00::/16", "ff15::/16")]),
        &names(),
        &host("fd00::2"),
    );
    assert_eq!(
        wanted
            .routes
            .iter()
            .map(|route| (route.table, route.kind))
            .collect::<Vec<_>>(),
        [
            (7848, RouteKind::Tunnel),
            (LOCAL_TABLE, RouteKind::TunnelMulticast)
        ]
    );
}
