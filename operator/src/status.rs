//! Status of users' objects: written when it changed, by a manager of its own, and never anything else of the object.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use operator_core::labels;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::error::{Doing as _, Error};
use crate::metrics::{KindLabel, Metrics};

/// Writes `status` of `object` when it differs from `present`. Says whether it did.
///
/// # Errors
/// What the API server refuses. An object that is gone is no error.
pub async fn write<K, S>(
    client: &Client,
    metrics: &Metrics,
    object: &K,
    present: Option<&S>,
    status: &S,
    kind: &'static str,
) -> Result<bool, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
    S: Serialize + PartialEq,
{
    if present == Some(status) {
        return Ok(false);
    }
    let namespace = object.meta().namespace.clone().unwrap_or_default();
    let name = object.meta().name.clone().unwrap_or_default();
    let api: Api<K> = Api::namespaced(client.clone(), &namespace);
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        // No other object of the name: one that was deleted and made again has its own status.
        "metadata": { "name": name, "uid": object.meta().uid },
        "status": status,
    });
    let parameters = PatchParams::apply(labels::STATUS_MANAGER).force();
    match api
        .patch_status(&name, &parameters, &Patch::Apply(&patch))
        .await
    {
        Ok(_) => {
            metrics
                .status_writes
                .get_or_create(&KindLabel { kind })
                .inc();
            Ok(true)
        }
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(false),
        // An object of the same name that is another one.
        Err(kube::Error::Api(answer)) if answer.code == 409 => Ok(false),
        Err(error) => Err(error).doing(|| format!("write the status of {kind} {namespace}/{name}")),
    }
}
