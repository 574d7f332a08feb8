//! A group and its SecurityAssociations, judged together.
//!
//! Limits that span objects cannot be admission rules. The older object keeps its place; the newer one is refused with
//! a reason of the documented list, and everything else goes on.

use std::collections::BTreeMap;

use crds::v1alpha1::{Action, AuthorizationMode, GetVpnGroup, Mirror, SecurityAssociation, TrafficRule};

use crate::flow;

/// Permit entries a group may have over all of its SecurityAssociations.
pub const MOST_PERMITS: usize = 100;
/// IPsec SAs a group may have: two for each symmetric permit entry, four for a mirrored one.
pub const MOST_SECURITY_ASSOCIATIONS: usize = 200;

/// Why an object was not accepted: the reasons of its `Accepted` or `PolicyAccepted` condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A group that shares key servers must say who may join.
    AuthorizationRequired,
    /// The group named by `groupRef` does not exist.
    GroupNotFound,
    /// Accepting the object would exceed a limit of the group.
    LimitExceeded,
    /// No SecurityAssociation names the group.
    NoSecurityAssociations,
    /// Another object of the group has the same `order`.
    OrderConflict,
    /// A Deny in front hides every Permit of the object.
    Shadowed,
    /// A value slipped past the admission rules.
    InvalidValue,
}

impl Reason {
    /// The word in the condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationRequired => "AuthorizationRequired",
            Self::GroupNotFound => "GroupNotFound",
            Self::LimitExceeded => "LimitExceeded",
            Self::NoSecurityAssociations => "NoSecurityAssociations",
            Self::OrderConflict => "OrderConflict",
            Self::Shadowed => "Shadowed",
            Self::InvalidValue => "InvalidValue",
        }
    }
}

/// One object that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{name}`: {field}: {message}")]
pub struct Rejection {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The field at fault.
    pub field: String,
    /// The reason of its condition.
    pub reason: Reason,
    /// What is wrong, and what to do.
    pub message: String,
}

/// A group with the SecurityAssociations that were accepted, by order.
#[derive(Clone, Debug)]
pub struct ValidatedGroup<'a> {
    /// The group.
    pub group: &'a GetVpnGroup,
    /// Accepted objects, the lowest `order` first.
    pub associations: Vec<&'a SecurityAssociation>,
    /// Objects that were not accepted.
    pub rejections: Vec<Rejection>,
    /// Objects that were accepted although a rule of theirs can never match: name and message.
    pub warnings: Vec<(String, String)>,
}

fn name(metadata: &Option<String>) -> String {
    metadata.clone().unwrap_or_default()
}

fn rejection(association: &SecurityAssociation, field: &str, reason: Reason, message: String) -> Rejection {
    Rejection {
        kind: "SecurityAssociation",
        name: name(&association.metadata.name),
        field: field.to_owned(),
        reason,
        message,
    }
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
    let group_name = name(&group.metadata.name);
    let refuse = |field: &str, reason, message: &str| Rejection {
        kind: "GetVpnGroup",
        name: group_name.clone(),
        field: field.to_owned(),
        reason,
        message: message.to_owned(),
    };
    if group.spec.key_servers_from.is_some() && group.spec.authorization.mode == AuthorizationMode::Disabled {
        return Err(vec![refuse(
            "spec.authorization.mode",
            Reason::AuthorizationRequired,
            "may not be 'Disabled' when `keyServersFrom` is set; say who may join this group",
        )]);
    }
    let mut candidates: Vec<&SecurityAssociation> = associations
        .into_iter()
        .filter(|association| association.spec.group_ref.name == group_name)
        .collect();
    // A stable sort: files keep their order, objects of a cluster are sorted by age.
    candidates.sort_by(|one, other| {
        let age = |object: &SecurityAssociation| object.metadata.creation_timestamp.clone().map(|time| time.0);
        age(one).cmp(&age(other))
    });
    let mut validated = ValidatedGroup { group, associations: Vec::new(), rejections: Vec::new(), warnings: Vec::new() };
    let mut orders: BTreeMap<i32, String> = BTreeMap::new();
    let (mut permits, mut sas) = (0, 0);
    for association in candidates {
        match judge(association, &orders, permits, sas) {
            Ok((more_permits, more_sas)) => {
                permits += more_permits;
                sas += more_sas;
                orders.insert(association.spec.order, name(&association.metadata.name));
                validated.associations.push(association);
            }
            Err(rejection) => validated.rejections.push(rejection),
        }
    }
    validated.associations.sort_by_key(|association| association.spec.order);
    find_shadowed(&mut validated);
    if validated.associations.is_empty() {
        let mut errors = vec![refuse(
            "spec",
            Reason::NoSecurityAssociations,
            "no SecurityAssociation is accepted for this group; create one whose `groupRef` names it",
        )];
        errors.append(&mut validated.rejections);
        return Err(errors);
    }
    Ok(validated)
}

/// Permit entries and SAs of one object, if it fits beside those accepted already.
fn judge(
    association: &SecurityAssociation,
    orders: &BTreeMap<i32, String>,
    permits: usize,
    sas: usize,
) -> Result<(usize, usize), Rejection> {
    let spec = &association.spec;
    if let Some(other) = orders.get(&spec.order) {
        return Err(rejection(
            association,
            "spec.order",
            Reason::OrderConflict,
            format!("{} is the order of `{other}` already; each SecurityAssociation of a group needs its own", spec.order),
        ));
    }
    for (index, rule) in spec.rules.iter().enumerate() {
        check_values(rule).map_err(|(field, error)| {
            rejection(association, &format!("spec.rules[{index}].{field}"), Reason::InvalidValue, error.to_string())
        })?;
    }
    let own = spec.rules.iter().filter(|rule| rule.action == Action::Permit);
    let (own_permits, own_sas) = own.fold((0, 0), |(permits, sas), rule| (permits + 1, sas + security_associations(rule)));
    if permits + own_permits > MOST_PERMITS {
        let message = format!(
            "the group would have {} permit entries, at most {MOST_PERMITS} are allowed; summarise prefixes",
            permits + own_permits
        );
        return Err(rejection(association, "spec.rules", Reason::LimitExceeded, message));
    }
    if sas + own_sas > MOST_SECURITY_ASSOCIATIONS {
        let message = format!(
            "the group would have {} SAs, at most {MOST_SECURITY_ASSOCIATIONS} are allowed; a permit entry whose ends differ takes four",
            sas + own_sas
        );
        return Err(rejection(association, "spec.rules", Reason::LimitExceeded, message));
    }
    Ok((own_permits, own_sas))
}

fn check_values(rule: &TrafficRule) -> Result<(), (&'static str, flow::ValueError)> {
    flow::prefix(&rule.source).map_err(|error| ("source", error))?;
    flow::prefix(&rule.destination).map_err(|error| ("destination", error))?;
    flow::ports(&rule.source_ports).map_err(|error| ("sourcePorts", error))?;
    flow::ports(&rule.destination_ports).map_err(|error| ("destinationPorts", error))?;
    Ok(())
}

/// Whether the rule for the way back is added to this rule.
pub fn is_mirrored(rule: &TrafficRule) -> bool {
    let differs = rule.source != rule.destination || rule.source_ports != rule.destination_ports;
    let multicast = flow::prefix(&rule.destination).is_ok_and(|prefix| prefix.network().is_multicast());
    rule.mirror == Mirror::Auto && differs && !multicast
}

/// IPsec SAs of one permit entry: one each way, and again for its mirror.
pub fn security_associations(rule: &TrafficRule) -> usize {
    if is_mirrored(rule) { 4 } else { 2 }
}

/// Finds permit entries that a deny entry in front of them covers whole.
fn find_shadowed(validated: &mut ValidatedGroup<'_>) {
    let mut denies: Vec<(String, &TrafficRule)> = Vec::new();
    for association in &validated.associations {
        let owner = name(&association.metadata.name);
        for rule in &association.spec.rules {
            match rule.action {
                Action::Deny => denies.push((owner.clone(), rule)),
                Action::Permit => {
                    if let Some((hider, deny)) = denies.iter().find(|(_, deny)| covers(deny, rule)) {
                        let message = format!(
                            "rule `{}` never matches: `{}` in `{hider}` comes first and leaves its traffic in clear",
                            rule.name, deny.name
                        );
                        validated.warnings.push((owner.clone(), message));
                    }
                }
            }
        }
    }
}

fn covers(outer: &TrafficRule, inner: &TrafficRule) -> bool {
    let protocol = |rule: &TrafficRule| flow::protocol_number(rule.protocol, rule.protocol_number);
    let within = |outer, inner| match (flow::prefix(outer), flow::prefix(inner)) {
        (Ok(outer), Ok(inner)) => outer.contains(&inner),
        _ => false,
    };
    protocol(outer).is_none_or(|number| protocol(inner) == Some(number))
        && within(&outer.source, &inner.source)
        && within(&outer.destination, &inner.destination)
        && outer.source_ports.is_empty()
        && outer.destination_ports.is_empty()
}
