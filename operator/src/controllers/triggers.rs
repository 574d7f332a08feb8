//! Which objects are looked at when something happens.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt};
use operator_core::group_member::pods::memberships;
use operator_core::labels;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::task::JoinSet;

use super::queue::Queues;
use crate::context::{Context, Stores};
use crate::store::{Objects, Touch};

/// Starts the listeners as `tasks`.
pub(super) fn start(context: &Context, queues: &Arc<Queues>, tasks: &mut JoinSet<()>) {
    let stores = &context.stores;
    users(
        &stores.groups,
        stores,
        queues,
        tasks,
        |queues, stores, group| {
            let namespace = group.namespace().unwrap_or_default();
            // Groups share key servers, numbers and authorities.
            for other in stores.groups.within(&namespace) {
                queues.groups.push(&namespace, &other.name_any());
            }
            related(queues, stores, &namespace, &group.name_any());
        },
    );
    users(
        &stores.associations,
        stores,
        queues,
        tasks,
        |queues, stores, association| {
            let namespace = association.namespace().unwrap_or_default();
            let group = &association.spec.group_ref.name;
            queues.groups.push(&namespace, group);
            related(queues, stores, &namespace, group);
        },
    );
    users(
        &stores.members,
        stores,
        queues,
        tasks,
        |queues, _, member| {
            let namespace = member.namespace().unwrap_or_default();
            queues.members.push(&namespace, &member.name_any());
            queues.groups.push(&namespace, &member.spec.group_ref.name);
        },
    );
    listen(
        stores.pods.touched(),
        stores,
        queues,
        tasks,
        |queues, touch| {
            pod(queues, touch.object());
        },
    );
    owned(&stores.sets, stores, queues, tasks);
    owned(&stores.owned.services, stores, queues, tasks);
    owned(&stores.owned.config_maps, stores, queues, tasks);
    owned(&stores.owned.service_accounts, stores, queues, tasks);
    owned(&stores.owned.disruption_budgets, stores, queues, tasks);
    owned(&stores.owned.network_policies, stores, queues, tasks);
    reports(context, queues, tasks);
}

/// Everything that names a group.
fn related(queues: &Queues, stores: &Stores, namespace: &str, group: &str) {
    for association in stores.associations.within(namespace) {
        if association.spec.group_ref.name == group {
            queues.associations.push(namespace, &association.name_any());
        }
    }
    for member in stores.members.within(namespace) {
        if member.spec.group_ref.name == group {
            queues.members.push(namespace, &member.name_any());
        }
    }
}

fn pod(queues: &Queues, pod: &Pod) {
    let namespace = pod.namespace().unwrap_or_default();
    let role = pod.labels().get(labels::ROLE).map(String::as_str);
    if role == Some(labels::KEY_SERVER)
        && let Some(group) = pod.labels().get(labels::GROUP)
    {
        queues.groups.push(&namespace, group);
    }
    for member in memberships(pod) {
        queues.members.push(&namespace, member);
    }
}

/// Listens to a kind that users write. Changes of status are the operator's own and touch nothing.
fn users<K>(
    objects: &Objects<K>,
    stores: &Stores,
    queues: &Arc<Queues>,
    tasks: &mut JoinSet<()>,
    act: fn(&Queues, &Stores, &K),
) where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let mut known: HashMap<(Option<String>, Option<String>), u64> = HashMap::new();
    let all = stores.clone();
    listen(
        objects.touched(),
        stores,
        queues,
        tasks,
        move |queues, touch| {
            let object = touch.object();
            let name = (object.meta().namespace.clone(), object.meta().name.clone());
            let changed = match touch {
                Touch::Seen(object) => {
                    let mark = mark(&**object);
                    known.insert(name, mark) != Some(mark)
                }
                Touch::Gone(_) => {
                    known.remove(&name);
                    true
                }
            };
            if changed {
                act(queues, &all, object);
            }
        },
    );
}

/// What a user, or a finalizer, changes.
fn mark<K: Resource>(object: &K) -> u64 {
    let meta = object.meta();
    let mut hasher = DefaultHasher::new();
    meta.uid.hash(&mut hasher);
    meta.generation.hash(&mut hasher);
    meta.annotations.hash(&mut hasher);
    meta.finalizers.hash(&mut hasher);
    meta.deletion_timestamp.is_some().hash(&mut hasher);
    hasher.finish()
}

/// Listens to a kind that the operator owns.
fn owned<K>(objects: &Objects<K>, stores: &Stores, queues: &Arc<Queues>, tasks: &mut JoinSet<()>)
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    listen(objects.touched(), stores, queues, tasks, |queues, touch| {
        let meta = touch.object().meta();
        let group = meta.labels.as_ref().and_then(|all| all.get(labels::GROUP));
        if let (Some(namespace), Some(group)) = (&meta.namespace, group) {
            queues.groups.push(namespace, group);
        }
    });
}

/// Listens to what members report.
fn reports(context: &Context, queues: &Arc<Queues>, tasks: &mut JoinSet<()>) {
    let mut changes = context.reports.changes();
    let (stores, queues) = (context.stores.clone(), queues.clone());
    tasks.spawn(async move {
        loop {
            match changes.recv().await {
                Ok(key) => {
                    if let Some(object) = stores.pods.get(&key.namespace, &key.name) {
                        pod(&queues, &object);
                    }
                }
                Err(RecvError::Lagged(_)) => queues.everything(&stores),
                Err(RecvError::Closed) => return,
            }
        }
    });
}

fn listen<K>(
    mut touched: Receiver<Touch<K>>,
    stores: &Stores,
    queues: &Arc<Queues>,
    tasks: &mut JoinSet<()>,
    mut act: impl FnMut(&Queues, &Touch<K>) + Send + 'static,
) where
    K: Clone + Send + Sync + 'static,
{
    let (stores, queues) = (stores.clone(), queues.clone());
    tasks.spawn(async move {
        loop {
            match touched.recv().await {
                Ok(touch) => act(&queues, &touch),
                Err(RecvError::Lagged(_)) => queues.everything(&stores),
                Err(RecvError::Closed) => return,
            }
        }
    });
}
