//! What a group's policy does with a packet, and because of which rule.

use std::fmt;
use std::net::IpAddr;

use keyserver_api::policy::{Action, GroupPolicy, Rule, SecurityAssociationPolicy};

/// A packet, by what rules compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes to.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Source and destination port, where the protocol has them.
    pub ports: Option<(u16, u16)>,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The first rule that fits it, and the association that rule is in.
    Rule {
        /// Name of the association.
        association: &'a str,
        /// The rule.
        rule: &'a Rule,
    },
    /// No rule fits it, but this one fits its way back: the mirror is missing.
    MissingMirror {
        /// Name of the association.
        association: &'a str,
        /// The rule of the other way.
        rule: &'a Rule,
    },
    /// No rule fits it.
    NoRule,
}

impl fmt::Display for Answer<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { association, rule } => {
                let does = match rule.action {
                    Action::Permit => "encrypts it",
                    Action::Deny => "leaves it in clear",
                };
                write!(formatter, "rule `{}` of `{association}` {does}", rule.name)
            }
            Self::MissingMirror { association, rule } => write!(
                formatter,
                "no rule fits it, so it goes in clear; rule `{}` of `{association}` encrypts the other way only: a rule from \
                 {} to {} is missing",
                rule.name, rule.destination, rule.source
            ),
            Self::NoRule => write!(formatter, "no rule fits it, so it goes in clear"),
        }
    }
}

/// Explains what `policy` does with a packet. A member's own list, which comes first, is not part of it.
#[must_use]
pub fn explain<'a>(policy: &'a GroupPolicy, flow: &Flow) -> Answer<'a> {
    let mut associations: Vec<&SecurityAssociationPolicy> =
        policy.security_associations.iter().collect();
    associations.sort_by_key(|association| association.order);
    let first = |flow: &Flow| {
        let rules = associations.iter().flat_map(|association| {
            let rules = association.rules.iter();
            rules.map(|rule| (association.name.as_str(), rule))
        });
        rules.into_iter().find(|(_, rule)| fits(rule, flow))
    };
    if let Some((association, rule)) = first(flow) {
        return Answer::Rule { association, rule };
    }
    let back = Flow {
        source: flow.destination,
        destination: flow.source,
        ports: flow.ports.map(|(from, to)| (to, from)),
        ..*flow
    };
    match first(&back) {
        Some((association, rule)) if rule.action == Action::Permit => {
            Answer::MissingMirror { association, rule }
        }
        _ => Answer::NoRule,
    }
}

fn fits(rule: &Rule, flow: &Flow) -> bool {
    let among = |ranges: &[(u16, u16)], port: Option<u16>| {
        ranges.is_empty()
            || port.is_some_and(|port| {
                ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&port))
            })
    };
    rule.protocol
        .is_none_or(|protocol| protocol == flow.protocol)
        && rule.source.contains(&flow.source)
        && rule.destination.contains(&flow.destination)
        && among(&rule.source_ports, flow.ports.map(|(from, _)| from))
        && among(&rule.destination_ports, flow.ports.map(|(_, to)| to))
}
