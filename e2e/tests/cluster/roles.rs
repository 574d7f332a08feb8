//! What the operator may do, and what tenants may not.

use std::time::Duration;

use e2e::cluster::{Cluster, Namespace, SYSTEM, group};
use operator_core::rbac::{RULES, Scope};
use serde_json::{Value, json};

/// Whether a user may; `resource` is written as for kubectl: `pods/exec`, `getvpngroups.getvpn.dev/status`.
fn may(cluster: &Cluster, user: &str, namespace: &str, verb: &str, resource: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": { "user": user, "resourceAttributes": {
            "namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": subresource,
        } },
    });
    let said = cluster
        .kubectl_with(&["create", "-o", "json", "-f", "-"], &review.to_string())
        .expect("an answer");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    said["status"]["allowed"].as_bool().expect("a verdict")
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn the_operator_may_do_what_the_table_says_and_nothing_near_it() {
    let cluster = Cluster::running().expect("a cluster");
    let operator = format!("system:serviceaccount:{SYSTEM}:getvpn-operator");
    for rule in RULES {
        if !rule.names.is_empty() {
            continue;
        }
        let namespace = if rule.scope == Scope::Own {
            SYSTEM
        } else {
            "default"
        };
        for resource in rule.resources {
            for verb in rule.verbs {
                let name = if rule.group.is_empty() {
                    (*resource).to_owned()
                } else {
                    match resource.split_once('/') {
                        Some((resource, sub)) => format!("{resource}.{}/{sub}", rule.group),
                        None => format!("{resource}.{}", rule.group),
                    }
                };
                assert!(
                    may(&cluster, &operator, namespace, verb, &name),
                    "{verb} {name} in {namespace}: {}",
                    rule.reason
                );
            }
        }
    }
    for (verb, resource) in [
        ("list", "secrets"),
        ("watch", "secrets"),
        ("delete", "secrets"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("update", "getvpngroups.getvpn.dev"),
        ("delete", "getvpngroups.getvpn.dev"),
        ("create", "clusterrolebindings.rbac.authorization.k8s.io"),
        ("get", "nodes/proxy"),
        ("create", "serviceaccounts/token"),
    ] {
        assert!(
            !may(&cluster, &operator, "default", verb, resource),
            "{verb} {resource}"
        );
    }
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn a_tenant_can_neither_join_nor_read_the_group_of_another() {
    let cluster = Cluster::running().expect("a cluster");
    let blue = Namespace::new(&cluster, "e2e-blue").expect("a namespace");
    let red = Namespace::new(&cluster, "e2e-red").expect("a namespace");
    blue.apply(&group("wan", 1)).expect("applied");
    red.kubectl(&[
        "create",
        "rolebinding",
        "tenant",
        "--clusterrole=admin",
        "--user=red",
    ])
    .expect("bound");
    for (verb, resource) in [
        ("get", "getvpngroups.getvpn.dev"),
        ("get", "secrets"),
        ("create", "groupmembers.getvpn.dev"),
        ("create", "pods/portforward"),
    ] {
        assert!(
            !may(&cluster, "red", &blue.name, verb, resource),
            "{verb} {resource}"
        );
        assert!(
            may(&cluster, "red", &red.name, verb, resource),
            "{verb} {resource}"
        );
    }
    // References stay within the namespace: a GroupMember of red cannot name the group of blue.
    red.apply(
        "apiVersion: getvpn.dev/v1alpha1
kind: GroupMember
metadata: { name: intruder }
spec: { groupRef: { name: wan }, podSelector: {} }
",
    )
    .expect("applied");
    Cluster::wait_for("the refusal", Duration::from_secs(60), || {
        let object = red.json(&["groupmember", "intruder"])?;
        let conditions = object["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let said = conditions.iter().any(|one| {
            one["message"]
                .to_string()
                .contains("no GetVpnGroup `wan` in this namespace")
        });
        Ok(said.then_some(()))
    })
    .expect("it is told why");
    // Nobody but administrators of the operator's namespace can issue members.
    assert!(!may(&cluster, "red", SYSTEM, "get", "secrets"));
}
