//! Labels and annotations on our objects and on those of users.

use std::collections::BTreeMap;

/// Label: the part a pod plays, [`KEY_SERVER`] or [`MEMBER`]. The operator watches pods that have it and no others.
pub const ROLE: &str = "getvpn.dev/role";

/// Value of [`ROLE`] of a key server.
pub const KEY_SERVER: &str = "key-server";

/// Value of [`ROLE`] of a pod with a sidecar; the injector sets it.
pub const MEMBER: &str = "member";

/// Label: the group an object belongs to.
pub const GROUP: &str = "getvpn.dev/group";

/// Prefix of the labels that name the GroupMembers of a pod, one each, with an empty value; the injector sets them.
pub const MEMBERSHIP_PREFIX: &str = "member.getvpn.dev/";

/// Value of [`ROLE`] of a pod that a GroupMember chooses and that can have no sidecar; the injector sets it, so that
/// such pods are counted.
pub const OUTSIDER: &str = "outsider";

/// Label of a namespace: with the value [`ENABLED`], pods in it get sidecars.
pub const INJECTION: &str = "getvpn.dev/injection";

/// Value of [`INJECTION`].
pub const ENABLED: &str = "enabled";

/// Label of a pod: with the value [`DISABLED`] it gets no sidecar, whatever else is said.
pub const INJECT: &str = "getvpn.dev/inject";

/// Value of [`INJECT`].
pub const DISABLED: &str = "disabled";

/// Annotation of a pod with a sidecar: what was put in, as JSON.
pub const INJECTED: &str = "getvpn.dev/injected";

/// Annotation of a pod: names of GroupMembers, separated by commas.
pub const GROUP_MEMBERS: &str = "getvpn.dev/group-members";

/// Annotation of a resource: `paused` keeps the operator from changing anything for it.
pub const RECONCILE: &str = "getvpn.dev/reconcile";

/// Value of [`RECONCILE`].
pub const PAUSED: &str = "paused";

/// Annotation of a GroupMember for a machine: [`NOBODY`] says that it is meant to be out of reach before its first
/// registration.
pub const MANAGEMENT_ACCESS: &str = "getvpn.dev/management-access";

/// Value of [`MANAGEMENT_ACCESS`].
pub const NOBODY: &str = "none";

/// Annotation of a GetVpnGroup: every new value makes one rekey.
pub const REKEY_REQUESTED: &str = "getvpn.dev/rekey-requested-at";

/// Annotation of a pod template and of its pods: names the content of the template, so that pods of an older one are
/// found.
pub const TEMPLATE_HASH: &str = "getvpn.dev/template-hash";

/// Finalizer of a GetVpnGroup: the private keys of its authorities are removed with it.
pub const FINALIZER: &str = "getvpn.dev/authority";

/// Field manager of everything the operator applies.
pub const MANAGER: &str = "getvpn-operator";

/// Field manager of status.
pub const STATUS_MANAGER: &str = "getvpn-operator/status";

/// The label of membership in a GroupMember.
#[must_use]
pub fn membership(member: &str) -> String {
    format!("{MEMBERSHIP_PREFIX}{member}")
}

/// Labels of every object of a group.
#[must_use]
pub fn of_group(group: &str) -> BTreeMap<String, String> {
    labels(&[
        ("app.kubernetes.io/managed-by", MANAGER),
        ("app.kubernetes.io/name", "getvpn"),
        (GROUP, group),
    ])
}

/// Labels of objects of the operator itself.
#[must_use]
pub fn of_operator() -> BTreeMap<String, String> {
    labels(&[
        ("app.kubernetes.io/managed-by", MANAGER),
        ("app.kubernetes.io/name", "getvpn"),
    ])
}

/// Labels that choose the key servers of a group, and nothing else.
#[must_use]
pub fn key_servers(group: &str) -> BTreeMap<String, String> {
    labels(&[(GROUP, group), (ROLE, KEY_SERVER)])
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
