//! GroupMembers that cannot be in one pod.

use crds::v1alpha1::{GetVpnGroup, GroupMember};
use keyserver_api::policy::{Action, Rule};

use super::Catalog;
use super::selection::name;
use crate::expand::{both_ways, overlap};

/// Why a set of GroupMembers cannot be in one pod. Nothing is resolved by order of names: a pod with a conflict is
/// refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A GroupMember names a group that there is not.
    #[error(
        "GroupMember `{member}` names GetVpnGroup `{group}`, which is not in this namespace; create it first"
    )]
    NoGroup {
        /// The member.
        member: String,
        /// The group.
        group: String,
    },
    /// Two name the same group.
    #[error(
        "GroupMembers `{one}` and `{other}` both take part in group `{group}`; a pod can do so once"
    )]
    SameGroup {
        /// One of them.
        one: String,
        /// The other.
        other: String,
        /// The group.
        group: String,
    },
    /// Two want different things of the pod as a whole.
    #[error(
        "GroupMembers `{one}` and `{other}` differ in `spec.{field}`, which a pod has only once; make them equal"
    )]
    Setting {
        /// One of them.
        one: String,
        /// The other.
        other: String,
        /// The field.
        field: &'static str,
    },
    /// Two groups would encrypt the same packets.
    #[error(
        "groups `{one}` and `{other}` both encrypt some packets: rule `{one_rule}` overlaps rule `{other_rule}`; a pod can be in both only when their rules are apart"
    )]
    Overlap {
        /// One group.
        one: String,
        /// Its rule.
        one_rule: String,
        /// The other group.
        other: String,
        /// Its rule.
        other_rule: String,
    },
}

/// What keeps `members` from being in one pod, if anything.
#[must_use]
pub fn conflict(members: &[&GroupMember], catalog: &Catalog<'_>) -> Option<Conflict> {
    let mut groups: Vec<(&GroupMember, &GetVpnGroup)> = Vec::new();
    for member in members {
        let Some(group) = catalog.group_of(member) else {
            return Some(Conflict::NoGroup {
                member: name(member),
                group: member.spec.group_ref.name.clone(),
            });
        };
        groups.push((member, group));
    }
    let pairs = || {
        groups.iter().enumerate().flat_map(|(index, one)| {
            let later = groups.iter().skip(index + 1);
            later.map(move |other| (one, other))
        })
    };
    for ((one, _), (other, _)) in pairs() {
        if one.spec.group_ref.name == other.spec.group_ref.name {
            return Some(Conflict::SameGroup {
                one: name(one),
                other: name(other),
                group: one.spec.group_ref.name.clone(),
            });
        }
        if let Some(field) = differing(one, other) {
            return Some(Conflict::Setting {
                one: name(one),
                other: name(other),
                field,
            });
        }
    }
    if groups.len() < 2 {
        return None;
    }
    let permits: Vec<(String, Vec<Rule>)> = groups
        .iter()
        .map(|(_, group)| permits(group, catalog))
        .collect();
    for (index, (one, rules)) in permits.iter().enumerate() {
        for (other, others) in permits.iter().skip(index + 1) {
            for rule in rules {
                if let Some(same) = others.iter().find(|same| overlap(rule, same)) {
                    return Some(Conflict::Overlap {
                        one: one.clone(),
                        one_rule: rule.name.clone(),
                        other: other.clone(),
                        other_rule: same.name.clone(),
                    });
                }
            }
        }
    }
    None
}

/// The first field that a pod has only once and in which two members differ.
fn differing(one: &GroupMember, other: &GroupMember) -> Option<&'static str> {
    let (one, other) = (&one.spec, &other.spec);
    let sorted = |interfaces: &[String]| {
        let mut interfaces = interfaces.to_vec();
        interfaces.sort_unstable();
        interfaces
    };
    let (mtu, other_mtu) = (one.sidecar.mtu_bytes, other.sidecar.mtu_bytes);
    [
        (
            sorted(&one.interfaces) != sorted(&other.interfaces),
            "interfaces",
        ),
        (
            one.local_interface != other.local_interface,
            "localInterface",
        ),
        (one.failure_mode != other.failure_mode, "failureMode"),
        (
            mtu != 0 && other_mtu != 0 && mtu != other_mtu,
            "sidecar.mtuBytes",
        ),
    ]
    .into_iter()
    .find_map(|(differs, field)| differs.then_some(field))
}

/// The rules by which a group encrypts, with those for the way back. Rules that no admission let through encrypt
/// nothing.
fn permits(group: &GetVpnGroup, catalog: &Catalog<'_>) -> (String, Vec<Rule>) {
    let group = group.metadata.name.clone().unwrap_or_default();
    let rules = catalog
        .associations
        .iter()
        .filter(|association| association.spec.group_ref.name == group)
        .flat_map(|association| &association.spec.rules)
        .flat_map(|rule| both_ways(rule).unwrap_or_default())
        .filter(|rule| rule.action == Action::Permit)
        .collect();
    (group, rules)
}
