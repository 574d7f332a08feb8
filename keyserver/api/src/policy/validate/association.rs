//! The rules of security associations and their traffic rules.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Findings, is_label};
use crate::policy::{Action, AntiReplay, GroupPolicy, Rule, SecurityAssociationPolicy};

/// Most security associations of a group.
const MAXIMUM_SECURITY_ASSOCIATIONS: usize = 100;
/// Most rules of one security association.
const MAXIMUM_RULES: usize = 64;
/// Most permit rules of a group.
const MAXIMUM_PERMITS: usize = 100;
/// Most port ranges on one side of a rule.
const MAXIMUM_PORT_RANGES: usize = 16;
/// Most entries the rules may expand to, since each pair of port ranges is one entry on the wire.
const MAXIMUM_ENTRIES: usize = 512;
/// IP protocol numbers that have ports: TCP, UDP.
const PROTOCOLS_WITH_PORTS: [u8; 2] = [6, 17];

pub(super) fn validate_all(group: &GroupPolicy, findings: &mut Findings) {
    let associations = &group.security_associations;
    if associations.is_empty() || associations.len() > MAXIMUM_SECURITY_ASSOCIATIONS {
        findings.add(
            "securityAssociations",
            format!("{} entries", associations.len()),
            format!("a group has 1 to {MAXIMUM_SECURITY_ASSOCIATIONS} security associations"),
            if associations.is_empty() {
                "add one"
            } else {
                "join some, or make another group"
            },
        );
    }
    let (mut names, mut orders) = (BTreeSet::new(), BTreeSet::new());
    for (index, association) in associations.iter().enumerate() {
        let field = format!("securityAssociations[{index}]");
        if !names.insert(&association.name) {
            findings.add(
                format!("{field}.name"),
                &association.name,
                "names must be unique in the group",
                "rename one",
            );
        }
        if !orders.insert(association.order) {
            findings.add(
                format!("{field}.order"),
                association.order,
                "orders must be unique in the group",
                "give one another order",
            );
        }
        validate_association(group, &field, association, findings);
    }
    let rules = || {
        associations
            .iter()
            .flat_map(|association| &association.rules)
    };
    let permits = rules().filter(|rule| rule.action == Action::Permit).count();
    if permits > MAXIMUM_PERMITS {
        findings.add(
            "securityAssociations",
            format!("{permits} permit rules"),
            format!("a group has at most {MAXIMUM_PERMITS} permit rules"),
            "aggregate networks",
        );
    }
    let entries: usize = rules()
        .map(|rule| rule.source_ports.len().max(1) * rule.destination_ports.len().max(1))
        .sum();
    if entries > MAXIMUM_ENTRIES {
        findings.add(
            "securityAssociations",
            format!("{entries} entries"),
            format!("rules times their port ranges may give at most {MAXIMUM_ENTRIES} entries"),
            "use fewer port ranges",
        );
    }
}

fn validate_association(
    group: &GroupPolicy,
    field: &str,
    association: &SecurityAssociationPolicy,
    findings: &mut Findings,
) {
    if !is_label(&association.name, 63) {
        findings.add(
            format!("{field}.name"),
            &association.name,
            "it must start with a letter and hold at most 63 lower-case letters, digits and '-'",
            "rename the security association",
        );
    }
    findings.range(
        &format!("{field}.order"),
        u64::from(association.order),
        1,
        10_000,
    );
    findings.range(
        &format!("{field}.lifetimeMs"),
        association.lifetime_ms,
        2_000,
        31_536_000_000,
    );
    let delays = u64::from(group.activation_delay_ms) + u64::from(group.deactivation_delay_ms);
    if association.lifetime_ms <= delays {
        findings.add(
                format!("{field}.lifetimeMs"),
                association.lifetime_ms,
                format!("a key must live longer than activationDelayMs plus deactivationDelayMs ({delays} ms)"),
                "raise the lifetime or lower the delays",
            );
    }
    let lead = u64::from(group.rekey.lead_time_seconds).saturating_mul(1_000);
    if group.prestaged_keys == 0 && association.lifetime_ms <= delays.saturating_add(lead) {
        findings.add(
                format!("{field}.lifetimeMs"),
                association.lifetime_ms,
                format!("without pre-staged keys the lifetime must be longer than the delays plus rekey.leadTimeSeconds ({} ms)", delays.saturating_add(lead)),
                "raise the lifetime, lower the lead time, or set prestagedKeys to 1",
            );
    }
    if let AntiReplay::TimeBased { window_ms } = association.anti_replay {
        findings.range(
            &format!("{field}.antiReplay.TimeBased.windowMs"),
            u64::from(window_ms),
            1,
            100_000,
        );
    }
    if association.rules.is_empty() || association.rules.len() > MAXIMUM_RULES {
        findings.add(
            format!("{field}.rules"),
            format!("{} rules", association.rules.len()),
            format!("a security association has 1 to {MAXIMUM_RULES} rules"),
            "add or split",
        );
    } else if association
        .rules
        .iter()
        .all(|rule| rule.action == Action::Deny)
    {
        findings.add(
            format!("{field}.rules"),
            "only Deny",
            "at least one rule must be Permit",
            "add a Permit rule",
        );
    }
    let mut names = BTreeSet::new();
    for (index, rule) in association.rules.iter().enumerate() {
        let field = format!("{field}.rules[{index}]");
        if !names.insert(&rule.name) {
            findings.add(
                format!("{field}.name"),
                &rule.name,
                "rule names must be unique",
                "rename one",
            );
        }
        validate_rule(&field, rule, findings);
    }
}

fn validate_rule(field: &str, rule: &Rule, findings: &mut Findings) {
    for (end, network) in [("source", rule.source), ("destination", rule.destination)] {
        if network != network.trunc() {
            findings.add(
                format!("{field}.{end}"),
                network,
                "it must be a CIDR without host bits",
                format!("write {}", network.trunc()),
            );
        }
    }
    if matches!(rule.source, IpNet::V4(_)) != matches!(rule.destination, IpNet::V4(_)) {
        findings.add(
            format!("{field}.destination"),
            rule.destination,
            format!(
                "source ({}) and destination must be of the same IP family",
                rule.source
            ),
            "split the rule by family",
        );
    }
    let has_ports = rule
        .protocol
        .is_some_and(|protocol| PROTOCOLS_WITH_PORTS.contains(&protocol));
    for (end, ports) in [
        ("sourcePorts", &rule.source_ports),
        ("destinationPorts", &rule.destination_ports),
    ] {
        if ports.is_empty() {
            continue;
        }
        if !has_ports {
            findings.add(
                format!("{field}.{end}"),
                format!("{} ranges", ports.len()),
                "ports may be set only when protocol is 6 (TCP) or 17 (UDP)",
                "set the protocol or remove the ports",
            );
        }
        if ports.len() > MAXIMUM_PORT_RANGES {
            findings.add(
                format!("{field}.{end}"),
                format!("{} ranges", ports.len()),
                format!("at most {MAXIMUM_PORT_RANGES} ranges"),
                "join ranges",
            );
        }
        for (low, high) in ports {
            if low > high {
                findings.add(
                    format!("{field}.{end}"),
                    format!("{low}-{high}"),
                    "a range starts at its lower end",
                    "swap the ends",
                );
            }
        }
    }
}
