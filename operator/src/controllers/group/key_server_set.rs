//! The StatefulSet of a group's key servers and everything around it, one step at a time.

use std::time::Duration;

use crds::v1alpha1::GetVpnGroup;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::{Api, ResourceExt};
use operator_core::fingerprint;
use operator_core::key_server::build::{self, objects, with_replicas};
use operator_core::key_server::inputs::Inputs;
use operator_core::key_server::observed::Observed;
use operator_core::key_server::rollout::{Goal, Plan, Step, plan};
use operator_core::key_server::storage::{self, StorageStep};
use operator_core::names;
use serde_json::json;

use crate::controllers::worker::{Memory, Worker};
use crate::error::{Doing as _, Error};
use crate::fetch;
use crate::key_servers::Dialled;
use crate::metrics::StepLabel;

/// How often Secrets are looked at when nothing about them changed.
const SECRETS: Duration = Duration::from_secs(300);
/// Without a primary for so long, key servers do not find one by themselves.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is known of a set of key servers.
#[derive(Default)]
pub(super) struct SetState {
    /// What is there.
    pub(super) observed: Observed,
    /// How to ask it; none while it has no authorities.
    pub(super) dialled: Option<Dialled>,
    /// What is done about it; none for another group's.
    pub(super) step: Option<Step>,
    /// Claims whose volumes still grow.
    pub(super) growing: Vec<String>,
}

/// Why there is no state.
pub(super) enum Fault {
    /// The group asks for what there cannot be.
    Rejected(operator_core::group::Rejection),
    /// Something did not work.
    Error(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Looks at the key servers of another group.
pub(super) async fn look(worker: &Worker, namespace: &str, host: &str) -> Result<SetState, Fault> {
    let mut observed = fetch::observed(&worker.context.stores, namespace, host);
    let dialled = worker.key_servers.of(namespace, host).await?;
    observed.servers = dialled.statuses(&observed.pods).await;
    Ok(SetState {
        observed,
        dialled: Some(dialled),
        ..SetState::default()
    })
}

/// Brings the key servers of `host`, which `guests` share, a step nearer to what is asked for.
pub(super) async fn bring(
    worker: &Worker,
    host: &GetVpnGroup,
    guests: &[&GetVpnGroup],
    paused: bool,
    memory: &mut Memory,
) -> Result<SetState, Fault> {
    let inputs = Inputs::new(host, guests, &worker.defaults).map_err(Fault::Rejected)?;
    let (namespace, group) = (inputs.namespace.clone(), inputs.group.clone());
    if paused {
        return look(worker, &namespace, &group).await;
    }
    secrets(worker, &inputs, memory).await?;
    let objects = objects(&inputs);
    around(worker, &inputs, &objects).await?;
    let mut state = look(worker, &namespace, &group).await?;
    let goal = goal(host, &inputs, &state.observed, memory);
    let mut next = plan(&group, &goal, &state.observed);
    if changes(&next.step) {
        // Nothing that takes a key server away is decided on an old view.
        let mut fresh = fetch::observed_now(&worker.context.client, &namespace, &group).await?;
        if let Some(dialled) = &state.dialled {
            fresh.servers = dialled.statuses(&fresh.pods).await;
        }
        state.observed = fresh;
        next = plan(&group, &goal, &state.observed);
    }
    state.growing = volumes(worker, &inputs, &state.observed).await?;
    stateful_set(worker, &inputs, objects.stateful_set, &next).await?;
    take(worker, &inputs, &state, &next.step).await?;
    state.step = Some(next.step);
    Ok(state)
}

async fn secrets(worker: &Worker, inputs: &Inputs, memory: &mut Memory) -> Result<(), Error> {
    let present = runtime::clock::now();
    let wanted = fingerprint::of(&format!("{inputs:?}"));
    let fresh = memory
        .secrets_checked
        .is_some_and(|checked| present.duration_since(checked) < SECRETS);
    if fresh && memory.secrets_for == wanted {
        return Ok(());
    }
    worker.secrets.ensure(inputs).await?;
    memory.secrets_checked = Some(present);
    memory.secrets_for = wanted;
    Ok(())
}

/// Everything but the StatefulSet.
async fn around(worker: &Worker, inputs: &Inputs, objects: &build::Objects) -> Result<(), Error> {
    let owned = &worker.context.stores.owned;
    let (namespace, applier) = (&inputs.namespace, &worker.applier);
    macro_rules! ensure {
        ($object:expr, $store:expr) => {{
            let present = $store.get(namespace, &$object.name_any());
            applier
                .ensure(&$object, present.as_deref().map(|object| &object.metadata))
                .await?;
        }};
    }
    ensure!(objects.service_account, owned.service_accounts);
    ensure!(objects.config_map, owned.config_maps);
    ensure!(objects.peers, owned.services);
    ensure!(objects.register, owned.services);
    ensure!(objects.disruption_budget, owned.disruption_budgets);
    ensure!(objects.network_policy, owned.network_policies);
    Ok(())
}

fn goal(host: &GetVpnGroup, inputs: &Inputs, observed: &Observed, memory: &mut Memory) -> Goal {
    let known = host
        .status
        .as_ref()
        .and_then(|status| status.key_servers.as_ref());
    let present = runtime::clock::now();
    if observed.primary().is_some() {
        memory.leaderless_since = None;
    } else {
        memory.leaderless_since.get_or_insert(present);
    }
    Goal {
        replicas: inputs.replicas,
        template_hash: build::template_hash(inputs),
        formed: known.is_some_and(|known| known.term.is_some()),
        leaderless: memory
            .leaderless_since
            .is_some_and(|since| present.duration_since(since) >= PATIENCE),
    }
}

/// Whether a step takes something away.
const fn changes(step: &Step) -> bool {
    matches!(
        step,
        Step::HandOver(_) | Step::Remove(_) | Step::Replace { .. }
    )
}

/// Lets volumes grow; the claims that still do.
async fn volumes(
    worker: &Worker,
    inputs: &Inputs,
    observed: &Observed,
) -> Result<Vec<String>, Error> {
    let Some(set) = &observed.set else {
        return Ok(Vec::new());
    };
    let size = &inputs.key_servers.storage.size;
    if set.storage_size.as_deref() == Some(size.as_str()) {
        return Ok(Vec::new());
    }
    let (client, namespace) = (&worker.context.client, &inputs.namespace);
    let claims = fetch::claims(client, namespace, &inputs.group).await?;
    match storage::step(size, &claims, Some(set)) {
        StorageStep::Rest => {}
        StorageStep::Grow(names) => {
            let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
            let patch = json!({"spec": {"resources": {"requests": {"storage": size}}}});
            for name in names {
                api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
                    .await
                    .doing(|| format!("let volume claim {namespace}/{name} grow to {size}"))?;
                tracing::info!(namespace, claim = name, size, "a volume grows");
            }
        }
        StorageStep::Recreate => {
            let name = names::key_servers(&inputs.group);
            let api: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
            let parameters = DeleteParams {
                propagation_policy: Some(PropagationPolicy::Orphan),
                ..DeleteParams::default()
            };
            match api.delete(&name, &parameters).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    return Err(error)
                        .doing(|| format!("make StatefulSet {namespace}/{name} again"));
                }
            }
        }
    }
    Ok(storage::growing(size, &claims).map(str::to_owned).collect())
}

async fn stateful_set(
    worker: &Worker,
    inputs: &Inputs,
    wanted: StatefulSet,
    next: &Plan,
) -> Result<(), Error> {
    let wanted = with_replicas(wanted, next.replicas);
    let store = &worker.context.stores.sets;
    let present = store.get(&inputs.namespace, &wanted.name_any());
    if present
        .as_ref()
        .is_some_and(|set| set.metadata.deletion_timestamp.is_some())
    {
        // It is made again once it is gone.
        return Ok(());
    }
    worker
        .applier
        .ensure(&wanted, present.as_deref().map(|set| &set.metadata))
        .await?;
    Ok(())
}

/// Takes the step.
async fn take(
    worker: &Worker,
    inputs: &Inputs,
    state: &SetState,
    step: &Step,
) -> Result<(), Error> {
    let label = match step {
        Step::Rest | Step::Wait(_) => return Ok(()),
        Step::HandOver(_) => "HandOver",
        Step::Remove(_) => "Remove",
        Step::Replace { .. } => "Replace",
    };
    let (namespace, group) = (&inputs.namespace, &inputs.group);
    tracing::info!(namespace, group, step = ?step, "a step with key servers");
    match step {
        Step::Rest | Step::Wait(_) => {}
        Step::HandOver(_) | Step::Remove(_) => {
            let Some(client) = primary(state) else {
                return Ok(());
            };
            let (what, result) = if let Step::Remove(ordinal) = step {
                let name = names::pod(group, *ordinal);
                let result = client.remove_peer(&name).await;
                (format!("take key server {name} out"), result)
            } else {
                let result = client.step_down().await;
                ("hand leadership on".to_owned(), result)
            };
            result.map_err(|source| Error::KeyServer { what, source })?;
        }
        Step::Replace { ordinal, uid } => {
            let name = names::pod(group, *ordinal);
            let api: Api<Pod> = Api::namespaced(worker.context.client.clone(), namespace);
            let parameters = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: Some(uid.clone()),
                    ..Preconditions::default()
                }),
                ..DeleteParams::default()
            };
            match api.delete(&name, &parameters).await {
                Ok(_) => {}
                // It went by itself.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => {
                    return Err(error).doing(|| format!("replace pod {namespace}/{name}"));
                }
            }
        }
    }
    worker
        .context
        .metrics
        .steps
        .get_or_create(&StepLabel { step: label })
        .inc();
    Ok(())
}

/// A client for changes at the primary.
pub(super) fn primary(state: &SetState) -> Option<keyserver_api::client::Client> {
    let (ordinal, _) = state.observed.primary()?;
    let pod = state.observed.pods.get(&ordinal)?;
    state.dialled.as_ref()?.client(ordinal, pod)
}
