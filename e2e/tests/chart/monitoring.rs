//! Alerts and dashboard ask only for figures that our programs publish, and every alert has its page.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use e2e_exposition as exposition;
use serde_json::Value;

use crate::render::{EVERYTHING, Helm, object, root};

const MONITORING: &str = "charts/getvpn/monitoring";

fn alerts() -> Value {
    let text = fs::read_to_string(root().join(MONITORING).join("alerts.yaml")).expect("alerts");
    serde_saphyr::from_str(&text).expect("YAML")
}

/// All rules of all groups.
fn rules(alerts: &Value) -> Vec<&Value> {
    alerts["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules"))
        .collect()
}

/// Names of series that begin as ours do.
fn series(expression: &str) -> BTreeSet<String> {
    expression
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("getvpn_"))
        .map(ToOwned::to_owned)
        .collect()
}

/// What can be asked for.
fn published() -> BTreeSet<String> {
    let all = [
        exposition::key_server(),
        exposition::member(),
        exposition::operator(),
    ];
    all.into_iter()
        .flat_map(|metrics| metrics.expect("figures"))
        .flat_map(|(_, metric)| metric.series)
        .collect()
}

#[test]
fn alerts_ask_for_series_that_exist() {
    let published = published();
    let alerts = alerts();
    let mut asked = BTreeSet::new();
    for rule in rules(&alerts) {
        asked.extend(series(rule["expr"].as_str().expect("an expression")));
    }
    let unknown: Vec<&String> = asked.difference(&published).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(asked.len() > 10, "{asked:?}");
}

#[test]
fn the_dashboard_asks_for_series_that_exist_and_its_panels_do_not_overlap() {
    let published = published();
    let text = fs::read_to_string(root().join(MONITORING).join("dashboard.json")).expect("JSON");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut asked = BTreeSet::new();
    let mut cells = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for panel in panels {
        assert!(numbers.insert(panel["id"].as_i64()), "{panel}");
        let at = |field: &str| panel["gridPos"][field].as_i64().expect("a number");
        assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "{} overlaps", panel["title"]);
            }
        }
        for target in panel["targets"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
        {
            let expression = target["expr"].as_str().expect("an expression");
            let found = series(expression);
            assert!(!found.is_empty(), "{expression}");
            asked.extend(found);
        }
    }
    let unknown: Vec<&String> = asked.difference(&published).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(asked.len() > 20, "{asked:?}");
}

#[test]
fn every_alert_says_what_whom_and_what_to_do() {
    let alerts = alerts();
    let index = fs::read_to_string(root().join("docs/how-to/runbooks/index.md")).expect("index");
    let mut pages = BTreeSet::new();
    for rule in rules(&alerts) {
        let name = rule["alert"].as_str().expect("a name");
        let severity = rule["labels"]["severity"].as_str().expect("a severity");
        assert!(
            ["info", "warning", "critical"].contains(&severity),
            "{name}"
        );
        for field in ["summary", "description"] {
            assert!(rule["annotations"][field].is_string(), "{name}: {field}");
        }
        let url = rule["annotations"]["runbook_url"].as_str().expect("a page");
        let page = url.strip_prefix("RUNBOOKS/").expect("below the base");
        let text = fs::read_to_string(root().join("docs/how-to/runbooks").join(page))
            .unwrap_or_else(|error| panic!("{name}: {page}: {error}"));
        assert!(text.contains(name), "{page} does not name {name}");
        assert!(
            index.contains(&format!("({page})")),
            "{page} is not in the index"
        );
        pages.insert(page.to_owned());
    }
    let known = fs::read_dir(root().join("docs/how-to/runbooks")).expect("pages");
    for entry in known {
        let file = entry.expect("a page").file_name().display().to_string();
        assert!(
            pages.contains(&file) || file == "index.md",
            "{file} is of no alert"
        );
    }
}

#[test]
fn the_rules_in_the_cluster_are_those_of_the_file_with_their_runbooks() {
    let Some(helm) = Helm::find() else { return };
    for (base, expected) in [
        ("", "docs/how-to/runbooks"),
        (
            "https://docs.example.com/runbooks/",
            "https://docs.example.com/runbooks",
        ),
    ] {
        let value = format!("metrics.prometheusRule.runbookBaseURL={base}");
        let mut values = EVERYTHING.to_vec();
        values.push(&value);
        let objects = helm.objects("getvpn", &values);
        let rendered = &object(&objects, "PrometheusRule", "getvpn")["spec"];
        let text = alerts().to_string().replace("RUNBOOKS", expected);
        let wanted: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(*rendered, wanted);
    }
}

#[test]
fn monitors_and_config_maps_carry_what_finds_them() {
    let Some(helm) = Helm::find() else { return };
    let mut values = EVERYTHING.to_vec();
    values.extend([
        "metrics.podMonitor.labels.release=mine",
        "watchNamespaces={blue}",
    ]);
    let objects = helm.objects("getvpn", &values);
    for (name, role) in [
        ("getvpn-key-servers", "key-server"),
        ("getvpn-members", "member"),
    ] {
        let monitor = object(&objects, "PodMonitor", name);
        assert_eq!(monitor["metadata"]["labels"]["release"], "mine");
        assert_eq!(
            monitor["spec"]["selector"]["matchLabels"]["getvpn.dev/role"],
            role
        );
        assert_eq!(
            monitor["spec"]["namespaceSelector"]["matchNames"][0],
            "blue"
        );
        let job = &monitor["spec"]["podMetricsEndpoints"][0]["relabelings"][0];
        assert_eq!(job["replacement"], name);
    }
    let dashboard = object(&objects, "ConfigMap", "getvpn-dashboard");
    assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
    let text = dashboard["data"]["getvpn.json"].as_str().expect("JSON");
    serde_json::from_str::<Value>(text).expect("JSON");
    let states = object(&objects, "ConfigMap", "getvpn-kube-state-metrics");
    let text = states["data"]["getvpn.yaml"].as_str().expect("YAML");
    let states: Value = serde_saphyr::from_str(text).expect("YAML");
    assert_eq!(states["kind"], "CustomResourceStateMetrics");
}

#[test]
fn kube_state_metrics_reads_fields_that_the_definitions_have() {
    let text = fs::read_to_string(root().join(MONITORING).join("kube-state-metrics.yaml"));
    let states: Value = serde_saphyr::from_str(&text.expect("a file")).expect("YAML");
    for resource in states["spec"]["resources"].as_array().expect("resources") {
        let kind = resource["groupVersionKind"]["kind"]
            .as_str()
            .expect("a kind");
        let schema = crds::Kind::ALL
            .into_iter()
            .find(|known| known.to_string() == kind)
            .map(crds::manifest)
            .expect("one of our kinds");
        let schema = &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for metric in resource["metrics"].as_array().expect("metrics") {
            for form in ["gauge", "info"] {
                let each = &metric["each"][form];
                let mut place = schema;
                for step in each["path"]
                    .as_array()
                    .map(Vec::as_slice)
                    .unwrap_or_default()
                {
                    place = below(place, step);
                }
                for path in each["labelsFromPath"].as_object().into_iter().flatten() {
                    let steps = path.1.as_array().expect("a path");
                    steps.iter().fold(place, below);
                }
            }
        }
    }
}

/// The schema of a field, through the items of a list.
fn below<'a>(schema: &'a Value, step: &Value) -> &'a Value {
    let step = step.as_str().expect("a name");
    let schema = if schema["items"].is_object() {
        &schema["items"]
    } else {
        schema
    };
    let found = &schema["properties"][step];
    assert!(found.is_object(), "`{step}` is no field");
    found
}

/// Debian's package `prometheus` has promtool.
#[test]
fn every_alert_fires_when_it_should_and_not_otherwise() {
    let directory = root().join(MONITORING);
    let alerts = alerts();
    let text = fs::read_to_string(directory.join("alerts.test.yaml")).expect("tests");
    for rule in rules(&alerts) {
        let name = rule["alert"].as_str().expect("a name");
        let tested = text.contains(&format!("alertname: {name}\n"));
        assert!(tested, "{name} has no test in alerts.test.yaml");
    }
    let outcome = Command::new("promtool")
        .current_dir(directory)
        .args(["test", "rules", "alerts.test.yaml"])
        .output();
    match outcome {
        Ok(output) => assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => println!("skipped: promtool does not start: {error}"),
    }
}
