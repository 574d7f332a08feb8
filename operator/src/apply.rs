//! Server-side apply of owned objects, and of nothing that is as it should be already.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use operator_core::fingerprint;
use operator_core::labels;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Doing as _, Error};
use crate::metrics::{KindLabel, Metrics};

/// Applies objects. Clones share what they know.
#[derive(Clone)]
pub struct Applier {
    client: Client,
    metrics: Metrics,
    applied: Arc<Mutex<HashMap<Key, Applied>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: String,
    namespace: String,
    name: String,
}

/// What was applied last, and what the API server made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Applied {
    fingerprint: String,
    version: Option<String>,
}

impl Applier {
    /// An applier that has applied nothing yet.
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self {
            client,
            metrics,
            applied: Arc::default(),
        }
    }

    /// Applies `object` unless it was applied in this form before and `present`, what the watch shows, has not changed
    /// since. Says whether it did.
    ///
    /// # Errors
    /// What the API server refuses.
    pub async fn ensure<K>(&self, object: &K, present: Option<&ObjectMeta>) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let meta = object.meta();
        let key = Key {
            kind: K::kind(&()).into_owned(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        };
        let wanted = fingerprint::of(object);
        if let Some(present) = present {
            let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
            let as_it_was = applied.get(&key).is_some_and(|applied| {
                applied.fingerprint == wanted && applied.version == version(present)
            });
            if as_it_was {
                return Ok(false);
            }
        }
        let result = self.force(object, &key).await?;
        let applied = Applied {
            fingerprint: wanted,
            version: version(result.meta()),
        };
        self.applied
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, applied);
        Ok(true)
    }

    async fn force<K>(&self, object: &K, key: &Key) -> Result<K, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &key.namespace);
        // What we own is ours: other managers' changes to our fields are undone.
        let parameters = PatchParams::apply(labels::MANAGER).force();
        let result = api
            .patch(&key.name, &parameters, &Patch::Apply(object))
            .await
            .doing(|| format!("apply {} {}/{}", key.kind, key.namespace, key.name))?;
        let kind = kind_label(&key.kind);
        self.metrics
            .applies
            .get_or_create(&KindLabel { kind })
            .inc();
        tracing::debug!(
            kind,
            namespace = key.namespace,
            name = key.name,
            version = result.meta().resource_version,
            "applied"
        );
        Ok(result)
    }
}

/// What changes when somebody changes the object: its generation, or for kinds without one its version.
fn version(meta: &ObjectMeta) -> Option<String> {
    match meta.generation {
        Some(generation) => Some(format!("generation {generation}")),
        None => meta.resource_version.clone(),
    }
}

/// The kinds that are applied, as labels.
fn kind_label(kind: &str) -> &'static str {
    const KINDS: [&str; 8] = [
        "ConfigMap",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "Secret",
        "Service",
        "ServiceAccount",
        "StatefulSet",
    ];
    KINDS
        .into_iter()
        .find(|known| *known == kind)
        .unwrap_or("Other")
}
