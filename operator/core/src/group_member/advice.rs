//! What a GroupMember may say and probably does not mean.

use crds::v1alpha1::{FailureMode, Flow, GroupMember, LocalBypass, PortRange, Protocol};

use crate::labels;

/// Ports by which machines are managed: SSH and HTTPS.
const MANAGEMENT_PORTS: [u16; 2] = [22, 443];

/// Advice, one sentence each.
#[must_use]
pub fn advice(member: &GroupMember) -> Vec<String> {
    let mut words = lockout(member);
    words.extend(unfreed_bypass(member));
    words
}

/// A machine that fails closed, and that nobody can reach to set it right before its first registration.
fn lockout(member: &GroupMember) -> Vec<String> {
    let spec = &member.spec;
    let annotations = member.metadata.annotations.as_ref();
    let meant = annotations
        .and_then(|annotations| annotations.get(labels::MANAGEMENT_ACCESS))
        .is_some_and(|access| access == labels::NOBODY);
    if spec.pod_selector.is_some() || spec.failure_mode != FailureMode::FailClosed || meant {
        return Vec::new();
    }
    let closed = spec.fail_closed.as_ref();
    let freed = closed.map(|closed| closed.allow_clear.as_slice());
    // A group's bypass is free before the registration as well, unless that was switched off.
    let bypass = match closed.map(|closed| closed.local_bypass) {
        Some(LocalBypass::Exclude) => &[],
        Some(LocalBypass::Include) | None => spec.bypass.as_slice(),
    };
    let mut flows = freed.unwrap_or_default().iter().chain(bypass);
    if flows.any(manages) {
        return Vec::new();
    }
    vec![format!(
        "nothing in `failClosed.allowClear` lets anybody reach this machine before its first registration; name a flow for SSH or HTTPS (TCP from port 22 or 443), or a fault in its configuration locks you out; if that is meant, annotate it with `{}: {}`",
        labels::MANAGEMENT_ACCESS,
        labels::NOBODY
    )]
}

/// Whether a flow, as the machine sends it, carries answers of its SSH or HTTPS server.
fn manages(flow: &Flow) -> bool {
    let covers = |range: &PortRange| {
        let (first, last) = range.0.split_once('-').unwrap_or((&range.0, &range.0));
        let (first, last) = (first.trim().parse::<u16>(), last.trim().parse::<u16>());
        let range = first.ok().zip(last.ok());
        range.is_some_and(|(first, last)| {
            MANAGEMENT_PORTS
                .iter()
                .any(|port| (first..=last).contains(port))
        })
    };
    matches!(flow.protocol, Protocol::Any | Protocol::Tcp)
        && (flow.source_ports.is_empty() || flow.source_ports.iter().any(covers))
}

/// Flows that stay in clear, but not before the first registration.
fn unfreed_bypass(member: &GroupMember) -> Vec<String> {
    let spec = &member.spec;
    let Some(closed) = &spec.fail_closed else {
        return Vec::new();
    };
    if spec.failure_mode != FailureMode::FailClosed || closed.local_bypass == LocalBypass::Include {
        return Vec::new();
    }
    let same = |one: &Flow, other: &Flow| {
        let unnamed = Flow {
            name: other.name.clone(),
            ..one.clone()
        };
        unnamed == *other
    };
    let repeated = |flow: &&Flow| !closed.allow_clear.iter().any(|freed| same(flow, freed));
    spec.bypass
        .iter()
        .filter(repeated)
        .map(|flow| {
            format!(
                "flow `{}` of `bypass` is dropped until the first registration, as `failClosed.allowClear` does not hold it",
                flow.name
            )
        })
        .collect()
}
