//! Reports about the pods of a GroupMember.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::v1alpha1::GroupMember;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use operator_core::group_member::pods::{MemberPod, belongs};
use operator_core::group_member::status::{Facts, status};
use operator_core::namespace;

use super::back_off::about;
use super::worker::{Worker, now};
use crate::error::Error;
use crate::fetch::Namespace;
use crate::reports::PodKey;

/// A report older than this says nothing any more: members report at least every five minutes.
const REPORT_AGE: Duration = Duration::from_secs(600);
/// How often it is looked whether reports grew old.
const PERIOD: Duration = Duration::from_secs(300);

pub(super) async fn reconcile(
    object: Arc<GroupMember>,
    worker: Arc<Worker>,
) -> Result<Action, Error> {
    if object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let (own, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let stores = &worker.context.stores;
    let all = Namespace::new(stores, &own);
    let judgement = namespace::validate(&all.groups, &all.associations, &all.members);
    let rejection = judgement
        .rejections()
        .find(|rejection| rejection.kind == "GroupMember" && rejection.name == name);
    let group = &object.spec.group_ref.name;
    let group_object = all
        .groups
        .iter()
        .find(|candidate| candidate.metadata.name.as_ref() == Some(group));
    let pods: Vec<MemberPod> = stores
        .pods
        .within(&own)
        .iter()
        .filter(|pod| belongs(pod, &name))
        .filter_map(|pod| MemberPod::new(pod))
        .collect();
    let reports: BTreeMap<_, _> = pods
        .iter()
        .filter_map(|pod| {
            let key = PodKey {
                namespace: own.clone(),
                name: pod.name.clone(),
                uid: pod.uid.clone(),
            };
            let report = worker.context.reports.get(&key, REPORT_AGE)?;
            Some((pod.uid.clone(), report))
        })
        .collect();
    let registered = worker.observations.get(&own, group);
    let status = status(&Facts {
        member: &object,
        now: now(),
        rejection,
        group: group_object,
        pods: &pods,
        registered: registered.as_deref(),
        reports: &reports,
        sidecar_image: &worker.context.arguments.sidecar_image,
        injection: worker.context.injections.get(&own, &name),
    });
    crate::status::write(
        &worker.context.client,
        &worker.context.metrics,
        &*object,
        object.status.as_ref(),
        &status,
        "GroupMember",
    )
    .await?;
    Ok(Action::requeue(about(PERIOD)))
}
