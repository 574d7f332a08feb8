//! Objects as users write them, for tests.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its own part"
)]

use crds::Manifests;

/// The objects of a file that is accepted.
pub fn load(text: &str) -> Manifests {
    crds::load("test.yaml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A group; `more` is added to its spec.
pub fn group(name: &str, number: i32, more: &str) -> String {
    let key_servers = if more.contains("keyServersFrom") {
        ""
    } else {
        "  keyServers: {}\n"
    };
    format!(
        "---\napiVersion: getvpn.dev/v1alpha1\nkind: GetVpnGroup\nmetadata: {{ name: {name} }}\nspec:\n  groupID: {number}\n{key_servers}{more}"
    )
}

/// A security association with rules in YAML's flow style; `more` is added to its spec.
pub fn association(name: &str, group: &str, order: i32, rules: &[&str], more: &str) -> String {
    let rules: String = rules
        .iter()
        .map(|rule| format!("    - {{ {rule} }}\n"))
        .collect();
    format!(
        "---\napiVersion: getvpn.dev/v1alpha1\nkind: SecurityAssociation\nmetadata: {{ name: {name} }}\nspec:\n  groupRef: {{ name: {group} }}\n  order: {order}\n  rules:\n{rules}{more}"
    )
}

/// A member; `more` is added to its spec.
pub fn member(name: &str, group: &str, more: &str) -> String {
    format!(
        "---\napiVersion: getvpn.dev/v1alpha1\nkind: GroupMember\nmetadata: {{ name: {name} }}\nspec:\n  groupRef: {{ name: {group} }}\n{more}"
    )
}

/// A rule that encrypts everything inside a prefix.
pub fn permit(name: &str, prefix: &str) -> String {
    format!("name: {name}, action: Permit, source: {prefix}, destination: {prefix}")
}
