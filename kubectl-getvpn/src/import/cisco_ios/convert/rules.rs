//! Rules of a key server's lists, and the flows that a member's lists leave in clear.

use ipnet::IpNet;

use super::name::Names;
use crate::import::cisco_ios::note::{Notes, Weight};
use crate::import::cisco_ios::port::{TCP, UDP};
use crate::import::cisco_ios::rule::Rule;
use crate::import::yaml::{Entry, Node};

/// A rule of a security association, and whether the way back is added by itself.
pub(super) struct GroupRule {
    pub(super) rule: Rule,
    /// `mirror: Disabled`.
    pub(super) one_way: bool,
}

impl GroupRule {
    /// Rules the key servers will make of it.
    pub(super) fn size(&self) -> usize {
        let both = !self.one_way && !self.rule.is_symmetric() && !self.rule.is_multicast();
        1 + usize::from(both)
    }
}

/// Joins each rule with its way back where these follow one another, and says where there is no way back.
pub(super) fn joined(rules: Vec<Rule>, source: usize, notes: &mut Notes) -> Vec<GroupRule> {
    let all = rules.clone();
    let mut joined: Vec<GroupRule> = Vec::new();
    for rule in rules {
        if rule.is_symmetric() || rule.is_multicast() {
            joined.push(GroupRule {
                rule,
                one_way: false,
            });
            continue;
        }
        if let Some(last) = joined.last_mut()
            && last.one_way
            && rule.is_mirror_of(&last.rule)
        {
            last.one_way = false;
            continue;
        }
        if !all.iter().any(|other| other.is_mirror_of(&rule)) {
            let message = format!(
                "`{}`: the list has no entry for the way back, so the way back is not in the result either; remove `mirror: Disabled` to add it",
                rule.text
            );
            notes.add(source, rule.line, Weight::Hint, message);
        }
        joined.push(GroupRule {
            rule,
            one_way: true,
        });
    }
    joined
}

/// The flows that a member's list leaves in clear. On IOS `deny` is what lets packets go in clear, and `permit` holds
/// them back; a flow that an earlier `permit` cuts into is left out.
pub(super) fn clear_flows(
    rules: Vec<Rule>,
    fail_close: bool,
    source: usize,
    notes: &mut Notes,
) -> Vec<Rule> {
    let mut held_back: Vec<Rule> = Vec::new();
    let mut flows: Vec<Rule> = Vec::new();
    for rule in rules {
        let text = &rule.text;
        if rule.permit {
            let (weight, why) = if fail_close {
                (
                    Weight::Hint,
                    "not needed: without keys everything is held back that no flow lets through",
                )
            } else {
                (
                    Weight::Lost,
                    "IOS drops what a member's own list permits; here the group's rules decide about it",
                )
            };
            notes.add(source, rule.line, weight, format!("`{text}`: {why}"));
            held_back.push(rule);
            continue;
        }
        // A flow stands for both ways.
        let known = flows
            .iter()
            .any(|flow| flow.fits_same(&rule) || rule.is_mirror_of(flow));
        let hider = held_back.iter().find(|earlier| earlier.overlaps(&rule));
        match hider {
            Some(earlier) if !earlier.widened && earlier.covers(&rule) => {
                let message = format!("`{text}`: never matches, `{}` comes first", earlier.text);
                notes.add(source, rule.line, Weight::Hint, message);
            }
            Some(earlier) => {
                let message = format!(
                    "`{text}`: `{}` in front of it holds part of it back, which flows cannot say; the entry is left out, so that nothing more goes in clear",
                    earlier.text
                );
                notes.add(source, rule.line, Weight::Lost, message);
            }
            None if known => {}
            None => flows.push(rule),
        }
    }
    flows
}

/// What a rule and a flow have in common; the ends are left out of a flow when they are any.
fn common(mut node: Node, rule: &Rule, any_is_absent: bool) -> Node {
    let ipv6 = matches!(rule.source, IpNet::V6(_));
    let (word, number) = protocol(rule.protocol, ipv6);
    let ports = |ranges: &[(u16, u16)]| {
        Node::texts(ranges.iter().map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        }))
        .unless_empty()
    };
    let end = |net: &IpNet| (!any_is_absent || net.prefix_len() > 0).then(|| net.to_string());
    node = node
        .with_some("protocol", word)
        .with_some("protocolNumber", number.map(i64::from))
        .with_some("source", end(&rule.source))
        .with_some("destination", end(&rule.destination))
        .with_some("sourcePorts", ports(&rule.source_ports))
        .with_some("destinationPorts", ports(&rule.destination_ports));
    node
}

/// The word for a protocol, or its number when it has none.
fn protocol(number: Option<u8>, ipv6: bool) -> (Option<&'static str>, Option<u8>) {
    match number {
        None => (None, None),
        Some(1) if !ipv6 => (Some("ICMP"), None),
        Some(TCP) => (Some("TCP"), None),
        Some(UDP) => (Some("UDP"), None),
        Some(47) => (Some("GRE"), None),
        Some(50) => (Some("ESP"), None),
        Some(58) if ipv6 => (Some("ICMPv6"), None),
        Some(89) => (Some("OSPF"), None),
        Some(other) => (None, Some(other)),
    }
}

fn comment(rule: &Rule) -> String {
    format!("line {}: {}", rule.line, rule.text)
}

/// A name for a rule: its list, and its number there.
fn rule_name(list: &str, rule: &Rule, index: usize, names: &mut Names) -> String {
    let number = rule.sequence.map_or_else(
        || (index.saturating_add(1).saturating_mul(10)).to_string(),
        |number| number.to_string(),
    );
    let list: String = list.chars().take(40).collect();
    names.unique(&format!("{list}-{number}"), 63)
}

/// Rules of a security association.
pub(super) fn rule_nodes(list: &str, rules: &[GroupRule]) -> Vec<Entry> {
    let mut names = Names::default();
    rules
        .iter()
        .enumerate()
        .map(|(index, GroupRule { rule, one_way })| {
            let action = if rule.permit { "Permit" } else { "Deny" };
            let node = Node::fields()
                .with("name", rule_name(list, rule, index, &mut names))
                .with("action", action);
            common(node, rule, false)
                .with_some("mirror", one_way.then_some("Disabled"))
                .commented(comment(rule))
        })
        .collect()
}

/// Flows of a member.
pub(super) fn flow_nodes(list: &str, flows: &[Rule]) -> Vec<Entry> {
    let mut names = Names::default();
    flows
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            let node = Node::fields().with("name", rule_name(list, rule, index, &mut names));
            common(node, rule, true).commented(comment(rule))
        })
        .collect()
}
