//! A group and its SecurityAssociations, judged together.
//!
//! Limits that span objects cannot be admission rules. The older object keeps its place; the newer one is refused with
//! a reason of the documented list, and everything else goes on.

use std::collections::BTreeMap;

use crds::v1alpha1::{AuthorizationMode, GetVpnGroup, RekeyTransport, SecurityAssociation};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use keyserver_api::policy::{Action, Rule};

use crate::advice::{Object, advice};
use crate::expand::{both_ways, covers, entries};
use crate::labels;
pub use crate::rejection::{Reason, Rejection};

/// Permit rules that users may write for a group, over all of its SecurityAssociations.
pub const MOST_PERMITS: usize = 100;
/// IPsec SAs a group may have: two for each symmetric permit rule, four for a mirrored one.
pub const MOST_SECURITY_ASSOCIATIONS: usize = 200;
/// Rules of one SecurityAssociation, with those for the way back and those that are implicit.
pub const MOST_RULES: usize = 64;
/// Lines of a member's access list: rules times their pairs of port ranges.
pub const MOST_ENTRIES: usize = 512;

/// A group with the SecurityAssociations that were accepted, by order.
#[derive(Clone, Debug)]
pub struct ValidatedGroup<'a> {
    /// The group.
    pub group: &'a GetVpnGroup,
    /// Accepted objects, the lowest `order` first.
    pub associations: Vec<&'a SecurityAssociation>,
    /// Objects that were not accepted.
    pub rejections: Vec<Rejection>,
    /// Objects that were accepted although something about their rules deserves a look: name and message.
    pub warnings: Vec<(String, String)>,
}

/// Rules of one object, with those for the way back.
struct Expanded<'a> {
    association: &'a SecurityAssociation,
    /// For each rule as written, what it becomes.
    rules: Vec<Vec<Rule>>,
}

/// What the accepted objects use of the group's limits.
#[derive(Clone, Copy, Default)]
struct Used {
    permits: usize,
    security_associations: usize,
    entries: usize,
}

/// Judges `group` with those of `associations` that name it. Order of age decides conflicts; objects without a
/// creation time (files) count in the order given.
///
/// # Errors
/// What keeps the whole group from being served; objects that are refused alone are in
/// [`ValidatedGroup::rejections`].
pub fn validate<'a>(
    group: &'a GetVpnGroup,
    associations: impl IntoIterator<Item = &'a SecurityAssociation>,
) -> Result<ValidatedGroup<'a>, Vec<Rejection>> {
    let spec = &group.spec;
    if let Some(rejection) = key_servers_as_members(group) {
        return Err(vec![rejection]);
    }
    if spec.key_servers_from.is_some() && spec.authorization.mode == AuthorizationMode::Disabled {
        return Err(vec![refuse_group(
            group,
            "spec.authorization.mode",
            Reason::AuthorizationRequired,
            "may not be 'Disabled' when `keyServersFrom` is set; say who may join this group",
        )]);
    }
    let mut candidates: Vec<&SecurityAssociation> = associations
        .into_iter()
        .filter(|association| {
            names_group(
                &association.metadata,
                &association.spec.group_ref.name,
                group,
            )
        })
        .collect();
    // A stable sort: files keep their order, objects of a cluster are sorted by age.
    candidates.sort_by_cached_key(|association| age(&association.metadata));
    let mut validated = ValidatedGroup {
        group,
        associations: Vec::new(),
        rejections: Vec::new(),
        warnings: Vec::new(),
    };
    let mut accepted: BTreeMap<i32, Expanded<'a>> = BTreeMap::new();
    let mut used = Used::default();
    for association in candidates {
        match judge(group, association, &accepted, used) {
            Ok((expanded, with_it)) => {
                used = with_it;
                accepted.insert(association.spec.order, expanded);
            }
            Err(rejection) => validated.rejections.push(rejection),
        }
    }
    keep_reachable(&mut validated, accepted);
    if validated.associations.is_empty() {
        let mut errors = vec![refuse_group(
            group,
            "spec",
            Reason::NoSecurityAssociations,
            "no SecurityAssociation is accepted for this group; create one whose `groupRef` names it",
        )];
        errors.append(&mut validated.rejections);
        return Err(errors);
    }
    Ok(validated)
}

/// A key server is never a member: it must not be declared one either.
fn key_servers_as_members(group: &GetVpnGroup) -> Option<Rejection> {
    let annotations = &group.spec.key_servers.as_ref()?.pod_metadata.annotations;
    let named = annotations.get(labels::GROUP_MEMBERS)?;
    Some(refuse_group(
        group,
        "spec.keyServers.podMetadata.annotations",
        Reason::InvalidValue,
        &format!(
            "`{}: {named}` would make the key servers members; a key server cannot be a member",
            labels::GROUP_MEMBERS
        ),
    ))
}

/// Whether an object with this metadata that refers to `name` means `group`.
pub(crate) fn names_group(metadata: &ObjectMeta, name: &str, group: &GetVpnGroup) -> bool {
    group.metadata.name.as_deref() == Some(name) && same_namespace(metadata, &group.metadata)
}

/// Whether two objects are in one namespace.
pub(crate) fn same_namespace(one: &ObjectMeta, other: &ObjectMeta) -> bool {
    namespace(one) == namespace(other)
}

/// The namespace of an object; files may leave it out.
fn namespace(metadata: &ObjectMeta) -> &str {
    metadata.namespace.as_deref().unwrap_or("default")
}

/// What objects are sorted by to find the older of two: their creation, then their name. Objects of a file have
/// neither here, and so keep their order.
pub(crate) fn age(metadata: &ObjectMeta) -> Option<(impl Ord + use<>, String)> {
    let created = metadata.creation_timestamp.clone()?;
    Some((created.0, name(metadata)))
}

/// The name of an object.
pub(crate) fn name(metadata: &ObjectMeta) -> String {
    metadata.name.clone().unwrap_or_default()
}

pub(crate) fn refuse_group(
    group: &GetVpnGroup,
    field: &str,
    reason: Reason,
    message: &str,
) -> Rejection {
    Rejection {
        kind: "GetVpnGroup",
        name: name(&group.metadata),
        field: field.to_owned(),
        reason,
        message: message.to_owned(),
    }
}

fn refuse(
    association: &SecurityAssociation,
    field: &str,
    reason: Reason,
    message: String,
) -> Rejection {
    Rejection {
        kind: "SecurityAssociation",
        name: name(&association.metadata),
        field: field.to_owned(),
        reason,
        message,
    }
}

/// What an object becomes and what is used with it, if it fits beside those accepted already.
fn judge<'a>(
    group: &GetVpnGroup,
    association: &'a SecurityAssociation,
    accepted: &BTreeMap<i32, Expanded<'_>>,
    mut used: Used,
) -> Result<(Expanded<'a>, Used), Rejection> {
    let spec = &association.spec;
    if let Some(other) = accepted.get(&spec.order) {
        let message = format!(
            "{} is the order of `{}` already; each SecurityAssociation of a group needs its own",
            spec.order,
            name(&other.association.metadata)
        );
        return Err(refuse(
            association,
            "spec.order",
            Reason::OrderConflict,
            message,
        ));
    }
    check_lifetime(group, association)?;
    let mut rules = Vec::new();
    for (index, rule) in spec.rules.iter().enumerate() {
        let expanded = both_ways(rule).map_err(|(field, error)| {
            let field = format!("spec.rules[{index}].{field}");
            refuse(association, &field, Reason::InvalidValue, error.to_string())
        })?;
        if expanded.iter().any(|rule| rule.action == Action::Permit) {
            used.permits += 1;
            used.security_associations += 2 * expanded.len();
        }
        used.entries += expanded.iter().map(entries).sum::<usize>();
        rules.push(expanded);
    }
    let implicit = usize::from(group.spec.rekey.transport == RekeyTransport::Multicast);
    let all = rules.iter().map(Vec::len).sum::<usize>() + implicit;
    for (count, most, what, remedy) in [
        (
            used.permits,
            MOST_PERMITS,
            "permit rules in the group",
            "summarise prefixes",
        ),
        (
            used.security_associations,
            MOST_SECURITY_ASSOCIATIONS,
            "SAs in the group",
            "a permit rule takes two, or four when its ends differ; summarise prefixes",
        ),
        (
            all,
            MOST_RULES,
            "rules here, with those for the way back and implicit ones",
            "split the object",
        ),
        (
            used.entries + implicit,
            MOST_ENTRIES,
            "pairs of port ranges in the group",
            "join port ranges",
        ),
    ] {
        if count > most {
            let message = format!(
                "with this object there would be {count} {what}, at most {most} are allowed; {remedy}"
            );
            return Err(refuse(
                association,
                "spec.rules",
                Reason::LimitExceeded,
                message,
            ));
        }
    }
    Ok((Expanded { association, rules }, used))
}

/// A key must outlive the change to it and from it, and not the key that protects rekeys.
fn check_lifetime(group: &GetVpnGroup, association: &SecurityAssociation) -> Result<(), Rejection> {
    let (traffic, rekey) = (&group.spec.traffic, &group.spec.rekey);
    let lifetime = association
        .spec
        .lifetime_seconds
        .unwrap_or(traffic.lifetime_seconds);
    let delays = traffic
        .activation_delay_seconds
        .saturating_add(traffic.deactivation_delay_seconds);
    let (shortest, reason) = if traffic.prestaged_keys == 0 {
        let reason = "`traffic.activationDelaySeconds` plus `traffic.deactivationDelaySeconds` plus, as there are no pre-staged keys, `rekey.leadTimeSeconds`";
        (delays.saturating_add(rekey.lead_time_seconds), reason)
    } else {
        (
            delays,
            "`traffic.activationDelaySeconds` plus `traffic.deactivationDelaySeconds`",
        )
    };
    let conflict = |message| {
        Err(refuse(
            association,
            "spec.lifetimeSeconds",
            Reason::LifetimeConflict,
            message,
        ))
    };
    if lifetime <= shortest {
        return conflict(format!(
            "a lifetime of {lifetime} must be greater than {reason} of the group ({shortest})"
        ));
    }
    if lifetime > rekey.kek_lifetime_seconds {
        let longest = rekey.kek_lifetime_seconds;
        return conflict(format!(
            "a lifetime of {lifetime} must be less than or equal to `rekey.kekLifetimeSeconds` of the group ({longest})"
        ));
    }
    Ok(())
}

/// Takes over, by order, the objects of which at least one Permit can match, and notes rules that never match.
fn keep_reachable<'a>(validated: &mut ValidatedGroup<'a>, accepted: BTreeMap<i32, Expanded<'a>>) {
    let mut before: Vec<(String, Rule)> = Vec::new();
    let mut taken = Vec::new();
    for Expanded { association, rules } in accepted.into_values() {
        let owner = name(&association.metadata);
        let mut own: Vec<(String, Rule)> = Vec::new();
        let mut warnings = Vec::new();
        let mut reachable = false;
        for rule in &rules {
            let hiders: Vec<_> = rule
                .iter()
                .map(|part| {
                    before
                        .iter()
                        .chain(&own)
                        .find(|(_, earlier)| covers(earlier, part))
                })
                .collect();
            let hidden = hiders.iter().all(Option::is_some);
            let denied = hiders
                .iter()
                .flatten()
                .any(|(_, earlier)| earlier.action == Action::Deny);
            if let (Some(part), Some(Some((hider, earlier)))) = (rule.first(), hiders.first())
                && hidden
            {
                warnings.push(format!(
                    "rule `{}` never matches: `{}` in `{hider}` comes first",
                    part.name, earlier.name
                ));
            }
            reachable |=
                rule.iter().any(|part| part.action == Action::Permit) && !(hidden && denied);
            own.extend(rule.iter().map(|part| (owner.clone(), part.clone())));
        }
        if reachable {
            validated
                .warnings
                .extend(warnings.into_iter().map(|message| (owner.clone(), message)));
            validated.associations.push(association);
            before.append(&mut own);
            taken.push(owner);
        } else {
            let message = format!(
                "no rule with `action` 'Permit' can match: {}",
                warnings.join("; ")
            );
            validated
                .rejections
                .push(refuse(association, "spec.rules", Reason::Shadowed, message));
        }
    }
    let objects: Vec<Object<'_>> = taken
        .iter()
        .map(|owner| Object {
            name: owner,
            rules: before
                .iter()
                .filter(|(of, _)| of == owner)
                .map(|(_, rule)| rule)
                .collect(),
        })
        .collect();
    validated.warnings.extend(advice(&objects));
}
