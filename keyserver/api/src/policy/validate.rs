//! The rules a policy must keep before it may be committed, and the words that say what is wrong.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Action, AntiReplay, GroupPolicy, RekeyTransport, Rule, SecurityAssociationPolicy};
use crate::identity::IdentityKind;

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

/// One broken rule of a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: {rule}; {remedy}")]
pub struct PolicyError {
    /// Path of the field, as in the JSON.
    pub field: String,
    /// Its value, shortened when long.
    pub value: String,
    /// The rule it breaks.
    pub rule: String,
    /// What to do about it.
    pub remedy: String,
}

/// A policy that kept every rule; nothing has to check it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedPolicy(GroupPolicy);

impl ValidatedPolicy {
    /// The policy.
    pub const fn get(&self) -> &GroupPolicy {
        &self.0
    }

    /// The policy, owned.
    pub fn into_inner(self) -> GroupPolicy {
        self.0
    }
}

impl TryFrom<GroupPolicy> for ValidatedPolicy {
    type Error = Vec<PolicyError>;

    fn try_from(policy: GroupPolicy) -> Result<Self, Self::Error> {
        policy.validate()?;
        Ok(Self(policy))
    }
}

/// Collects broken rules.
#[derive(Default)]
struct Findings(Vec<PolicyError>);

impl Findings {
    fn add(
        &mut self,
        field: impl Into<String>,
        value: impl Display,
        rule: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let mut value = value.to_string();
        if value.is_empty() {
            value.push_str("empty");
        }
        if value.chars().count() > 80 {
            value = value.chars().take(80).chain("…".chars()).collect();
        }
        self.0.push(PolicyError {
            field: field.into(),
            value,
            rule: rule.into(),
            remedy: remedy.into(),
        });
    }

    fn range(&mut self, field: &str, value: u64, low: u64, high: u64) {
        if !(low..=high).contains(&value) {
            self.add(
                field,
                value,
                format!("it must be between {low} and {high}"),
                "set it in that range",
            );
        }
    }
}

impl GroupPolicy {
    /// Checks every rule of a policy.
    ///
    /// # Errors
    /// All broken rules, each naming field, value, rule and remedy.
    pub fn validate(&self) -> Result<(), Vec<PolicyError>> {
        let mut findings = Findings::default();
        self.validate_group(&mut findings);
        self.validate_rekey(&mut findings);
        self.validate_associations(&mut findings);
        if findings.0.is_empty() {
            Ok(())
        } else {
            Err(findings.0)
        }
    }

    /// Longest lifetime of a traffic encryption key, in milliseconds; 0 without security associations.
    pub fn longest_lifetime_ms(&self) -> u64 {
        self.security_associations
            .iter()
            .map(|sa| sa.lifetime_ms)
            .max()
            .unwrap_or(0)
    }

    fn validate_group(&self, findings: &mut Findings) {
        if !is_label(&self.name, 49) {
            findings.add(
                "name",
                &self.name,
                "it must start with a letter and hold at most 49 lower-case letters, digits and '-'",
                "rename the group",
            );
        }
        findings.range("groupId", u64::from(self.group_id), 0, 2_147_483_647);
        if ![8, 12, 16, 24, 32].contains(&self.sender_id_bits) {
            findings.add(
                "senderIdBits",
                self.sender_id_bits,
                "it must be 8, 12, 16, 24 or 32",
                "use 24 unless members of another make need fewer",
            );
        }
        findings.range("prestagedKeys", u64::from(self.prestaged_keys), 0, 3);
        findings.range(
            "activationDelayMs",
            u64::from(self.activation_delay_ms),
            100,
            600_000,
        );
        findings.range(
            "deactivationDelayMs",
            u64::from(self.deactivation_delay_ms),
            100,
            600_000,
        );
        if self.deactivation_delay_ms < self.activation_delay_ms {
            findings.add(
                "deactivationDelayMs",
                self.deactivation_delay_ms,
                format!(
                    "old keys may not be removed before new ones are used (activationDelayMs {})",
                    self.activation_delay_ms
                ),
                "raise it above activationDelayMs",
            );
        }
        for (index, identity) in self.authorization.identities.iter().enumerate() {
            let field = format!("authorization.identities[{index}].value");
            if identity.value.is_empty() {
                findings.add(
                    field,
                    "",
                    "an identity pattern may not be empty",
                    "name the identity, or remove the entry",
                );
            } else if identity.kind == IdentityKind::Address
                && !identity.value.contains('*')
                && identity.value.parse::<IpAddr>().is_err()
            {
                findings.add(
                    field,
                    &identity.value,
                    "it must be an IP address",
                    "write an address, or use authorization.addresses",
                );
            }
        }
    }

    fn validate_rekey(&self, findings: &mut Findings) {
        let rekey = &self.rekey;
        findings.range(
            "rekey.kekLifetimeSeconds",
            u64::from(rekey.kek_lifetime_seconds),
            10,
            31_536_000,
        );
        findings.range(
            "rekey.retransmitAttempts",
            u64::from(rekey.retransmit_attempts),
            0,
            10,
        );
        findings.range(
            "rekey.retransmitPeriodMs",
            u64::from(rekey.retransmit_period_ms),
            50,
            60_000,
        );
        findings.range("rekey.batchSize", u64::from(rekey.batch_size), 1, 1_000);
        findings.range(
            "rekey.acknowledgementTimeoutMs",
            u64::from(rekey.acknowledgement_timeout_ms),
            50,
            60_000,
        );
        findings.range(
            "rekey.evictionThreshold",
            u64::from(rekey.eviction_threshold),
            1,
            10,
        );
        findings.range(
            "rekey.leadTimeSeconds",
            u64::from(rekey.lead_time_seconds),
            1,
            3_600,
        );
        let kek = u64::from(rekey.kek_lifetime_seconds).saturating_mul(1_000);
        let longest = self.longest_lifetime_ms();
        if kek < longest {
            findings.add(
                "rekey.kekLifetimeSeconds",
                rekey.kek_lifetime_seconds,
                format!("the key encryption key must live at least as long as the longest traffic key ({longest} ms)"),
                "raise it, or lower the lifetimes of the security associations",
            );
        }
        if u64::from(rekey.lead_time_seconds).saturating_mul(1_000) >= kek {
            findings.add(
                "rekey.leadTimeSeconds",
                rekey.lead_time_seconds,
                format!(
                    "the lead time must be shorter than the key encryption key's life ({} s)",
                    rekey.kek_lifetime_seconds
                ),
                "lower it",
            );
        }
        if let RekeyTransport::Multicast {
            address,
            port,
            hop_limit,
        } = &rekey.transport
        {
            let routable = match address {
                IpAddr::V4(v4) => v4.is_multicast() && v4.octets()[..3] != [224, 0, 0],
                IpAddr::V6(v6) => v6.is_multicast(),
            };
            if !routable {
                findings.add(
                    "rekey.transport.Multicast.address",
                    address,
                    "it must be a routable multicast address: IPv4 in 224.0.1.0-239.255.255.255 or IPv6 in ff00::/8",
                    "choose one, for example in 239.0.0.0/8",
                );
            }
            findings.range(
                "rekey.transport.Multicast.port",
                u64::from(*port),
                1,
                65_535,
            );
            findings.range(
                "rekey.transport.Multicast.hopLimit",
                u64::from(*hop_limit),
                1,
                255,
            );
        }
    }

    fn validate_associations(&self, findings: &mut Findings) {
        let associations = &self.security_associations;
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
            self.validate_association(&field, association, findings);
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
        &self,
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
        let delays = u64::from(self.activation_delay_ms) + u64::from(self.deactivation_delay_ms);
        if association.lifetime_ms <= delays {
            findings.add(
                format!("{field}.lifetimeMs"),
                association.lifetime_ms,
                format!("a key must live longer than activationDelayMs plus deactivationDelayMs ({delays} ms)"),
                "raise the lifetime or lower the delays",
            );
        }
        let lead = u64::from(self.rekey.lead_time_seconds).saturating_mul(1_000);
        if self.prestaged_keys == 0 && association.lifetime_ms <= delays.saturating_add(lead) {
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

/// Whether `text` is a DNS-1035 label of at most `longest` characters.
fn is_label(text: &str, longest: usize) -> bool {
    text.len() <= longest
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
