//! Devices to resources.

mod access;
mod association;
mod group;
mod member;
mod name;
mod registration;
mod rules;
mod timing;

use std::net::IpAddr;

use operator_core::group::Reason;
use operator_core::{namespace, policy};

use super::Import;
use super::device::{Device, Group, GroupIdentity, Server};
use super::note::{Note, Notes, Weight};
use crate::import::yaml::Node;
use name::Names;

/// A group of which at least one key server's configuration is here.
struct Plan<'a> {
    /// Name of the GetVpnGroup.
    name: String,
    identity: GroupIdentity,
    /// Its key servers' configurations; the first one gives the policy.
    servers: Vec<(&'a Device, &'a Group, &'a Server)>,
    /// Addresses of the key servers by ordinal, as far as they are known.
    addresses: Vec<Option<IpAddr>>,
}

/// All resources.
pub(super) fn objects(devices: &[Device], notes: &mut Notes) -> Vec<Node> {
    let plans = plans(devices, notes);
    let mut objects = Vec::new();
    let mut associations = Vec::new();
    let mut names = Names::default();
    for plan in &plans {
        let Some((device, group, server)) = plan.servers.first().copied() else {
            continue;
        };
        let timing = timing::decide(device, server, notes);
        objects.push(group::node(plan, devices, &timing, notes));
        associations.extend(association::nodes(
            plan,
            (device, group, server),
            &mut names,
            notes,
        ));
    }
    objects.append(&mut associations);
    let mut names = Names::default();
    for device in devices {
        objects.extend(member::nodes(device, &plans, &mut names, notes));
    }
    objects
}

/// The groups, each with all of its key servers.
fn plans<'a>(devices: &'a [Device], notes: &mut Notes) -> Vec<Plan<'a>> {
    let mut plans: Vec<Plan<'a>> = Vec::new();
    let mut names = Names::default();
    for device in devices {
        for group in &device.groups {
            let Some(server) = &group.server else {
                continue;
            };
            let Some(identity) = group.identity else {
                let message = format!(
                    "group `{}` has no `identity`; it is not imported",
                    group.name
                );
                notes.add(device.source, group.line, Weight::Lost, message);
                continue;
            };
            match plans.iter_mut().find(|plan| plan.identity == identity) {
                Some(plan) => {
                    let message = format!(
                        "group `{}`: another key server of `{}`, whose policy is taken from the first one",
                        group.name, plan.name
                    );
                    notes.add(device.source, group.line, Weight::Hint, message);
                    plan.servers.push((device, group, server));
                }
                None => plans.push(Plan {
                    name: names.unique(&group.name, 49),
                    identity,
                    servers: vec![(device, group, server)],
                    addresses: Vec::new(),
                }),
            }
        }
    }
    for plan in &mut plans {
        plan.addresses = group::addresses(plan, notes);
    }
    plans
}

/// What the operator would say about the result.
pub(super) fn judged(import: &Import) -> Vec<Note> {
    let note = |weight, message: String| Note {
        source: "result".to_owned(),
        line: 0,
        weight,
        message,
    };
    if import.is_empty() {
        return Vec::new();
    }
    let manifests = match crds::load("result", &import.yaml()) {
        Ok(manifests) => manifests,
        Err(errors) => return vec![note(Weight::Lost, errors.to_string())],
    };
    let judgement = namespace::validate(
        &manifests.groups,
        &manifests.security_associations,
        &manifests.members,
    );
    let mut notes: Vec<Note> = judgement
        .rejections()
        // Members whose key servers are in another configuration are no mistake.
        .filter(|rejection| rejection.reason != Reason::GroupNotFound)
        .map(|rejection| note(Weight::Lost, format!("the operator refuses {rejection}")))
        .collect();
    for judged in &judgement.groups {
        let Ok(validated) = &judged.outcome else {
            continue;
        };
        notes.extend(validated.warnings.iter().map(|(name, warning)| {
            note(
                Weight::Hint,
                format!("SecurityAssociation `{name}`: {warning}"),
            )
        }));
        if let Err(error) = policy::build(validated) {
            notes.push(note(Weight::Lost, error.to_string()));
        }
    }
    notes
}
