//! The status of a SecurityAssociation: whether its group took it, and why not.

use crds::v1alpha1::{AcceptedBy, SecurityAssociation, SecurityAssociationStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use keyserver_api::policy::{Action, GroupPolicy};

use crate::conditions::{Finding, READY, STALLED, conditions, whole_seconds};
use crate::group::name;
use crate::policy::revision;
use crate::rejection::{Reason, Rejection};

/// The group took it into its policy.
pub const ACCEPTED: &str = "Accepted";

/// What became of it.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// It is part of this policy; with what is odd about it.
    Accepted {
        /// The policy of the group.
        policy: &'a GroupPolicy,
        /// Rules of it that never match.
        warnings: Vec<String>,
    },
    /// It was refused.
    Rejected(&'a Rejection),
    /// Its group as a whole is not served.
    GroupNotServed(&'a Rejection),
}

/// The status.
#[must_use]
pub fn status(
    association: &SecurityAssociation,
    outcome: &Outcome<'_>,
    now: &Time,
) -> SecurityAssociationStatus {
    let previous = association.status.as_ref();
    let generation = association.metadata.generation.unwrap_or(0);
    let own = name(&association.metadata);
    let mut findings = Vec::new();
    let mut accepted_by = None;
    let mut permits = 0;
    match outcome {
        Outcome::Accepted { policy, warnings } => {
            let message = if warnings.is_empty() {
                format!("part of the policy of `{}`", policy.name)
            } else {
                warnings.join("; ")
            };
            findings.push(Finding::new(READY, true, "Ready", message.clone()));
            findings.push(Finding::new(ACCEPTED, true, "Accepted", message));
            accepted_by = Some(AcceptedBy {
                group: policy.name.clone(),
                policy_revision: revision(policy),
            });
            permits = policy
                .security_associations
                .iter()
                .filter(|part| part.name == own)
                .flat_map(|part| &part.rules)
                .filter(|rule| rule.action == Action::Permit)
                .count();
        }
        Outcome::Rejected(rejection) => {
            refuse(&mut findings, rejection, rejection.message.clone());
        }
        Outcome::GroupNotServed(rejection) => {
            let group = &association.spec.group_ref.name;
            let message = format!("group `{group}` is not served: {}", rejection.message);
            refuse(&mut findings, rejection, message);
        }
    }
    let permits = i32::try_from(permits).unwrap_or(i32::MAX);
    SecurityAssociationStatus {
        observed_generation: generation,
        conditions: conditions(
            &findings,
            previous.map_or(&[], |previous| &previous.conditions),
            generation,
            &whole_seconds(now),
        ),
        permit_rules: permits,
        security_associations: permits.saturating_mul(2),
        accepted_by,
    }
}

fn refuse(findings: &mut Vec<Finding>, rejection: &Rejection, message: String) {
    let reason = rejection.reason.as_str();
    let message = format!("{}: {message}", rejection.field);
    findings.push(Finding::new(READY, false, reason, message.clone()));
    findings.push(Finding::new(ACCEPTED, false, reason, message.clone()));
    // Another object may come or change; only these never do by themselves.
    if matches!(
        rejection.reason,
        Reason::GroupNotFound | Reason::InvalidReference
    ) {
        findings.push(Finding::new(STALLED, true, "InvalidReference", message));
    }
}
