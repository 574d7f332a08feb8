//! The rules as text for `nft`: one table, three hooks, two policy chains.
//!
//! A packet we send is compared with the list as written. A packet that arrives was sent by a
//! member with the same group list, so it is compared as written too; only the local list, written
//! from this member's point of view, is exchanged. What matches nothing is then compared with the
//! exchanged group list: an asymmetric rule without its mirror protects the answers as well, rather
//! than letting half of a conversation go in clear.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use gm_core::data_plane::Family;
use gm_core::member::flow::ANY_PORT;
use gm_core::member::traffic_plan::{Origin, PlanEntry, TrafficPlan, Treatment};
use gm_core::spd::{AddressRange, Selector};

use super::{BYPASS, EXPOSED, Guard, table};

/// Source ports of a key server's answers (RFC 9838 §2.1.1; RFC 7296 §2, §2.23).
const KEY_SERVER_PORTS: [u16; 3] = [848, 500, 4500];

/// What a link cannot work without: address resolution, router discovery, multicast listeners.
const LINK_CONTROL: &str = "nd-router-solicit, nd-router-advert, nd-neighbor-solicit, \
     nd-neighbor-advert, mld-listener-query, mld-listener-report, mld-listener-reduction, \
     mld2-listener-report";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Outbound,
    Inbound,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }
}

impl Guard {
    /// The whole transaction that puts `plan` in force.
    pub fn ruleset(&self, plan: &TrafficPlan) -> String {
        let name = table(&self.member);
        let interfaces = quoted(&self.interfaces);
        let mut text = format!(
            "table inet {name}\ndelete table inet {name}\ntable inet {name} {{\n\
             \tcounter closed_outbound {{ }}\n\tcounter closed_inbound {{ }}\n\
             \tcounter clear_outbound {{ }}\n\tcounter clear_inbound {{ }}\n\
             \tcounter {BYPASS}outbound {{ }}\n\tcounter {BYPASS}inbound {{ }}\n\
             \tcounter {EXPOSED}outbound {{ }}\n\tcounter {EXPOSED}inbound {{ }}\n"
        );
        let mut chain = |title: &str, rules: &[String]| {
            let _ = writeln!(text, "\tchain {title} {{");
            for rule in rules {
                let _ = writeln!(text, "\t\t{rule}");
            }
            text.push_str("\t}\n");
        };
        chain("outbound_policy", &policy(plan, Way::Outbound));
        chain("inbound_policy", &policy(plan, Way::Inbound));
        chain("output", &self.output(&interfaces));
        chain("input", &self.input(&interfaces));
        chain(
            "forward",
            &[
                hook("forward"),
                format!("oifname {{ {interfaces} }} jump outbound_policy"),
                format!("iifname {{ {interfaces} }} jump inbound_policy"),
            ],
        );
        text.push_str("}\n");
        text
    }

    /// What leaves is judged after the last change of its destination and of its way: the translation of Services, which
    /// happens when a packet is made, sends it another way than was looked up before.
    fn output(&self, interfaces: &str) -> Vec<String> {
        vec![
            hook("postrouting"),
            format!("oifname != {{ {interfaces} }} accept"),
            format!("meta mark {:#x} accept", self.mark),
            format!("icmpv6 type {{ {LINK_CONTROL} }} accept"),
            "meta l4proto igmp accept".to_owned(),
            "jump outbound_policy".to_owned(),
        ]
    }

    fn input(&self, interfaces: &str) -> Vec<String> {
        let mut rules = vec![
            hook("input"),
            format!("iifname != {{ {interfaces} }} accept"),
            format!("icmpv6 type {{ {LINK_CONTROL} }} accept"),
            "meta l4proto igmp accept".to_owned(),
            // Without these a path's MTU cannot be learned; they carry nothing else that is used.
            "icmp type destination-unreachable icmp code frag-needed accept".to_owned(),
            "icmpv6 type packet-too-big accept".to_owned(),
            // These reach no socket but ours.
            "meta l4proto esp accept".to_owned(),
            "udp dport 4500 accept".to_owned(),
        ];
        rules.extend(
            self.ike_ports
                .iter()
                .map(|port| format!("udp dport {port} accept")),
        );
        rules.extend(self.key_server_answers());
        if let Some(operator) = self.operator {
            // Only what belongs to a connection of ours: who is not marked cannot open one.
            rules.push(format!(
                "{} tcp sport {} tcp flags & (syn | ack) != syn accept",
                address_match("saddr", operator.ip()),
                operator.port()
            ));
        }
        rules.extend(self.rekey_groups.iter().map(|group| {
            format!(
                "{} udp dport {} accept",
                address_match("daddr", group.ip()),
                group.port()
            )
        }));
        rules.push("jump inbound_policy".to_owned());
        rules
    }

    fn key_server_answers(&self) -> Vec<String> {
        let mut servers: Vec<SocketAddr> = self.key_servers.clone();
        servers.sort_unstable();
        servers.dedup();
        servers
            .iter()
            .map(|server| {
                let mut ports = KEY_SERVER_PORTS.to_vec();
                if !ports.contains(&server.port()) {
                    ports.push(server.port());
                }
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                format!(
                    "{} udp sport {{ {} }} accept",
                    address_match("saddr", server.ip()),
                    ports.join(", ")
                )
            })
            .collect()
    }
}

fn policy(plan: &TrafficPlan, way: Way) -> Vec<String> {
    let mut rules = Vec::new();
    if plan.closed {
        for flow in &plan.allow_clear {
            let seen = match way {
                Way::Outbound => flow.clone(),
                Way::Inbound => flow.mirrored(),
            };
            rules.push(passes(&seen, way));
        }
        rules.push(format!("counter name closed_{} drop", way.name()));
        return rules;
    }
    let local = |entry: &&PlanEntry| entry.origin == Origin::Local;
    for entry in plan.entries.iter().filter(local) {
        let seen = match way {
            Way::Outbound => entry.selector.clone(),
            Way::Inbound => entry.selector.mirrored(),
        };
        rules.extend(entry_rules(&seen, entry.treatment, way));
    }
    let group: Vec<&PlanEntry> = plan.entries.iter().filter(|entry| !local(entry)).collect();
    for entry in &group {
        rules.extend(entry_rules(&entry.selector, entry.treatment, way));
    }
    for entry in &group {
        let mirrored = entry.selector.mirrored();
        // Whatever matches a selector of the list as written has been decided above.
        if !group.iter().any(|other| other.selector == mirrored) {
            rules.extend(entry_rules(&mirrored, entry.treatment, way));
        }
    }
    if plan.exposed {
        rules.push(format!("counter name {EXPOSED}{}", way.name()));
    }
    rules
}

fn entry_rules(selector: &Selector, treatment: Treatment, way: Way) -> Vec<String> {
    let drops = match (treatment, way) {
        (Treatment::Clear, _) => false,
        (Treatment::Protect { outbound, .. }, Way::Outbound) => outbound,
        (Treatment::Protect { inbound, .. }, Way::Inbound) => inbound,
    };
    let conditions = selector_match(selector);
    if !drops {
        return match treatment {
            Treatment::Clear => vec![passes(selector, way)],
            Treatment::Protect { .. } => vec![format!("{conditions} return")],
        };
    }
    let verdict = format!("counter name clear_{} drop", way.name());
    let mut rules = vec![format!("{conditions} {verdict}")];
    // Later fragments of a forwarded packet carry no ports to compare: none goes in clear between
    // these addresses.
    if has_ports(selector) {
        let mut portless = selector.clone();
        portless.source_ports = ANY_PORT;
        portless.destination_ports = ANY_PORT;
        let fragment = match selector.family() {
            Family::V4 => "ip frag-off & 0x1fff != 0",
            Family::V6 => "frag frag-off != 0",
        };
        rules.push(format!(
            "{} {fragment} {verdict}",
            selector_match(&portless)
        ));
    }
    rules
}

/// Lets pass what the list says may be clear.
fn passes(selector: &Selector, way: Way) -> String {
    format!(
        "{} counter name {BYPASS}{} return",
        selector_match(selector),
        way.name()
    )
}

fn has_ports(selector: &Selector) -> bool {
    selector.source_ports != ANY_PORT || selector.destination_ports != ANY_PORT
}

fn selector_match(selector: &Selector) -> String {
    let mut parts = Vec::new();
    let (protocol, family) = match selector.family() {
        Family::V4 => ("ip", "ipv4"),
        Family::V6 => ("ip6", "ipv6"),
    };
    parts.push(format!("meta nfproto {family}"));
    for (field, range) in [
        ("saddr", &selector.source),
        ("daddr", &selector.destination),
    ] {
        if !range.is_any() {
            parts.push(format!("{protocol} {field} {}", range_text(range)));
        }
    }
    if let Some(number) = selector.protocol {
        parts.push(format!("meta l4proto {number}"));
    }
    for (field, ports) in [
        ("sport", &selector.source_ports),
        ("dport", &selector.destination_ports),
    ] {
        if *ports != ANY_PORT {
            parts.push(format!("th {field} {}-{}", ports.start(), ports.end()));
        }
    }
    parts.join(" ")
}

fn range_text(range: &AddressRange) -> String {
    let (first, last) = range.first_and_last();
    match range.networks().as_slice() {
        [network] => network.to_string(),
        _ => format!("{first}-{last}"),
    }
}

fn address_match(field: &str, address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("ip {field} {address}"),
        IpAddr::V6(address) => format!("ip6 {field} {address}"),
    }
}

fn hook(name: &str) -> String {
    format!("type filter hook {name} priority filter; policy accept;")
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}
