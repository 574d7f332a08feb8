//! Pods with a sidecar, as far as their status tells.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use operator_api::pod::CONTAINER;

use crate::labels;

/// A pod with a sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPod {
    /// Its name.
    pub name: String,
    /// Its identity among pods.
    pub uid: String,
    /// Whether the sidecar says that it holds keys and receives.
    pub ready: bool,
    /// Image of the sidecar; none for a pod whose sidecar was taken away.
    pub sidecar_image: Option<String>,
    /// Why the sidecar does not run, in one CamelCase word.
    pub waiting: Option<String>,
}

/// Whether the pod takes part by this GroupMember.
#[must_use]
pub fn belongs(pod: &Pod, member: &str) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels.is_some_and(|all| all.contains_key(&labels::membership(member)))
}

/// The GroupMembers by which a pod takes part.
pub fn memberships(pod: &Pod) -> impl Iterator<Item = &str> {
    let labels = pod.metadata.labels.iter().flatten();
    labels.filter_map(|(key, _)| key.strip_prefix(labels::MEMBERSHIP_PREFIX))
}

impl MemberPod {
    /// The view of a pod; none for one that has ended or is about to.
    #[must_use]
    pub fn new(pod: &Pod) -> Option<Self> {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed"))
            || pod.metadata.deletion_timestamp.is_some()
        {
            return None;
        }
        let spec = pod.spec.as_ref()?;
        let containers = spec
            .init_containers
            .iter()
            .flatten()
            .chain(&spec.containers);
        let sidecar_image = containers
            .filter(|container| container.name == CONTAINER)
            .find_map(|container| container.image.clone());
        let container: Option<&ContainerStatus> = status.and_then(|status| {
            let init = status.init_container_statuses.iter().flatten();
            let main = status.container_statuses.iter().flatten();
            init.chain(main).find(|status| status.name == CONTAINER)
        });
        let waiting = container
            .and_then(|container| container.state.as_ref())
            .and_then(|state| state.waiting.as_ref())
            .and_then(|waiting| waiting.reason.clone());
        Some(Self {
            name: pod.metadata.name.clone()?,
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            ready: container.is_some_and(|container| container.ready),
            sidecar_image,
            waiting,
        })
    }
}
