//! Brings one group to what its resource asks for: key servers, Secrets, policy, rekeys on request, status and Events.

mod key_server_set;
mod program;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::v1alpha1::GetVpnGroup;
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Event, finalizer};
use kube::{Api, ResourceExt};
use operator_core::group_member::pods::{MemberPod, memberships};
use operator_core::key_server::events::notices;
use operator_core::key_server::inputs::check_guest;
use operator_core::key_server::rollout::Step;
use operator_core::key_server::status::{self as group_status, Facts, Failure, Host, Members};
use operator_core::{labels, namespace, policy};

use super::back_off::about;
use super::worker::{Memory, Worker, now, paused};
use crate::error::Error;
use crate::fetch::{self, Namespace};
use crate::reports::PodKey;
use key_server_set::SetState;

/// How often key servers are asked while everything is as it should be: they tell nobody by themselves.
const PERIOD: Duration = Duration::from_secs(10);
/// How often while something is under way.
const SOON: Duration = Duration::from_secs(1);
/// Age of a member's report that still counts.
const REPORT_AGE: Duration = Duration::from_secs(600);

pub(super) async fn reconcile(
    object: Arc<GetVpnGroup>,
    worker: Arc<Worker>,
) -> Result<Action, Error> {
    let own = object.namespace().unwrap_or_default();
    let api: Api<GetVpnGroup> = Api::namespaced(worker.context.client.clone(), &own);
    Ok(finalizer(&api, labels::FINALIZER, object, |event| async {
        match event {
            Event::Apply(group) => look_after(&group, &worker).await,
            Event::Cleanup(group) => clean_up(&group, &worker).await,
        }
    })
    .await?)
}

/// Everything else of the group goes with it by its owner references.
async fn clean_up(group: &GetVpnGroup, worker: &Worker) -> Result<Action, Error> {
    let (own, name) = (group.namespace().unwrap_or_default(), group.name_any());
    worker.context.authorities.delete(&own, &name).await?;
    worker.key_servers.forget(&own, &name).await;
    worker.observations.put(&own, &name, None);
    worker.forget(&own, &name);
    tracing::info!(
        namespace = own,
        group = name,
        "the group's authorities were removed with it"
    );
    Ok(Action::await_change())
}

async fn look_after(group: &GetVpnGroup, worker: &Worker) -> Result<Action, Error> {
    let (own, name) = (group.namespace().unwrap_or_default(), group.name_any());
    let mut memory = worker.memory(&own, &name, group.uid().as_deref().unwrap_or_default());
    let result = work(group, worker, &own, &name, &mut memory).await;
    worker.remember(&own, &name, memory);
    result
}

async fn work(
    group: &GetVpnGroup,
    worker: &Worker,
    own: &str,
    name: &str,
    memory: &mut Memory,
) -> Result<Action, Error> {
    let stores = &worker.context.stores;
    let all = Namespace::new(stores, own);
    let judgement = namespace::validate(&all.groups, &all.associations, &all.members);
    let Some(judged) = judgement
        .groups
        .iter()
        .find(|judged| judged.group.metadata.name.as_deref() == Some(name))
    else {
        // The watch does not show it yet; its own event follows.
        return Ok(Action::requeue(SOON));
    };
    let paused = paused(group);
    let mut refusals = match &judged.outcome {
        Ok(_) => Vec::new(),
        Err(rejections) => rejections.clone(),
    };
    let is_guest = group.spec.key_servers_from.is_some();
    if is_guest
        && let Some(host) = judged.host
        && let Err(rejection) = check_guest(host, group)
    {
        refusals.push(rejection);
    }
    let host_name = judged.host.map(ResourceExt::name_any);
    let mut retried = None;
    let mut failure: Option<Failure> = None;

    // The key servers.
    let mut set = SetState::default();
    if let Some(host) = judged.host {
        let looked = if is_guest {
            key_server_set::look(worker, own, &host.name_any()).await
        } else {
            let guests: Vec<&GetVpnGroup> = all
                .groups
                .iter()
                .filter(|other| {
                    let from = other.spec.key_servers_from.as_ref();
                    from.is_some_and(|from| from.group_ref.name == name)
                        && check_guest(host, other).is_ok()
                })
                .collect();
            key_server_set::bring(worker, host, &guests, paused, memory).await
        };
        match looked {
            Ok(state) => set = state,
            Err(key_server_set::Fault::Rejected(rejection)) => refusals.push(rejection),
            Err(key_server_set::Fault::Error(error)) => match error.stalled() {
                Some(reason) => {
                    failure = Some(Failure {
                        reason,
                        message: error.to_string(),
                    });
                    set.observed = fetch::observed(stores, own, &host.name_any());
                }
                None => {
                    retried = Some(error.to_string());
                    set.observed = fetch::observed(stores, own, &host.name_any());
                }
            },
        }
    }

    // The policy.
    let mut built = None;
    if refusals.is_empty()
        && let Ok(validated) = &judged.outcome
    {
        match policy::build(validated) {
            Ok(policy) => built = Some(policy),
            Err(error) => {
                failure.get_or_insert(Failure {
                    reason: "PolicyRejected",
                    message: error.to_string(),
                });
            }
        }
    }
    let mut programmed = program::Programmed::default();
    if let Some(dialled) = &set.dialled
        && !paused
    {
        let asked = program::program(
            worker,
            group,
            built.as_ref(),
            dialled,
            &mut set.observed,
            memory,
        )
        .await;
        match asked {
            Ok(done) => programmed = done,
            Err(error) => retried = Some(error.to_string()),
        }
        if !is_guest && let Some(host) = &host_name {
            program::remove_strangers(&all, host, dialled, &set.observed).await;
        }
    }

    // What is said about it.
    let members = members(group, worker, own, programmed.rows.as_deref(), memory);
    if worker.observations.put(own, name, programmed.rows.clone()) {
        for member in &judged.members {
            worker.queues.members.push(own, &member.name_any());
        }
    }
    let (rejections, warnings) = match &judged.outcome {
        Ok(validated) => (
            validated.rejections.as_slice(),
            validated.warnings.as_slice(),
        ),
        Err(_) => (&[][..], &[][..]),
    };
    let host = judged.host.filter(|host| host.spec.key_servers.is_some());
    let facts = Facts {
        group,
        previous: group.status.as_ref(),
        now: now(),
        paused,
        refusals: &refusals,
        rejections,
        warnings,
        policy: built.as_ref().map(policy::summary),
        policy_in_force: programmed.in_force,
        policy_refused: programmed.refused,
        host: host.map(|host| Host {
            group: host_name.as_deref().unwrap_or_default(),
            replicas: host
                .spec
                .key_servers
                .as_ref()
                .and_then(|key_servers| usize::try_from(key_servers.replicas).ok())
                .unwrap_or_default(),
            observed: &set.observed,
            step: set.step.as_ref(),
            growing: set.growing.clone(),
        }),
        members,
        failure: failure.clone(),
        retried: retried.clone(),
        signing_key_fault: programmed.signing_key_fault,
        handled_rekey_request: programmed.handled_rekey_request,
    };
    let status = group_status::status(&facts);
    let before = group.status.clone().unwrap_or_default();
    let written = crate::status::write(
        &worker.context.client,
        &worker.context.metrics,
        group,
        group.status.as_ref(),
        &status,
        "GetVpnGroup",
    )
    .await?;
    if written {
        for notice in notices(&before, &status) {
            worker.events.tell(group, &notice).await;
        }
    }
    if let Some(message) = retried {
        return Err(Error::Retried(message));
    }
    let resting = matches!(set.step, Some(Step::Rest) | None)
        && failure.is_none()
        && programmed.in_force != Some(false);
    Ok(Action::requeue(about(if resting { PERIOD } else { SOON })))
}

/// Counts the group's members.
fn members(
    group: &GetVpnGroup,
    worker: &Worker,
    own: &str,
    rows: Option<&crate::observations::Rows>,
    memory: &mut Memory,
) -> Members {
    let stores = &worker.context.stores;
    let names: Vec<String> = stores
        .members
        .within(own)
        .iter()
        .filter(|member| member.spec.group_ref.name == group.name_any())
        .map(|member| member.name_any())
        .collect();
    let mut counted = Members::default();
    let mut in_pods = 0;
    for pod in stores.pods.within(own) {
        if !memberships(&pod).any(|member| names.iter().any(|name| name == member)) {
            continue;
        }
        let Some(view) = MemberPod::new(&pod) else {
            continue;
        };
        counted.expected += 1;
        counted.outdated += usize::from(
            view.sidecar_image
                .as_deref()
                .is_some_and(|image| image != worker.context.arguments.sidecar_image),
        );
        let key = PodKey {
            namespace: own.to_owned(),
            name: view.name.clone(),
            uid: view.uid.clone(),
        };
        let report = worker.context.reports.get(&key, REPORT_AGE);
        if let Some(report) = report {
            counted.fail_closed_active += usize::from(report.fail_closed_active);
            counted.versions.insert(view.name.clone(), report.version);
        }
        let identity = operator_api::pod::identity(&view.name, own).to_ascii_lowercase();
        in_pods += usize::from(rows.is_some_and(|rows| rows.contains_key(&identity)));
    }
    if let Some(rows) = rows {
        // Gateways and machines outside of the cluster are known only once they are registered.
        counted.expected += rows.len().saturating_sub(in_pods);
        let mut by_key_server: BTreeMap<String, usize> = BTreeMap::new();
        for row in rows.values() {
            *by_key_server.entry(row.key_server.clone()).or_default() += 1;
        }
        memory.by_key_server = by_key_server;
    }
    counted.by_key_server.clone_from(&memory.by_key_server);
    counted
}
