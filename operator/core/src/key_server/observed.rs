//! What is there: the StatefulSet, its pods, and what the key servers say about themselves.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use keyserver_api::status::{ServerRole, ServerStatus};

use crate::{labels, names};

/// Everything that was observed about a set of key servers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The StatefulSet.
    pub set: Option<SetView>,
    /// Its pods, by ordinal.
    pub pods: BTreeMap<usize, PodView>,
    /// What those said that answered, by ordinal.
    pub servers: BTreeMap<usize, ServerStatus>,
}

/// The StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetView {
    /// Replicas it was told to have.
    pub replicas: usize,
    /// Name of its pod template.
    pub template_hash: Option<String>,
    /// Whether its controller has seen its present form.
    pub settled: bool,
    /// Size of the volumes it makes.
    pub storage_size: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// Its address.
    pub address: Option<IpAddr>,
    /// Name of the template it was made from.
    pub template_hash: Option<String>,
    /// How far it is.
    pub state: PodState,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What keeps it from running.
    pub problem: Option<Problem>,
}

/// How far a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PodState {
    /// Its container does not run.
    NotRunning,
    /// Its container runs and is not ready.
    Running,
    /// It serves members.
    Ready,
}

/// What keeps a pod from running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No node takes it.
    Unschedulable(String),
    /// Its volume is not there.
    WaitingForStorage(String),
    /// Its image or its process.
    Container(String),
}

/// How the key servers work together, as their primary sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cooperation {
    /// The primary, if it is one of the set.
    pub primary: Option<usize>,
    /// Its name.
    pub primary_name: String,
    /// Term of its office.
    pub term: u64,
    /// All that belong to the cooperation.
    pub members: Vec<Cooperating>,
}

/// A key server that belongs to the cooperation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cooperating {
    /// Its ordinal; none for a name that the set does not have.
    pub ordinal: Option<usize>,
    /// Its name.
    pub name: String,
    /// Whether it votes.
    pub voter: bool,
    /// Whether it answers the primary.
    pub reachable: bool,
    /// Log entries it is behind.
    pub lag: u64,
}

impl Observed {
    /// What was observed about the group's key servers.
    #[must_use]
    pub fn new<'a>(
        group: &str,
        set: Option<&StatefulSet>,
        pods: impl IntoIterator<Item = &'a Pod>,
        servers: BTreeMap<usize, ServerStatus>,
    ) -> Self {
        let pods = pods.into_iter().filter_map(|pod| {
            let name = pod.metadata.name.as_deref()?;
            Some((names::ordinal(group, name)?, PodView::new(pod)))
        });
        Self {
            set: set.map(SetView::new),
            pods: pods.collect(),
            servers,
        }
    }

    /// The answer of the primary: of those that say they are, the one of the latest term.
    #[must_use]
    pub fn primary(&self) -> Option<(usize, &ServerStatus)> {
        let primaries = self
            .servers
            .iter()
            .map(|(ordinal, status)| (*ordinal, status));
        primaries
            .filter(|(_, status)| status.role == ServerRole::Primary)
            .max_by_key(|(_, status)| status.term)
    }

    /// How the key servers work together; none while there is no primary that answers.
    #[must_use]
    pub fn cooperation(&self, group: &str) -> Option<Cooperation> {
        let (_, status) = self.primary()?;
        let members = status.peers.iter().map(|peer| Cooperating {
            ordinal: names::ordinal(group, &peer.name),
            name: peer.name.clone(),
            voter: peer.voter,
            reachable: peer.primary || peer.name == status.name || peer.reachable == Some(true),
            lag: peer.lag.unwrap_or(0),
        });
        Some(Cooperation {
            primary: names::ordinal(group, &status.name),
            primary_name: status.name.clone(),
            term: status.term,
            members: members.collect(),
        })
    }

    /// Whether any key server that answered belongs to a cooperation.
    #[must_use]
    pub fn any_formed(&self) -> bool {
        self.servers.values().any(|status| !status.peers.is_empty())
    }
}

impl Cooperation {
    /// Those who vote.
    pub fn voters(&self) -> impl Iterator<Item = &Cooperating> {
        self.members.iter().filter(|member| member.voter)
    }

    /// Voters that answer, `without` one of the set.
    #[must_use]
    pub fn reachable_voters(&self, without: Option<usize>) -> usize {
        self.voters()
            .filter(|voter| voter.reachable && (without.is_none() || voter.ordinal != without))
            .count()
    }

    /// Whether a key server of the set belongs to the cooperation.
    #[must_use]
    pub fn contains(&self, ordinal: usize) -> bool {
        self.members
            .iter()
            .any(|member| member.ordinal == Some(ordinal))
    }
}

impl SetView {
    fn new(set: &StatefulSet) -> Self {
        let spec = set.spec.as_ref();
        let claim = spec
            .and_then(|spec| spec.volume_claim_templates.as_ref())
            .and_then(|claims| claims.first())
            .and_then(|claim| claim.spec.as_ref())
            .and_then(|spec| spec.resources.as_ref())
            .and_then(|resources| resources.requests.as_ref());
        Self {
            replicas: spec
                .and_then(|spec| spec.replicas)
                .and_then(|replicas| usize::try_from(replicas).ok())
                .unwrap_or(1),
            template_hash: spec
                .and_then(|spec| spec.template.metadata.as_ref())
                .and_then(|metadata| metadata.annotations.as_ref())
                .and_then(|annotations| annotations.get(labels::TEMPLATE_HASH))
                .cloned(),
            settled: set.metadata.generation.is_some()
                && set
                    .status
                    .as_ref()
                    .and_then(|status| status.observed_generation)
                    == set.metadata.generation,
            storage_size: claim
                .and_then(|requests| requests.get("storage"))
                .map(|quantity| quantity.0.clone()),
            deleting: set.metadata.deletion_timestamp.is_some(),
        }
    }
}

impl PodView {
    /// The view of a pod.
    #[must_use]
    pub fn new(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let state = if condition(&status, "Ready").is_some_and(|(status, _)| status == "True") {
            PodState::Ready
        } else if container(&status).is_some_and(|container| {
            container
                .state
                .as_ref()
                .is_some_and(|state| state.running.is_some())
        }) {
            PodState::Running
        } else {
            PodState::NotRunning
        };
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            address: status
                .pod_ip
                .as_ref()
                .and_then(|address| address.parse().ok()),
            template_hash: pod
                .metadata
                .annotations
                .as_ref()
                .and_then(|annotations| annotations.get(labels::TEMPLATE_HASH))
                .cloned(),
            state,
            deleting: pod.metadata.deletion_timestamp.is_some(),
            problem: (state == PodState::NotRunning)
                .then(|| problem(&status))
                .flatten(),
        }
    }
}

fn container(status: &PodStatus) -> Option<&ContainerStatus> {
    status.container_statuses.as_ref()?.first()
}

/// Status and message of a pod's condition.
fn condition(status: &PodStatus, kind: &str) -> Option<(String, String)> {
    let conditions = status.conditions.as_ref()?.iter();
    conditions
        .filter(|condition| condition.type_ == kind)
        .map(|condition| {
            let message = condition.message.clone().unwrap_or_default();
            (condition.status.clone(), message)
        })
        .next()
}

fn problem(status: &PodStatus) -> Option<Problem> {
    if let Some((scheduled, message)) = condition(status, "PodScheduled")
        && scheduled == "False"
    {
        // The scheduler says both in one condition; what is missing is in its words.
        let words = message.to_ascii_lowercase();
        let storage = ["persistentvolume", "volume binding", "storageclass"];
        return Some(if storage.iter().any(|word| words.contains(word)) {
            Problem::WaitingForStorage(message)
        } else {
            Problem::Unschedulable(message)
        });
    }
    let waiting = container(status)?.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.clone().unwrap_or_default();
    if ["ContainerCreating", "PodInitializing"].contains(&reason.as_str()) {
        return None;
    }
    Some(Problem::Container(match &waiting.message {
        Some(message) => format!("{reason}: {message}"),
        None => reason,
    }))
}
