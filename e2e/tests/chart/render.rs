//! Helm, and what it renders.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Values that switch on everything that is off by default.
pub(crate) const EVERYTHING: &[&str] = &[
    "metrics.podMonitor.enabled=true",
    "metrics.serviceMonitor.enabled=true",
    "metrics.prometheusRule.enabled=true",
    "metrics.dashboard.enabled=true",
    "metrics.kubeStateMetrics.enabled=true",
    "networkPolicy.enabled=true",
];

/// A Helm that can be started.
pub(crate) struct Helm(PathBuf);

impl Helm {
    /// The one `GETVPN_HELM` names, or the one on the path; `None`, said aloud, when there is none.
    pub(crate) fn find() -> Option<Self> {
        let named = std::env::var_os("GETVPN_HELM");
        let program = named
            .clone()
            .map_or_else(|| PathBuf::from("helm"), PathBuf::from);
        let works = Command::new(&program)
            .arg("version")
            .output()
            .is_ok_and(|output| output.status.success());
        if works {
            return Some(Self(program));
        }
        assert!(named.is_none(), "GETVPN_HELM: {program:?} does not start");
        println!("skipped: no Helm on this machine; `cargo xtask cluster build` builds it");
        None
    }

    /// Runs it in the repository.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Command::new(&self.0)
            .current_dir(root())
            .args(arguments)
            .output()
            .expect("helm starts")
    }

    /// The text of a rendered chart, with `--set` for each of `values`.
    pub(crate) fn text(&self, chart: &str, values: &[&str]) -> String {
        let output = self.template(chart, values);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// The objects of a rendered chart.
    pub(crate) fn objects(&self, chart: &str, values: &[&str]) -> Vec<Value> {
        parse(&self.text(chart, values))
    }

    /// What Helm says when it cannot render the chart with these values.
    pub(crate) fn refusal(&self, chart: &str, values: &[&str]) -> String {
        let output = self.template(chart, values);
        assert!(!output.status.success(), "{values:?} is accepted");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn template(&self, chart: &str, values: &[&str]) -> Output {
        let chart = format!("charts/{chart}");
        let mut arguments = vec!["template", "getvpn", &chart, "--namespace", "getvpn-system"];
        for value in values {
            arguments.extend(["--set", value]);
        }
        self.run(&arguments)
    }
}

/// Documents of a YAML text; empty ones are left out.
pub(crate) fn parse(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect("valid YAML");
    documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect()
}

/// The one object of that kind and name.
pub(crate) fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<&Value> = objects
        .iter()
        .filter(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

/// All objects of a kind.
pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects
        .iter()
        .filter(|object| object["kind"] == kind)
        .collect()
}
