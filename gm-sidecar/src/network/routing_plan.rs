//! From policy to routing rules and routes: a pure function, so that it can be read and tested
//! without a kernel.
//!
//! Each entry of the merged list becomes a rule: what is to be encrypted is looked up in a table
//! that leads into the TUN device, what stays clear in the main table. Rules go by preference, so
//! the list's order is the kernel's order. Drop rules catch whatever routing cannot tell apart.

use std::net::IpAddr;

use gm_core::data_plane::Family;
use gm_core::member::flow::ANY_PORT;
use gm_core::member::traffic_plan::TrafficPlan;
use gm_core::spd::{AddressRange, Selector};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Number of the kernel's main table.
pub(super) const MAIN_TABLE: u32 = 254;
/// Number of the kernel's local table.
pub(super) const LOCAL_TABLE: u32 = 255;

/// UDP port of ESP in UDP (RFC 3948 §2.1).
const ESP_IN_UDP_PORT: u16 = 4500;
/// IP protocol of ESP.
const ESP: u8 = 50;
const UDP: u8 = 17;

/// Protocols whose first four octets are ports, as the kernel's routing rules understand them.
const PROTOCOLS_WITH_PORTS: [u8; 4] = [6, UDP, 33, 132];

/// One routing rule; its place in the list is its preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) family: Family,
    pub(super) mark: Option<u32>,
    pub(super) input_interface: Option<String>,
    pub(super) source: Option<IpNet>,
    pub(super) destination: Option<IpNet>,
    pub(super) protocol: Option<u8>,
    pub(super) source_ports: Option<(u16, u16)>,
    pub(super) destination_ports: Option<(u16, u16)>,
    pub(super) table: u32,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) table: u32,
    pub(super) destination: IpNet,
    pub(super) kind: RouteKind,
    pub(super) preferred_source: Option<IpAddr>,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RouteKind {
    /// Into the TUN device.
    Tunnel,
    /// Into the TUN device, as the kernel wants IPv6 multicast: in the local table.
    TunnelMulticast,
    /// To this host, whatever the destination: encrypted packets in transit.
    Local,
}

/// What the kernel told about the host.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// Our own addresses on protected interfaces.
    pub(super) addresses: Vec<IpAddr>,
    /// Networks routed out of interfaces that are not protected, without default routes.
    pub(super) elsewhere: Vec<IpNet>,
    /// Families for which the host forwards packets of others.
    pub(super) forwards: Vec<Family>,
}

/// Names and numbers of our objects.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) mark: u32,
    pub(super) table: u32,
    pub(super) tun: String,
    pub(super) interfaces: Vec<String>,
}

/// Rules and routes wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RoutingPlan {
    pub(super) rules: Vec<Rule>,
    pub(super) routes: Vec<Route>,
}

impl Rule {
    fn new(family: Family, table: u32) -> Self {
        Self {
            family,
            mark: None,
            input_interface: None,
            source: None,
            destination: None,
            protocol: None,
            source_ports: None,
            destination_ports: None,
            table,
        }
    }
}

impl RoutingPlan {
    /// Rules and routes for `plan` on `host`.
    pub(super) fn build(plan: &TrafficPlan, names: &Names, host: &Host) -> Self {
        let mut wanted = Self::default();
        for family in [Family::V4, Family::V6] {
            // Our own encrypted packets, and packets that left the device, go the ordinary way.
            wanted.rules.push(Rule {
                mark: Some(names.mark),
                ..Rule::new(family, MAIN_TABLE)
            });
            wanted.rules.push(Rule {
                input_interface: Some(names.tun.clone()),
                ..Rule::new(family, MAIN_TABLE)
            });
        }
        wanted.add_transit(plan, names, host);
        wanted
            .rules
            .extend(host.elsewhere.iter().map(|network| Rule {
                destination: Some(*network),
                ..Rule::new(family_of(*network), MAIN_TABLE)
            }));
        for (protect, selector) in plan.outbound() {
            wanted.add_entry(protect, selector, names, host);
        }
        wanted
    }

    /// A gateway must open packets that are addressed to hosts behind it.
    fn add_transit(&mut self, plan: &TrafficPlan, names: &Names, host: &Host) {
        let table = names.table.saturating_add(1);
        for &family in &host.forwards {
            let mut needed = false;
            for destination in protected_destinations(plan, family) {
                for interface in &names.interfaces {
                    for (protocol, port) in [(UDP, Some(ESP_IN_UDP_PORT)), (ESP, None)] {
                        needed = true;
                        self.rules.push(Rule {
                            input_interface: Some(interface.clone()),
                            destination: Some(destination),
                            protocol: Some(protocol),
                            destination_ports: port.map(|port| (port, port)),
                            ..Rule::new(family, table)
                        });
                    }
                }
            }
            if needed {
                self.routes.push(Route {
                    table,
                    destination: everything(family),
                    kind: RouteKind::Local,
                    preferred_source: None,
                });
            }
        }
    }

    fn add_entry(&mut self, protect: bool, selector: &Selector, names: &Names, host: &Host) {
        let table = if protect { names.table } else { MAIN_TABLE };
        let sources = sources(selector, host);
        let has_ports = selector
            .protocol
            .is_some_and(|protocol| PROTOCOLS_WITH_PORTS.contains(&protocol));
        let ports = |range: &std::ops::RangeInclusive<u16>| {
            // The kernel takes no port 0 in a rule; no packet uses it.
            (has_ports && *range != ANY_PORT)
                .then(|| ((*range.start()).max(1), (*range.end()).max(1)))
        };
        let destinations = selector.destination.networks();
        for &destination in &destinations {
            for &source in &sources {
                self.rules.push(Rule {
                    source,
                    destination: (destination.prefix_len() != 0).then_some(destination),
                    protocol: selector.protocol,
                    source_ports: ports(&selector.source_ports),
                    destination_ports: ports(&selector.destination_ports),
                    ..Rule::new(selector.family(), table)
                });
            }
            if protect {
                self.add_tunnel_routes(destination, selector, names, host);
            }
        }
    }

    fn add_tunnel_routes(
        &mut self,
        destination: IpNet,
        selector: &Selector,
        names: &Names,
        host: &Host,
    ) {
        let preferred_source = host
            .addresses
            .iter()
            .copied()
            .find(|address| selector.source.contains(*address));
        let mut add = |table, destination, kind| {
            let known = self
                .routes
                .iter()
                .any(|route| route.table == table && route.destination == destination);
            if !known {
                self.routes.push(Route {
                    table,
                    destination,
                    kind,
                    preferred_source,
                });
            }
        };
        add(names.table, destination, RouteKind::Tunnel);
        // The kernel keeps an ff00::/8 route per interface in the local table, which comes before
        // every rule; a longer prefix next to it wins.
        if let IpNet::V6(network) = destination
            && network.addr().is_multicast()
            && network.prefix_len() > 8
        {
            add(LOCAL_TABLE, destination, RouteKind::TunnelMulticast);
        }
    }
}

/// Source networks of an entry for routing rules; one `None` when the source must be left out.
///
/// A socket that has not chosen its source address yet is looked up without one, and would miss
/// a rule with a source. So the source is left out when it would be ours anyway.
fn sources(selector: &Selector, host: &Host) -> Vec<Option<IpNet>> {
    let ours = host
        .addresses
        .iter()
        .any(|address| selector.source.contains(*address));
    if ours || selector.source.is_any() {
        return vec![None];
    }
    selector.source.networks().into_iter().map(Some).collect()
}

fn protected_destinations(plan: &TrafficPlan, family: Family) -> Vec<IpNet> {
    let mut networks: Vec<IpNet> = plan
        .protected()
        .map(|selector| selector.destination)
        .filter(|range: &AddressRange| range.family() == family)
        .flat_map(|range| range.networks())
        .collect();
    networks.sort_unstable();
    networks.dedup();
    networks
}

fn family_of(network: IpNet) -> Family {
    match network {
        IpNet::V4(_) => Family::V4,
        IpNet::V6(_) => Family::V6,
    }
}

fn everything(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::V4(Ipv4Net::default()),
        Family::V6 => IpNet::V6(Ipv6Net::default()),
    }
}

#[cfg(test)]
#[path = "routing_plan_tests.rs"]
mod tests;
