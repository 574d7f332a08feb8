//! Pods that were not given a sidecar although they asked for one, as far as this replica's webhook saw it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Why, as reason and message of the condition `InjectionAllowed`.
type Refusal = (&'static str, String);

/// The last refusal for each GroupMember, until a pod of it is injected. Clones share one map.
#[derive(Clone, Debug, Default)]
pub struct Injections {
    refusals: Arc<RwLock<HashMap<(String, String), Refusal>>>,
}

impl Injections {
    /// A pod was refused: `reason` is one of `PodSecurityForbids`, `HostNetwork`, `NoTunDevice`, `WebhookDisabled`.
    pub fn refused(&self, namespace: &str, member: &str, reason: &'static str, message: String) {
        self.refusals
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((namespace.to_owned(), member.to_owned()), (reason, message));
    }

    /// A pod was given a sidecar.
    pub fn injected(&self, namespace: &str, member: &str) {
        self.refusals
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(namespace.to_owned(), member.to_owned()));
    }

    /// The last refusal.
    pub fn get(&self, namespace: &str, member: &str) -> Option<Refusal> {
        self.refusals
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&(namespace.to_owned(), member.to_owned()))
            .cloned()
    }
}
