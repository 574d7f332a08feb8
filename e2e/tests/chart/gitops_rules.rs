//! What keeps Argo CD, Flux and `kubectl diff` from seeing differences that nobody made.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::render::{EVERYTHING, Helm, parse, root};

#[test]
fn rendering_twice_gives_the_same_octets() {
    let Some(helm) = Helm::find() else { return };
    for chart in ["getvpn", "getvpn-crds"] {
        let values = if chart == "getvpn" { EVERYTHING } else { &[] };
        assert_eq!(helm.text(chart, values), helm.text(chart, values));
    }
}

#[test]
fn both_charts_are_free_of_findings() {
    let Some(helm) = Helm::find() else { return };
    for chart in ["charts/getvpn", "charts/getvpn-crds"] {
        let output = helm.run(&["lint", "--strict", chart]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        assert!(!said.contains("[WARNING]"), "{said}");
    }
}

#[test]
fn no_template_looks_something_up_invents_something_or_is_a_hook_unless_it_is_a_test() {
    let mut templates = Vec::new();
    for chart in ["getvpn", "getvpn-crds"] {
        collect(
            &root().join("charts").join(chart).join("templates"),
            &mut templates,
        );
    }
    assert!(templates.len() > 15);
    for (path, text) in templates {
        for forbidden in [
            "lookup",
            "rand",
            "genCA",
            "genSelf",
            "genSigned",
            "genPrivateKey",
            "uuidv4",
            "now |",
            "htpasswd",
            "bcrypt",
            "getHostByName",
        ] {
            let used = text
                .split("{{")
                .skip(1)
                .filter_map(|rest| rest.split("}}").next())
                .any(|action| action.contains(forbidden));
            assert!(!used, "{path}: {forbidden}");
        }
        let is_test = path.contains("/templates/tests/");
        assert!(is_test || !text.contains("helm.sh/hook"), "{path}: a hook");
    }
}

#[test]
fn no_object_has_an_empty_list_map_or_null_that_the_api_server_would_drop() {
    let Some(helm) = Helm::find() else { return };
    for object in helm.objects("getvpn", EVERYTHING) {
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        full(&object, &name);
    }
}

/// Every generated policy parameter reference has an empty selector, which means all and is kept.
fn full(value: &Value, path: &str) {
    let keeps_its_meaning = path.ends_with(".paramRef.selector")
        || path.contains("CustomResourceDefinition") && path.ends_with(".subresources.status");
    match value {
        Value::Null => panic!("{path} is null"),
        Value::Object(entries) => {
            let default = path.ends_with(".default");
            assert!(
                !entries.is_empty() || keeps_its_meaning || default,
                "{path} is an empty map"
            );
            for (key, entry) in entries {
                full(entry, &format!("{path}.{key}"));
            }
        }
        Value::Array(items) => {
            let default = path.ends_with(".default");
            assert!(!items.is_empty() || default, "{path} is an empty list");
            for (index, item) in items.iter().enumerate() {
                full(item, &format!("{path}[{index}]"));
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_definitions_are_those_of_the_crates_in_both_charts_and_outlive_them() {
    let Some(helm) = Helm::find() else { return };
    let mut wanted: Vec<Value> = fs::read_dir(root().join("crds/generated"))
        .expect("definitions")
        .map(|entry| fs::read_to_string(entry.expect("a file").path()).expect("text"))
        .flat_map(|text| parse(&text))
        .collect();
    wanted.sort_by_key(|one| one["metadata"]["name"].to_string());
    assert_eq!(wanted.len(), 3);
    for (chart, unkept) in [("getvpn", "crds.keep=false"), ("getvpn-crds", "keep=false")] {
        let mut found = helm.objects(chart, &[]);
        found.retain(|object| object["kind"] == "CustomResourceDefinition");
        found.sort_by_key(|one| one["metadata"]["name"].to_string());
        assert_eq!(found.len(), wanted.len());
        for (one, other) in found.iter().zip(&wanted) {
            assert_eq!(one["spec"], other["spec"], "{chart}");
            let annotations = &one["metadata"]["annotations"];
            assert_eq!(annotations["helm.sh/resource-policy"], "keep");
            assert_eq!(
                annotations["argocd.argoproj.io/sync-options"],
                "Prune=false"
            );
        }
        let mut unkept = helm.objects(chart, &[unkept]);
        unkept.retain(|object| object["kind"] == "CustomResourceDefinition");
        for object in unkept {
            assert!(object["metadata"]["annotations"].is_null(), "{object}");
        }
    }
    let without = helm.objects("getvpn", &["crds.enabled=false"]);
    assert!(
        without
            .iter()
            .all(|object| object["kind"] != "CustomResourceDefinition")
    );
}

fn collect(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else {
            let text = fs::read_to_string(&path).expect("text");
            found.push((path.display().to_string(), text));
        }
    }
}
