//! The roles are those of the operator's own table, neither more nor less.

use std::collections::BTreeSet;

use operator_core::rbac::{Scope, policy_rules};
use serde_json::{Value, json};

use crate::render::{Helm, object, of_kind};

/// Rules as a set, so that their order does not matter.
fn rules(role: &Value) -> BTreeSet<String> {
    let list = role["rules"].as_array().expect("rules");
    let set: BTreeSet<String> = list.iter().map(ToString::to_string).collect();
    assert_eq!(set.len(), list.len(), "a rule is there twice");
    set
}

fn wanted(scopes: &[Scope]) -> BTreeSet<String> {
    scopes
        .iter()
        .flat_map(|scope| policy_rules(*scope))
        .map(|rule| serde_json::to_value(rule).expect("a rule").to_string())
        .collect()
}

#[test]
fn for_all_namespaces_the_operator_has_one_cluster_role_and_a_role_in_its_own_namespace() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects("getvpn", &[]);
    let everywhere = object(&objects, "ClusterRole", "getvpn-operator");
    assert_eq!(
        rules(everywhere),
        wanted(&[Scope::Cluster, Scope::AllNamespaces, Scope::Watched])
    );
    let roles = of_kind(&objects, "Role");
    assert_eq!(roles.len(), 1);
    assert_eq!(roles[0]["metadata"]["namespace"], "getvpn-system");
    assert_eq!(rules(roles[0]), wanted(&[Scope::Own]));
}

#[test]
fn for_some_namespaces_the_operator_can_read_nothing_elsewhere() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects("getvpn", &["watchNamespaces={blue,green}"]);
    let everywhere = object(&objects, "ClusterRole", "getvpn-operator");
    assert_eq!(rules(everywhere), wanted(&[Scope::Cluster]));
    let mut namespaces = Vec::new();
    for role in of_kind(&objects, "Role") {
        let namespace = role["metadata"]["namespace"].as_str().expect("a namespace");
        namespaces.push(namespace.to_owned());
        let scope = match namespace {
            "getvpn-system" => Scope::Own,
            _ => Scope::Watched,
        };
        assert_eq!(rules(role), wanted(&[scope]), "{namespace}");
    }
    namespaces.sort();
    assert_eq!(namespaces, ["blue", "getvpn-system", "green"]);
}

#[test]
fn every_role_of_the_operator_is_bound_to_its_account_and_to_nobody_else() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects(
        "getvpn",
        &["watchNamespaces={blue}", "serviceAccount.name=other"],
    );
    let account = object(&objects, "ServiceAccount", "other");
    assert_eq!(account["automountServiceAccountToken"], false);
    let bindings: Vec<&Value> = ["RoleBinding", "ClusterRoleBinding"]
        .iter()
        .flat_map(|kind| of_kind(&objects, kind))
        .collect();
    assert_eq!(bindings.len(), 3);
    for binding in bindings {
        assert_eq!(
            binding["subjects"],
            json!([{ "kind": "ServiceAccount", "name": "other", "namespace": "getvpn-system" }])
        );
        let kind = binding["roleRef"]["kind"].as_str().expect("a kind");
        let role = binding["roleRef"]["name"].as_str().expect("a name");
        let namespace = &binding["metadata"]["namespace"];
        let exists = of_kind(&objects, kind)
            .iter()
            .any(|it| it["metadata"]["name"] == role && it["metadata"]["namespace"] == *namespace);
        assert!(exists, "{binding}");
    }
    let deployment = object(&objects, "Deployment", "getvpn-operator");
    assert_eq!(
        deployment["spec"]["template"]["spec"]["serviceAccountName"],
        "other"
    );
}

#[test]
fn people_may_change_what_they_want_but_neither_a_status_nor_a_secret() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.objects("getvpn", &[]);
    for (name, verbs, aggregates) in [
        (
            "getvpn-view",
            &["get", "list", "watch"][..],
            &["view", "edit", "admin"][..],
        ),
        (
            "getvpn-edit",
            &["create", "delete", "deletecollection", "patch", "update"],
            &["edit", "admin"],
        ),
    ] {
        let role = object(&objects, "ClusterRole", name);
        for rule in role["rules"].as_array().expect("rules") {
            assert_eq!(rule["apiGroups"], json!(["getvpn.dev"]));
            let resources = rule["resources"].to_string();
            assert!(!resources.contains("status") && !resources.contains('*'));
            let allowed: Vec<&str> = rule["verbs"]
                .as_array()
                .expect("verbs")
                .iter()
                .filter_map(Value::as_str)
                .collect();
            assert_eq!(allowed, verbs);
        }
        for target in ["view", "edit", "admin"] {
            let label = format!("rbac.authorization.k8s.io/aggregate-to-{target}");
            assert_eq!(
                !role["metadata"]["labels"][label].is_null(),
                aggregates.contains(&target),
                "{name} to {target}"
            );
        }
    }
    for object in helm.objects("getvpn", &["rbac.aggregate=false"]) {
        let labels = object["metadata"]["labels"].to_string();
        assert!(!labels.contains("aggregate-to"), "{labels}");
    }
}
