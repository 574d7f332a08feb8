//! The rules a policy must keep before it may be committed, and the words that say what is wrong.

use std::fmt::Display;
use std::net::IpAddr;

use super::{GroupPolicy, RekeyTransport};

use crate::identity::IdentityKind;

mod association;
#[cfg(test)]
mod tests;

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
pub(super) struct Findings(Vec<PolicyError>);

impl Findings {
    pub(super) fn add(
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

    pub(super) fn range(&mut self, field: &str, value: u64, low: u64, high: u64) {
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
        association::validate_all(self, &mut findings);
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
}

/// Whether `text` is a DNS-1035 label of at most `longest` characters.
pub(super) fn is_label(text: &str, longest: usize) -> bool {
    text.len() <= longest
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
