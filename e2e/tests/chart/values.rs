//! Wrong values are refused before anything is applied, and the chart can be part of another.

use std::fs;

use serde_json::Value;

use crate::render::{Helm, root};

#[test]
fn a_wrong_value_is_refused_by_its_path() {
    let Some(helm) = Helm::find() else { return };
    for (value, named) in [
        ("replicas=3", "'replicas' not allowed"),
        ("operator.replcas=3", "at '/operator'"),
        ("operator.replicas=two", "at '/operator/replicas'"),
        ("operator.replicas=99", "at '/operator/replicas'"),
        (
            "operator.image.digest=latest",
            "at '/operator/image/digest'",
        ),
        (
            "operator.image.pullPolicy=Sometimes",
            "at '/operator/image/pullPolicy'",
        ),
        ("operator.logFormat=xml", "at '/operator/logFormat'"),
        (
            "operator.maxConcurrentReconciles=0",
            "at '/operator/maxConcurrentReconciles'",
        ),
        (
            "operator.leaseDurationSeconds=1",
            "at '/operator/leaseDurationSeconds'",
        ),
        (
            "operator.podDisruptionBudget.maxUnavailable=most",
            "at '/operator/podDisruptionBudget/maxUnavailable'",
        ),
        (
            "operator.resources.request.cpu=1",
            "at '/operator/resources'",
        ),
        ("injection.mode=Magic", "at '/injection/mode'"),
        ("injection.tunDevice=none", "at '/injection/tunDevice'"),
        (
            "injection.failurePolicy=Retry",
            "at '/injection/failurePolicy'",
        ),
        (
            "injection.timeoutSeconds=60",
            "at '/injection/timeoutSeconds'",
        ),
        ("ports.webhook=443", "at '/ports/webhook'"),
        ("watchNamespaces={UPPER}", "at '/watchNamespaces/0'"),
        ("watchNamespaces={a,a}", "at '/watchNamespaces'"),
        (
            "metrics.podMonitor.interval=often",
            "at '/metrics/podMonitor/interval'",
        ),
        (
            "metrics.prometheusRule.runbookBaseURL=here",
            "at '/metrics/prometheusRule/runbookBaseURL'",
        ),
        ("commonLabels.a.b=c", "at '/commonLabels/a'"),
        ("crds.keep=maybe", "at '/crds/keep'"),
    ] {
        let said = helm.refusal("getvpn", &[value]);
        assert!(said.contains(named), "{value}: {said}");
    }
    let said = helm.refusal("getvpn-crds", &["crds.keep=true"]);
    assert!(said.contains("'crds' not allowed"), "{said}");
}

#[test]
fn what_a_parent_chart_puts_in_is_accepted() {
    let Some(helm) = Helm::find() else { return };
    for chart in ["getvpn", "getvpn-crds"] {
        let values = ["global.something.of.others=1", "enabled=true"];
        assert!(!helm.objects(chart, &values).is_empty());
    }
}

#[test]
fn the_schema_knows_exactly_the_values_that_there_are() {
    for chart in ["getvpn", "getvpn-crds"] {
        let directory = root().join("charts").join(chart);
        let text = fs::read_to_string(directory.join("values.yaml")).expect("values");
        let values: Value = serde_saphyr::from_str(&text).expect("YAML");
        let text = fs::read_to_string(directory.join("values.schema.json")).expect("a schema");
        let schema: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(schema["additionalProperties"], false);
        compare(&schema, &schema, &values, chart);
    }
}

/// Every property of the schema has a default value, and every value of a map of the schema a property.
fn compare(root: &Value, schema: &Value, value: &Value, path: &str) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').expect("a local reference");
            root.pointer(pointer).expect("a definition")
        }
        None => schema,
    };
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    let given = value.as_object().expect("a map");
    // What may be asked of a node is a map whose entries the user chooses.
    if path.ends_with(".resources") || path.ends_with(".global") {
        return;
    }
    let (mut known, mut there): (Vec<_>, Vec<_>) =
        (properties.keys().collect(), given.keys().collect());
    known.sort();
    there.sort();
    assert_eq!(known, there, "{path}");
    for (name, property) in properties {
        compare(root, property, &given[name], &format!("{path}.{name}"));
    }
}
