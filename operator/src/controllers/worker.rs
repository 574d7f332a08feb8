//! What the controllers share, and what they remember of each group.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt};
use operator_core::conditions::time_from_millis;
use operator_core::key_server::inputs::Defaults;
use operator_core::labels;

use super::back_off::BackOff;
use super::queue::Queues;
use crate::apply::Applier;
use crate::context::Context;
use crate::events::Events;
use crate::key_servers::KeyServers;
use crate::observations::Observations;
use crate::secrets::Secrets;

/// What the controllers share.
pub(super) struct Worker {
    pub(super) context: Context,
    pub(super) queues: Arc<Queues>,
    pub(super) back_off: BackOff,
    pub(super) applier: Applier,
    pub(super) events: Events,
    pub(super) secrets: Secrets,
    pub(super) key_servers: KeyServers,
    pub(super) observations: Observations,
    pub(super) defaults: Defaults,
    memories: Mutex<HashMap<(String, String), Memory>>,
}

/// What is remembered of a group from one look to the next. Nothing depends on it: it saves questions.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// `metadata.uid` of the group this is about.
    pub(super) uid: String,
    /// When its Secrets were last looked at.
    pub(super) secrets_checked: Option<Instant>,
    /// Name of the inputs that this was for.
    pub(super) secrets_for: String,
    /// Since when there has been no primary.
    pub(super) leaderless_since: Option<Instant>,
    /// The policy the key servers hold: its revision as they count, and its fingerprint.
    pub(super) in_force: Option<(u64, String)>,
    /// When the members were last listed, and for how many of them at which generation.
    pub(super) members_listed: Option<(Instant, u32, u64)>,
    /// Members by the key server they registered with, as last listed.
    pub(super) by_key_server: BTreeMap<String, usize>,
    /// Version of the Secret whose signing key was last seen to be the group's, and the key's fingerprint.
    pub(super) signing_key: Option<(Option<String>, Option<String>)>,
}

impl Worker {
    pub(super) fn new(context: Context, queues: Arc<Queues>) -> Self {
        let applier = Applier::new(context.client.clone(), context.metrics.clone());
        Self {
            queues,
            back_off: BackOff::default(),
            events: context.events.clone(),
            secrets: Secrets::new(
                context.client.clone(),
                applier.clone(),
                context.authorities.clone(),
                context.metrics.clone(),
            ),
            key_servers: KeyServers::new(context.authorities.clone()),
            observations: Observations::default(),
            defaults: Defaults {
                image: context.arguments.key_server_image.clone(),
                operator_namespace: context.arguments.namespace.clone(),
            },
            memories: Mutex::default(),
            applier,
            context,
        }
    }

    /// What is remembered of a group; nothing of an earlier one of its name.
    pub(super) fn memory(&self, namespace: &str, group: &str, uid: &str) -> Memory {
        let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        let known = memories.get(&(namespace.to_owned(), group.to_owned()));
        match known {
            Some(memory) if memory.uid == uid => memory.clone(),
            _ => Memory {
                uid: uid.to_owned(),
                ..Memory::default()
            },
        }
    }

    /// Remembers.
    pub(super) fn remember(&self, namespace: &str, group: &str, memory: Memory) {
        self.memories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((namespace.to_owned(), group.to_owned()), memory);
    }

    /// Forgets a group.
    pub(super) fn forget(&self, namespace: &str, group: &str) {
        self.memories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(namespace.to_owned(), group.to_owned()));
    }
}

/// The time of day, for status.
pub(super) fn now() -> Time {
    let milliseconds = u64::try_from(runtime::clock::since_epoch().as_millis()).unwrap_or(0);
    time_from_millis(milliseconds).unwrap_or_else(|| Time(Default::default()))
}

/// Whether the operator was told to leave an object alone.
pub(super) fn paused<K: Resource>(object: &K) -> bool {
    object
        .annotations()
        .get(labels::RECONCILE)
        .map(String::as_str)
        == Some(labels::PAUSED)
}
