//! What a GroupMember means for a member: plain settings, presets written out.

use crds::v1alpha1::{
    FailureMode, Flow, GroupMember, LocalBypass, MemberDirection, NatTraversal, Preset,
};

/// Settings of one membership.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberSettings {
    /// The group.
    pub group: String,
    /// Interfaces whose traffic is judged.
    pub interfaces: Vec<String>,
    /// The member's own exclusions: flows that go in clear.
    pub bypass: Vec<Flow>,
    /// What happens before registration.
    pub failure_mode: FailureMode,
    /// Flows that go in clear before registration; with `FailClosed` only.
    pub allow_clear: Vec<Flow>,
    /// Well-known flows that go in clear before registration; with `FailClosed` only.
    pub presets: Vec<Preset>,
    /// Which way the group's SAs are used.
    pub direction: MemberDirection,
    /// Ordinals of the key servers in the order they are tried; empty for the group's order.
    pub key_server_order: Vec<usize>,
    /// Whether UDP port 4500 is used without being asked to.
    pub nat_traversal: NatTraversal,
    /// Octets of the largest packet of the protected network; `None` to learn it.
    pub mtu: Option<u16>,
}

/// The settings of a GroupMember.
pub fn settings(member: &GroupMember) -> MemberSettings {
    let spec = &member.spec;
    let closed = spec.failure_mode == FailureMode::FailClosed;
    let fail_closed = spec.fail_closed.clone().unwrap_or_default();
    let mut allow_clear = if closed { fail_closed.allow_clear } else { Vec::new() };
    if closed && fail_closed.local_bypass == LocalBypass::Include {
        allow_clear.extend(spec.bypass.iter().cloned());
    }
    MemberSettings {
        group: spec.group_ref.name.clone(),
        interfaces: spec.interfaces.clone(),
        bypass: spec.bypass.clone(),
        failure_mode: spec.failure_mode,
        allow_clear,
        presets: if closed { fail_closed.presets } else { Vec::new() },
        direction: spec.direction,
        key_server_order: spec
            .key_server_order
            .iter()
            .filter_map(|ordinal| usize::try_from(ordinal.0).ok())
            .collect(),
        nat_traversal: spec.nat_traversal,
        mtu: u16::try_from(spec.sidecar.mtu_bytes).ok().filter(|mtu| *mtu > 0),
    }
}
