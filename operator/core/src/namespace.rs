//! All objects of the three kinds, judged together: references, shared key servers, group numbers.

use crds::v1alpha1::{AuthorizationMode, GetVpnGroup, GroupMember, SecurityAssociation};

use crate::group::{
    self, Reason, Rejection, ValidatedGroup, age, name, names_group, refuse_group, same_namespace,
};
use crate::labels;

/// One group with everything that belongs to it.
#[derive(Clone, Debug)]
pub struct JudgedGroup<'a> {
    /// The group.
    pub group: &'a GetVpnGroup,
    /// The group whose key servers serve it: itself, or the one named by `keyServersFrom`.
    pub host: Option<&'a GetVpnGroup>,
    /// Its accepted objects, or what keeps it from being served.
    pub outcome: Result<ValidatedGroup<'a>, Vec<Rejection>>,
    /// The members that were accepted.
    pub members: Vec<&'a GroupMember>,
}

/// What was found about all objects.
#[derive(Clone, Debug)]
pub struct Judgement<'a> {
    /// Every group, in the order given.
    pub groups: Vec<JudgedGroup<'a>>,
    /// SecurityAssociations and members that belong to no group, or to none in the right way.
    pub strays: Vec<Rejection>,
}

impl<'a> Judgement<'a> {
    /// Every object that was not accepted.
    pub fn rejections(&self) -> impl Iterator<Item = &Rejection> {
        let of_groups = self.groups.iter().flat_map(|judged| match &judged.outcome {
            Ok(validated) => validated.rejections.iter(),
            Err(rejections) => rejections.iter(),
        });
        of_groups.chain(&self.strays)
    }

    /// The group with this name, when it can be served.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&ValidatedGroup<'a>> {
        let named = |judged: &&JudgedGroup<'_>| judged.group.metadata.name.as_deref() == Some(name);
        self.groups
            .iter()
            .find(named)
            .and_then(|judged| judged.outcome.as_ref().ok())
    }
}

/// Judges all objects. Where two are in conflict the older one keeps its place; objects without a creation time (files)
/// count in the order given.
#[must_use]
pub fn validate<'a>(
    groups: &'a [GetVpnGroup],
    associations: &'a [SecurityAssociation],
    members: &'a [GroupMember],
) -> Judgement<'a> {
    let mut judged: Vec<JudgedGroup<'a>> = groups
        .iter()
        .map(|group| {
            let host = host(groups, group);
            let outcome = match &host {
                Ok(_) => {
                    check_sharing(groups, group).and_then(|()| group::validate(group, associations))
                }
                Err(rejection) => Err(vec![rejection.clone()]),
            };
            JudgedGroup {
                group,
                host: host.ok(),
                outcome,
                members: Vec::new(),
            }
        })
        .collect();
    refuse_equal_numbers(&mut judged);
    let mut strays: Vec<Rejection> = associations
        .iter()
        .filter(|object| {
            !groups
                .iter()
                .any(|group| names_group(&object.metadata, &object.spec.group_ref.name, group))
        })
        .map(|object| {
            not_found(
                "SecurityAssociation",
                name(&object.metadata),
                &object.spec.group_ref.name,
            )
        })
        .collect();
    for member in members {
        let group = judged.iter_mut().find(|judged| {
            names_group(&member.metadata, &member.spec.group_ref.name, judged.group)
        });
        match group {
            None => strays.push(not_found(
                "GroupMember",
                name(&member.metadata),
                &member.spec.group_ref.name,
            )),
            Some(judged) => {
                let checked =
                    check_order(member, judged.host).and_then(|()| check_selector(member, groups));
                match checked {
                    Ok(()) => judged.members.push(member),
                    Err(rejection) => strays.push(rejection),
                }
            }
        }
    }
    Judgement {
        groups: judged,
        strays,
    }
}

fn not_found(kind: &'static str, name: String, group: &str) -> Rejection {
    Rejection {
        kind,
        name,
        field: "spec.groupRef.name".to_owned(),
        reason: Reason::GroupNotFound,
        message: format!("there is no GetVpnGroup `{group}` in this namespace"),
    }
}

/// The group whose key servers serve `group`.
fn host<'a>(
    groups: &'a [GetVpnGroup],
    group: &'a GetVpnGroup,
) -> Result<&'a GetVpnGroup, Rejection> {
    let Some(from) = &group.spec.key_servers_from else {
        return Ok(group);
    };
    let field = "spec.keyServersFrom.groupRef.name";
    let wanted = &from.group_ref.name;
    let Some(host) = groups
        .iter()
        .find(|other| names_group(&group.metadata, wanted, other))
    else {
        let message = format!("there is no GetVpnGroup `{wanted}` in this namespace");
        return Err(refuse_group(group, field, Reason::GroupNotFound, &message));
    };
    if host.spec.key_servers.is_none() {
        let message = format!(
            "`{wanted}` has no key servers of its own; name the group that has `keyServers`"
        );
        return Err(refuse_group(
            group,
            field,
            Reason::InvalidReference,
            &message,
        ));
    }
    Ok(host)
}

/// Key servers that serve several groups must be told for each who may join it.
fn check_sharing(groups: &[GetVpnGroup], group: &GetVpnGroup) -> Result<(), Vec<Rejection>> {
    let guest = groups.iter().find(|other| {
        other
            .spec
            .key_servers_from
            .as_ref()
            .is_some_and(|from| names_group(&other.metadata, &from.group_ref.name, group))
    });
    match guest {
        Some(guest) if group.spec.authorization.mode == AuthorizationMode::Disabled => {
            Err(vec![refuse_group(
                group,
                "spec.authorization.mode",
                Reason::AuthorizationRequired,
                &format!(
                    "may not be 'Disabled' while `{}` uses the same key servers; say who may join this group",
                    name(&guest.metadata)
                ),
            )])
        }
        _ => Ok(()),
    }
}

/// Of the groups of one set of key servers with the same number, only the oldest is served.
fn refuse_equal_numbers(judged: &mut [JudgedGroup<'_>]) {
    let mut by_age: Vec<usize> = (0..judged.len()).collect();
    by_age.sort_by_cached_key(|index| {
        judged
            .get(*index)
            .and_then(|judged| age(&judged.group.metadata))
    });
    let mut taken: Vec<(*const GetVpnGroup, i32, String)> = Vec::new();
    for index in by_age {
        let Some(judged) = judged.get_mut(index) else {
            continue;
        };
        let Some(host) = judged.host else { continue };
        let number = judged.group.spec.group_id;
        let owner = taken
            .iter()
            .find(|(other, taken, _)| std::ptr::eq(*other, host) && *taken == number);
        if let Some((_, _, owner)) = owner {
            let message = format!(
                "{number} is the number of `{owner}`, which the same key servers serve already"
            );
            let rejection = refuse_group(
                judged.group,
                "spec.groupID",
                Reason::GroupIdConflict,
                &message,
            );
            judged.outcome = Err(vec![rejection]);
        } else {
            taken.push((
                std::ptr::from_ref(host),
                number,
                name(&judged.group.metadata),
            ));
        }
    }
}

/// A member can only try key servers that there are.
fn check_order(member: &GroupMember, host: Option<&GetVpnGroup>) -> Result<(), Rejection> {
    let replicas = host
        .and_then(|host| host.spec.key_servers.as_ref())
        .map(|key_servers| key_servers.replicas);
    let beyond = member
        .spec
        .key_server_order
        .iter()
        .find(|ordinal| replicas.is_some_and(|count| ordinal.0 >= count));
    match (beyond, replicas) {
        (Some(ordinal), Some(count)) => Err(Rejection {
            kind: "GroupMember",
            name: name(&member.metadata),
            field: "spec.keyServerOrder".to_owned(),
            reason: Reason::InvalidValue,
            message: format!(
                "names key server {}, but the group has {count}, numbered from 0",
                ordinal.0
            ),
        }),
        _ => Ok(()),
    }
}

/// A key server cannot be a member. A selector without labels means all pods but those of key servers.
fn check_selector(member: &GroupMember, groups: &[GetVpnGroup]) -> Result<(), Rejection> {
    let Some(selector) = &member.spec.pod_selector else {
        return Ok(());
    };
    let chosen = groups.iter().find(|group| {
        let Some(key_servers) = &group.spec.key_servers else {
            return false;
        };
        let group_name = name(&group.metadata);
        let mut labels = key_servers.pod_metadata.labels.clone();
        labels.extend(labels::of_group(&group_name));
        labels.extend(labels::key_servers(&group_name));
        let wanted = &selector.match_labels;
        !wanted.is_empty()
            && wanted
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    });
    match chosen {
        Some(group) if same_namespace(&member.metadata, &group.metadata) => Err(Rejection {
            kind: "GroupMember",
            name: name(&member.metadata),
            field: "spec.podSelector.matchLabels".to_owned(),
            reason: Reason::InvalidValue,
            message: format!(
                "chooses the key servers of `{}`; a key server cannot be a member: name labels that only members have",
                name(&group.metadata)
            ),
        }),
        _ => Ok(()),
    }
}
