//! Gathers what the pure parts decide from.

use std::collections::BTreeMap;
use std::sync::Arc;

use crds::v1alpha1::{GetVpnGroup, GroupMember, SecurityAssociation};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use kube::{Api, Client};
use operator_core::key_server::inputs::MOST_REPLICAS;
use operator_core::key_server::observed::Observed;
use operator_core::key_server::storage::ClaimView;
use operator_core::{labels, names};

use crate::context::Stores;
use crate::error::{Doing as _, Error};

/// All objects of the three kinds in one namespace. Those that are being deleted are left out: what they say does not
/// hold any more.
#[derive(Clone, Debug, Default)]
pub struct Namespace {
    /// Groups.
    pub groups: Vec<GetVpnGroup>,
    /// SecurityAssociations.
    pub associations: Vec<SecurityAssociation>,
    /// GroupMembers.
    pub members: Vec<GroupMember>,
}

impl Namespace {
    /// From the watches.
    pub fn new(stores: &Stores, namespace: &str) -> Self {
        fn alive<K: kube::Resource + Clone>(objects: Vec<Arc<K>>) -> Vec<K> {
            objects
                .into_iter()
                .filter(|object| object.meta().deletion_timestamp.is_none())
                .map(Arc::unwrap_or_clone)
                .collect()
        }
        Self {
            groups: alive(stores.groups.within(namespace)),
            associations: alive(stores.associations.within(namespace)),
            members: alive(stores.members.within(namespace)),
        }
    }
}

/// Key servers of a group as the watches show them, without what they say themselves.
pub fn observed(stores: &Stores, namespace: &str, group: &str) -> Observed {
    let set = stores.sets.get(namespace, &names::key_servers(group));
    let pods = stores.pods.within(namespace);
    let pods = pods.iter().map(Arc::as_ref);
    let ours = pods.filter(|pod| is_key_server_of(pod, group));
    Observed::new(group, set.as_deref(), ours, BTreeMap::new())
}

/// The same from the API server itself, for steps that must not be taken on an old view.
///
/// # Errors
/// What the API server refuses.
pub async fn observed_now(
    client: &Client,
    namespace: &str,
    group: &str,
) -> Result<Observed, Error> {
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let name = names::key_servers(group);
    let parameters = ListParams::default().fields(&format!("metadata.name={name}"));
    let sets = sets
        .list(&parameters)
        .await
        .doing(|| format!("list StatefulSet {namespace}/{name}"))?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let selector: Vec<String> = labels::key_servers(group)
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let pods = pods
        .list(&ListParams::default().labels(&selector.join(",")))
        .await
        .doing(|| format!("list the pods of {namespace}/{name}"))?;
    Ok(Observed::new(
        group,
        sets.items.first(),
        &pods.items,
        BTreeMap::new(),
    ))
}

/// The claims of a group's key servers that exist.
///
/// # Errors
/// What the API server refuses.
pub async fn claims(
    client: &Client,
    namespace: &str,
    group: &str,
) -> Result<Vec<ClaimView>, Error> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let mut views = Vec::new();
    for ordinal in 0..MOST_REPLICAS {
        let name = names::volume_claim(group, ordinal);
        let claim = api
            .get_opt(&name)
            .await
            .doing(|| format!("read volume claim {namespace}/{name}"))?;
        views.extend(claim.and_then(|claim| view(name, &claim)));
    }
    Ok(views)
}

fn view(name: String, claim: &PersistentVolumeClaim) -> Option<ClaimView> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    let capacity = claim
        .status
        .as_ref()
        .and_then(|status| status.capacity.as_ref())
        .and_then(|capacity| capacity.get("storage"));
    Some(ClaimView {
        name,
        requested: requests.get("storage")?.0.clone(),
        capacity: capacity.map(|capacity| capacity.0.clone()),
    })
}

fn is_key_server_of(pod: &Pod, group: &str) -> bool {
    let Some(found) = &pod.metadata.labels else {
        return false;
    };
    labels::key_servers(group)
        .iter()
        .all(|(key, value)| found.get(key) == Some(value))
}
