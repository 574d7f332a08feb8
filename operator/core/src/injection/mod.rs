//! The sidecar that is put into a pod before the pod is stored.
//!
//! [`decide`] looks at a pod as the API server sends it, raw, and at the objects of its namespace. What it adds, it adds
//! by operations that name a place and a value, so that fields it does not know survive, and a pod that has its sidecar
//! already is left alone: the same pod always gives the same octets.

mod allowed;
mod conflict;
mod patch;
mod selection;
mod sidecar;

use std::collections::BTreeMap;

use crds::v1alpha1::{GetVpnGroup, GroupMember, SecurityAssociation};
use serde_json::Value;

use crate::{fingerprint, labels};

pub use allowed::{Allowed, Circumstances, allowed};
pub use conflict::{Conflict, conflict};
pub use patch::Addition;
pub use selection::{PodLabels, selected, takes_part};
pub use sidecar::{Defect, Template, TunDevice, defect};

/// The admission policies that catch what no webhook sees: manifests of ValidatingAdmissionPolicy objects and their
/// bindings.
pub const ADMISSION_POLICIES: &str = include_str!("admission_policies.yaml");

/// Name of the webhook configuration, and of the one webhook in it with [`crds::GROUP`] as suffix.
pub const WEBHOOK_CONFIGURATION: &str = "getvpn-injection";

/// Path at which pods are changed.
pub const WEBHOOK_PATH: &str = "/mutate-pods";

/// The objects of one namespace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Catalog<'a> {
    /// GroupMembers.
    pub members: &'a [&'a GroupMember],
    /// Groups.
    pub groups: &'a [&'a GetVpnGroup],
    /// SecurityAssociations.
    pub associations: &'a [&'a SecurityAssociation],
}

impl<'a> Catalog<'a> {
    /// The group a GroupMember names.
    #[must_use]
    pub fn group_of(&self, member: &GroupMember) -> Option<&'a GetVpnGroup> {
        self.groups
            .iter()
            .copied()
            .find(|group| group.metadata.name.as_ref() == Some(&member.spec.group_ref.name))
    }
}

/// What happens to a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It is none of ours: no GroupMember chooses it, or it opted out.
    NotSelected,
    /// It has its sidecar.
    AlreadyInjected,
    /// It gets a sidecar.
    Inject(Injection),
    /// It is let in without a sidecar, and people are told.
    Skip {
        /// Why.
        notice: Notice,
        /// What is added all the same, so that the pod is counted.
        patch: Vec<Addition>,
    },
    /// It is not let in.
    Refuse(Notice),
}

/// What is put into a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// Operations, to be applied in order.
    pub patch: Vec<Addition>,
    /// The GroupMembers the pod belongs to, by name.
    pub members: Vec<String>,
    /// What people should know although the pod is accepted; each is at most 120 characters long.
    pub warnings: Vec<String>,
}

/// Why a pod has no sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// One CamelCase word.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
}

/// Why a pod has no sidecar, in one word: label of a metric, reason of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The pod uses its node's network, whose traffic is not the pod's alone.
    HostNetwork,
    /// The kubelet made the pod from a file; nothing can be added to it.
    MirrorPod,
    /// The pod is for Windows.
    Windows,
    /// The pod's annotation names a GroupMember that there is not.
    UnknownGroupMember,
    /// A GroupMember names a group that there is not.
    GroupNotFound,
    /// The pod's GroupMembers contradict each other.
    ConflictingMembers,
    /// A container or volume of the pod has a name that the sidecar needs.
    NameTaken,
    /// The sidecar the pod came with is not what the injector makes.
    SidecarAltered,
    /// The object is no pod that can be read.
    Malformed,
}

impl Reason {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HostNetwork => "HostNetwork",
            Self::MirrorPod => "MirrorPod",
            Self::Windows => "Windows",
            Self::UnknownGroupMember => "UnknownGroupMember",
            Self::GroupNotFound => "GroupNotFound",
            Self::ConflictingMembers => "ConflictingMembers",
            Self::NameTaken => "NameTaken",
            Self::SidecarAltered => "SidecarAltered",
            Self::Malformed => "Malformed",
        }
    }
}

/// What happens to `pod`, raw as it was sent, in the namespace of `catalog`.
#[must_use]
pub fn decide(pod: &Value, catalog: &Catalog<'_>, template: &Template) -> Decision {
    let (Some(own_labels), Some(annotations)) = (
        strings(pod, "/metadata/labels"),
        strings(pod, "/metadata/annotations"),
    ) else {
        return refuse(
            Reason::Malformed,
            "`metadata.labels` and `metadata.annotations` must be maps of strings",
        );
    };
    let is_list = |place: &str| match pod.pointer(place) {
        None | Some(Value::Null | Value::Array(_)) => true,
        Some(_) => false,
    };
    if !pod.pointer("/spec").is_some_and(Value::is_object)
        || !is_list("/spec/initContainers")
        || !is_list("/spec/volumes")
    {
        return refuse(
            Reason::Malformed,
            "`spec` must be an object, `initContainers` and `volumes` lists",
        );
    }
    let names = PodLabels {
        labels: &own_labels,
        annotations: &annotations,
    };
    if !takes_part(names) {
        return Decision::NotSelected;
    }
    let members = match selected(names, catalog.members) {
        Ok(members) if members.is_empty() => return Decision::NotSelected,
        Ok(members) => members,
        Err(unknown) => return refuse(Reason::UnknownGroupMember, unknown),
    };
    if let Some(outsider) = outsider(pod, &annotations, &members) {
        return outsider;
    }
    if let Some(conflict) = conflict(&members, catalog) {
        let reason = match conflict {
            Conflict::NoGroup { .. } => Reason::GroupNotFound,
            _ => Reason::ConflictingMembers,
        };
        return refuse(reason, conflict);
    }
    if annotations.contains_key(labels::INJECTED) && sidecar::present(pod) {
        return match defect(pod) {
            None => Decision::AlreadyInjected,
            Some(defect) => refuse(Reason::SidecarAltered, defect),
        };
    }
    match patch::additions(pod, &members, catalog, template) {
        Ok(patch) => Decision::Inject(Injection {
            patch,
            members: members
                .iter()
                .map(|member| selection::name(member))
                .collect(),
            warnings: sidecar::warnings(&members),
        }),
        Err(taken) => refuse(Reason::NameTaken, taken),
    }
}

/// Pods that can have no sidecar.
fn outsider(
    pod: &Value,
    annotations: &BTreeMap<String, String>,
    members: &[&GroupMember],
) -> Option<Decision> {
    const MIRROR: &str = "kubernetes.io/config.mirror";
    let names = || {
        let names: Vec<String> = members
            .iter()
            .map(|member| selection::name(member))
            .collect();
        names.join(", ")
    };
    if annotations.contains_key(MIRROR) {
        let message = format!(
            "no sidecar: the kubelet made this pod from a file; its traffic is not encrypted (GroupMember {})",
            names()
        );
        return Some(skip(Reason::MirrorPod, message, Vec::new()));
    }
    if pod.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true) {
        let message = format!(
            "no sidecar: the pod uses its node's network; its traffic is not encrypted (GroupMember {})",
            names()
        );
        let patch = patch::mark_outsider(pod, members);
        return Some(skip(Reason::HostNetwork, message, patch));
    }
    let windows = |place: &str| pod.pointer(place).and_then(Value::as_str) == Some("windows");
    if windows("/spec/os/name") || windows("/spec/nodeSelector/kubernetes.io~1os") {
        return Some(refuse(
            Reason::Windows,
            format!(
                "there is no sidecar for Windows; label the pod `{}: {}` to run it without encryption",
                labels::INJECT,
                labels::DISABLED
            ),
        ));
    }
    None
}

fn skip(reason: Reason, message: String, patch: Vec<Addition>) -> Decision {
    Decision::Skip {
        notice: Notice { reason, message },
        patch,
    }
}

fn refuse(reason: Reason, message: impl ToString) -> Decision {
    Decision::Refuse(Notice {
        reason,
        message: message.to_string(),
    })
}

/// The map of strings at a place; empty when there is nothing, `None` when it is something else.
fn strings(pod: &Value, place: &str) -> Option<BTreeMap<String, String>> {
    match pod.pointer(place) {
        None | Some(Value::Null) => Some(BTreeMap::new()),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect(),
        Some(_) => None,
    }
}

/// The value of the annotation that says what was put in: names of the members, hash of what was added, version.
fn record(members: &[String], content: &Value, version: &str) -> String {
    // Written by hand, so that the order of the fields depends on nothing.
    let members: Vec<String> = members.iter().map(|name| format!("\"{name}\"")).collect();
    format!(
        "{{\"members\":[{}],\"template\":\"{}\",\"version\":\"{version}\"}}",
        members.join(","),
        fingerprint::of(content)
    )
}
