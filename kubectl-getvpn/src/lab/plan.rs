//! Decides from the resources which nodes a lab has: who serves which group, who is a member of
//! what, and which addresses they get.
//!
//! A GroupMember becomes as many members as its annotation `lab.getvpn.dev/members` says: a
//! number, or a list of member names such as `m-1,m-2`. A member named by two GroupMembers takes
//! part in both groups.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::v1alpha1::{GetVpnGroup, GroupMember};
use keyserver_api::policy::GroupPolicy;

use super::address::{MAXIMUM_KEY_SERVERS, MAXIMUM_MEMBERS, NodeAddresses};
use super::error::LabError;
use super::resources::Resources;

/// Annotation of a GroupMember: how many members, or their names.
pub const MEMBERS_ANNOTATION: &str = "lab.getvpn.dev/members";

/// Annotation of a GetVpnGroup: factor for all its times.
pub const TIME_SCALE_ANNOTATION: &str = "lab.getvpn.dev/time-scale";

/// Members of a GroupMember that says nothing about their number.
const DEFAULT_MEMBERS: u16 = 2;

/// Priority of the first key server; each next one has less.
const FIRST_PRIORITY: u8 = 100;
/// By how much.
const PRIORITY_STEP: u8 = 5;

/// One set of cooperating key servers.
#[derive(Debug, Clone)]
pub struct ClusterPlan {
    /// The group that declares it.
    pub group: String,
    /// Its key servers, by ordinal.
    pub key_servers: Vec<KeyServerPlan>,
}

/// One key server.
#[derive(Debug, Clone)]
pub struct KeyServerPlan {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: NodeAddresses,
    /// Its priority, 1 to 100.
    pub priority: u8,
}

/// One group.
#[derive(Debug, Clone)]
pub struct GroupPlan {
    /// The resource.
    pub resource: GetVpnGroup,
    /// The policy to push, times scaled.
    pub policy: GroupPolicy,
    /// Index of the set of key servers that serves it.
    pub cluster: usize,
}

/// One member.
#[derive(Debug, Clone)]
pub struct MemberPlan {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: NodeAddresses,
    /// The groups it takes part in: index of the group, and how.
    pub memberships: Vec<(usize, GroupMember)>,
}

/// All nodes of a lab.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Sets of key servers.
    pub clusters: Vec<ClusterPlan>,
    /// Groups.
    pub groups: Vec<GroupPlan>,
    /// Members.
    pub members: Vec<MemberPlan>,
}

impl Plan {
    /// Lays out a lab for checked resources; `members` overrides the number of each GroupMember.
    ///
    /// # Errors
    /// When an annotation cannot be read, a reference leads nowhere, or there are too many nodes.
    pub fn new(resources: &Resources, members: Option<u16>) -> Result<Self, LabError> {
        let clusters = clusters(&resources.groups)?;
        let groups = resources
            .groups
            .iter()
            .map(|group| group_plan(resources, group, &clusters))
            .collect::<Result<Vec<_>, _>>()?;
        let members = members_plan(&resources.members, &groups, members)?;
        Ok(Self {
            clusters,
            groups,
            members,
        })
    }

    /// All key servers of all sets.
    pub fn key_servers(&self) -> impl Iterator<Item = &KeyServerPlan> {
        self.clusters
            .iter()
            .flat_map(|cluster| &cluster.key_servers)
    }
}

fn group_name(group: &GetVpnGroup) -> &str {
    group.metadata.name.as_deref().unwrap_or_default()
}

fn member_name(member: &GroupMember) -> &str {
    member.metadata.name.as_deref().unwrap_or_default()
}

fn clusters(groups: &[GetVpnGroup]) -> Result<Vec<ClusterPlan>, LabError> {
    let mut clusters = Vec::new();
    let mut index = 0_u16;
    for group in groups {
        let Some(key_servers) = &group.spec.key_servers else {
            continue;
        };
        let prefix = if clusters.is_empty() {
            "ks".to_owned()
        } else {
            format!("ks{}", clusters.len() + 1)
        };
        let mut planned = Vec::new();
        for ordinal in 0..key_servers.replicas {
            let stepped = u8::try_from(ordinal)
                .unwrap_or(u8::MAX)
                .saturating_mul(PRIORITY_STEP);
            let chosen = key_servers
                .priorities
                .iter()
                .find(|priority| priority.ordinal.0 == ordinal)
                .and_then(|priority| u8::try_from(priority.priority).ok());
            planned.push(KeyServerPlan {
                name: format!("{prefix}-{ordinal}"),
                addresses: NodeAddresses::key_server(index),
                priority: chosen.unwrap_or(FIRST_PRIORITY.saturating_sub(stepped)),
            });
            index += 1;
            if index > MAXIMUM_KEY_SERVERS {
                return Err(LabError::Usage(format!(
                    "a lab has at most {MAXIMUM_KEY_SERVERS} key servers"
                )));
            }
        }
        clusters.push(ClusterPlan {
            group: group_name(group).to_owned(),
            key_servers: planned,
        });
    }
    Ok(clusters)
}

fn group_plan(
    resources: &Resources,
    group: &GetVpnGroup,
    clusters: &[ClusterPlan],
) -> Result<GroupPlan, LabError> {
    let name = group_name(group);
    let owner = match &group.spec.key_servers_from {
        Some(other) => other.group_ref.name.clone(),
        None => name.to_owned(),
    };
    let cluster = clusters
        .iter()
        .position(|cluster| cluster.group == owner)
        .ok_or_else(|| {
            LabError::Usage(format!(
                "group `{name}` uses the key servers of `{owner}`, which has none in this file"
            ))
        })?;
    let mut policy = resources.policy(name)?;
    if let Some(text) = annotation(group.metadata.annotations.as_ref(), TIME_SCALE_ANNOTATION) {
        let factor = time_scale(name, text)?;
        scale(&mut policy, factor);
    }
    Ok(GroupPlan {
        resource: group.clone(),
        policy,
        cluster,
    })
}

fn annotation<'a>(all: Option<&'a BTreeMap<String, String>>, name: &str) -> Option<&'a str> {
    all?.get(name).map(String::as_str)
}

fn time_scale(group: &str, text: &str) -> Result<f64, LabError> {
    match text.parse::<f64>() {
        Ok(factor) if factor > 0.0 && factor <= 1.0 => Ok(factor),
        _ => Err(LabError::Usage(format!(
            "group `{group}`: annotation {TIME_SCALE_ANNOTATION} is `{text}`; it must be a number above 0 and at most 1, for example \"0.05\""
        ))),
    }
}

/// Makes all times of a policy shorter by a factor, none below its smallest sensible value.
fn scale(policy: &mut GroupPolicy, factor: f64) {
    let milliseconds = |value: u64, least: u64| -> u64 {
        let scaled = Duration::from_millis(value).mul_f64(factor).as_millis();
        u64::try_from(scaled).unwrap_or(u64::MAX).max(least)
    };
    let short = |value: u32, least: u64| -> u32 {
        u32::try_from(milliseconds(u64::from(value), least)).unwrap_or(u32::MAX)
    };
    let seconds = |value: u32, least: u64| -> u32 {
        let scaled = milliseconds(
            u64::from(value).saturating_mul(1000),
            least.saturating_mul(1000),
        );
        u32::try_from(scaled.div_ceil(1000)).unwrap_or(u32::MAX)
    };
    policy.activation_delay_ms = short(policy.activation_delay_ms, 200);
    policy.deactivation_delay_ms = short(policy.deactivation_delay_ms, 500);
    let rekey = &mut policy.rekey;
    rekey.kek_lifetime_seconds = seconds(rekey.kek_lifetime_seconds, 10);
    rekey.lead_time_seconds = seconds(rekey.lead_time_seconds, 1);
    rekey.retransmit_period_ms = short(rekey.retransmit_period_ms, 200);
    rekey.acknowledgement_timeout_ms = short(rekey.acknowledgement_timeout_ms, 300);
    for association in &mut policy.security_associations {
        association.lifetime_ms = milliseconds(association.lifetime_ms, 2_000);
    }
}

fn members_plan(
    resources: &[GroupMember],
    groups: &[GroupPlan],
    count: Option<u16>,
) -> Result<Vec<MemberPlan>, LabError> {
    let mut memberships: BTreeMap<u16, Vec<(usize, GroupMember)>> = BTreeMap::new();
    let mut last = 0_u16;
    for resource in resources {
        let group = groups
            .iter()
            .position(|group| group_name(&group.resource) == resource.spec.group_ref.name)
            .ok_or_else(|| {
                LabError::Usage(format!(
                    "GroupMember `{}` names the group `{}`, which is not in this file",
                    member_name(resource),
                    resource.spec.group_ref.name
                ))
            })?;
        let numbers = member_numbers(resource, count, last)?;
        last = numbers.iter().copied().max().unwrap_or(0).max(last);
        if last > MAXIMUM_MEMBERS {
            return Err(LabError::Usage(format!(
                "a lab has at most {MAXIMUM_MEMBERS} members"
            )));
        }
        for number in numbers {
            let of_member = memberships.entry(number).or_default();
            of_member.push((group, resource.clone()));
        }
    }
    Ok(memberships
        .into_iter()
        .map(|(number, memberships)| MemberPlan {
            name: format!("m-{number}"),
            addresses: NodeAddresses::member(number),
            memberships,
        })
        .collect())
}

/// Numbers of the members that a GroupMember stands for.
fn member_numbers(
    resource: &GroupMember,
    count: Option<u16>,
    last: u16,
) -> Result<Vec<u16>, LabError> {
    let text =
        annotation(resource.metadata.annotations.as_ref(), MEMBERS_ANNOTATION).map(str::trim);
    let following = |count: u16| (last + 1..=last.saturating_add(count)).collect();
    let named = text.filter(|text| text.starts_with("m-"));
    if let (Some(count), None) = (count, named) {
        return Ok(following(count));
    }
    let invalid = || {
        LabError::Usage(format!(
            "GroupMember `{}`: annotation {MEMBERS_ANNOTATION} is `{}`; it must be a number from 1 to {MAXIMUM_MEMBERS}, or names such as `m-1,m-2`",
            member_name(resource),
            text.unwrap_or_default(),
        ))
    };
    let in_range = |number: &u16| (1..=MAXIMUM_MEMBERS).contains(number);
    match (text, named) {
        (None, _) => Ok(following(DEFAULT_MEMBERS)),
        (Some(_), Some(names)) => names
            .split(',')
            .map(|name| {
                let digits = name.trim().strip_prefix("m-");
                let number = digits.and_then(|digits| digits.parse::<u16>().ok());
                number.filter(in_range).ok_or_else(invalid)
            })
            .collect(),
        (Some(text), None) => text
            .parse()
            .ok()
            .filter(in_range)
            .map(following)
            .ok_or_else(invalid),
    }
}
