//! The Kustomize base, made from the chart.
//!
//! Rendering takes Helm. Where it is missing, a fingerprint of the chart tells whether the base that lies in the tree
//! was made from this very chart.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::chart::read;
use super::snapshot::Snapshot;

/// What the rendering depends on.
const INPUTS: &[&str] = &[
    "charts/getvpn/Chart.yaml",
    "charts/getvpn/monitoring",
    "charts/getvpn/templates",
    "charts/getvpn/values.yaml",
];

const BASE: &str = "charts/kustomize/base";

/// Name of the file with the fingerprint.
const FINGERPRINT: &str = "made-from";

/// Writes the base.
pub(crate) fn write(root: &Path) -> Result<()> {
    let fingerprint = format!("{:016x}\n", Snapshot::take(root, INPUTS)?.fingerprint());
    let base = root.join(BASE);
    let Some(helm) = helm() else {
        if read(&base.join(FINGERPRINT)).ok().as_ref() == Some(&fingerprint) {
            println!("note: no Helm on this machine; the Kustomize base was made from this chart");
            return Ok(());
        }
        bail!(
            "{BASE}: the chart has changed since it was made, and Helm is needed to make it again: \
             `cargo xtask cluster build` builds it"
        );
    };
    let rendered = render(root, &helm)?;
    let (definitions, objects) = split(&rendered);
    fs::create_dir_all(&base)?;
    fs::write(base.join("crds.yaml"), definitions)?;
    fs::write(base.join("operator.yaml"), objects)?;
    fs::write(base.join(FINGERPRINT), fingerprint)?;
    Ok(())
}

/// A Helm that can be started.
fn helm() -> Option<String> {
    let works = |program: &str| {
        Command::new(program)
            .arg("version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    works("helm").then(|| "helm".to_owned())
}

fn render(root: &Path, helm: &str) -> Result<String> {
    let output = Command::new(helm)
        .current_dir(root)
        .args([
            "template",
            "getvpn",
            "charts/getvpn",
            "--namespace",
            "getvpn-system",
            "--no-hooks",
        ])
        .output()
        .context("cannot start helm")?;
    if !output.status.success() {
        bail!("helm: {}", String::from_utf8_lossy(&output.stderr));
    }
    String::from_utf8(output.stdout).context("helm wrote something that is not text")
}

/// The custom resource definitions, and everything else, without what only Helm needs.
fn split(rendered: &str) -> (String, String) {
    const HEADER: &str = "# Generated from charts/getvpn by `cargo xtask generate`. Do not edit.\n";
    let (mut definitions, mut objects) = (HEADER.to_owned(), HEADER.to_owned());
    for document in rendered.split("---\n") {
        let lines: Vec<String> = document.lines().filter_map(translate).collect();
        let text = format!("{}\n", lines.join("\n").trim_matches('\n'));
        if text.trim().is_empty() {
            continue;
        }
        let target = if lines
            .iter()
            .any(|it| it == "kind: CustomResourceDefinition")
        {
            &mut definitions
        } else {
            &mut objects
        };
        target.push_str("---\n");
        target.push_str(&text);
    }
    (definitions, objects)
}

/// A line of Helm's output as it is without Helm.
fn translate(line: &str) -> Option<String> {
    let content = line.trim_start();
    if content.starts_with("# Source: ") || content.starts_with("helm.sh/") {
        return None;
    }
    let managed = "app.kubernetes.io/managed-by: ";
    if content.starts_with(managed) {
        return Some(line.replace("managed-by: Helm", "managed-by: Kustomize"));
    }
    Some(line.to_owned())
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn definitions_are_apart_and_nothing_of_helm_is_left() {
        let rendered = "---\n# Source: getvpn/templates/a.yaml\nkind: A\nmetadata:\n  labels:\n    \
                        helm.sh/chart: getvpn-1\n    app.kubernetes.io/managed-by: Helm\n---\n\
                        # Source: b\nkind: CustomResourceDefinition\n";
        let (definitions, objects) = split(rendered);
        assert!(definitions.ends_with("---\nkind: CustomResourceDefinition\n"));
        assert!(objects.ends_with(
            "---\nkind: A\nmetadata:\n  labels:\n    app.kubernetes.io/managed-by: Kustomize\n"
        ));
    }
}
