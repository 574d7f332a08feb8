//! Which GroupMembers a pod belongs to.

use std::collections::BTreeMap;

use crds::v1alpha1::GroupMember;

use crate::labels;

/// What a pod is chosen by.
#[derive(Clone, Copy, Debug)]
pub struct PodLabels<'a> {
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: &'a BTreeMap<String, String>,
}

impl PodLabels<'_> {
    /// The GroupMembers its annotation names, each once, in order.
    #[must_use]
    pub fn named(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        let text = self.annotations.get(labels::GROUP_MEMBERS);
        for name in text.map(String::as_str).unwrap_or_default().split(',') {
            let name = name.trim();
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// Whether a pod may get a sidecar at all: it did not opt out, and is no key server.
#[must_use]
pub fn takes_part(pod: PodLabels<'_>) -> bool {
    let is = |label: &str, value: &str| pod.labels.get(label).map(String::as_str) == Some(value);
    !is(labels::INJECT, labels::DISABLED) && !is(labels::ROLE, labels::KEY_SERVER)
}

/// The GroupMembers of a pod, by name: those its annotation names, and those whose selector it fits. Empty for a pod
/// that does not take part.
///
/// # Errors
/// What to say to the user when the annotation names one that is not in `members`.
pub fn selected<'a>(
    pod: PodLabels<'_>,
    members: &[&'a GroupMember],
) -> Result<Vec<&'a GroupMember>, String> {
    if !takes_part(pod) {
        return Ok(Vec::new());
    }
    let named = pod.named();
    if let Some(unknown) = named
        .iter()
        .find(|wanted| !members.iter().any(|member| name(member) == **wanted))
    {
        return Err(format!(
            "the annotation `{}` names GroupMember `{unknown}`, which is not in this namespace; create it first, or correct the name",
            labels::GROUP_MEMBERS
        ));
    }
    let mut chosen: Vec<&GroupMember> = members
        .iter()
        .copied()
        .filter(|member| fits(pod, member) || named.contains(&name(member).as_str()))
        .collect();
    chosen.sort_by_key(|member| name(member));
    chosen.dedup_by_key(|member| name(member));
    Ok(chosen)
}

/// Whether the member's selector fits the pod. No selector fits nothing, an empty one everything, as everywhere in
/// Kubernetes.
fn fits(pod: PodLabels<'_>, member: &GroupMember) -> bool {
    member.spec.pod_selector.as_ref().is_some_and(|selector| {
        selector
            .match_labels
            .iter()
            .all(|(label, value)| pod.labels.get(label) == Some(value))
    })
}

/// The name of a GroupMember.
pub(super) fn name(member: &GroupMember) -> String {
    member.metadata.name.clone().unwrap_or_default()
}
