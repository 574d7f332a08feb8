//! Files of the charts that come from elsewhere: CRDs, admission policies, the tables of values.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::template::{Wrapping, wrap};
use super::values;

const BEGIN: &str =
    "<!-- values: begin, from the comments in values.yaml by `cargo xtask generate` -->\n";
const END: &str = "<!-- values: end -->\n";

/// Writes them.
pub(crate) fn write(root: &Path) -> Result<()> {
    definitions(root)?;
    policies(root)?;
    readme(root)
}

/// The custom resource definitions as templates of both charts.
fn definitions(root: &Path) -> Result<()> {
    for (chart, condition) in [
        ("getvpn", Some(".Values.crds.enabled")),
        ("getvpn-crds", None),
    ] {
        let directory = root.join("charts").join(chart).join("templates/crds");
        fs::create_dir_all(&directory)?;
        for entry in fs::read_dir(root.join("crds/generated"))? {
            let name = entry?.file_name();
            let origin = format!("crds/generated/{}", name.display());
            let manifest = read(&root.join(&origin))?;
            let wrapping = Wrapping {
                origin: &origin,
                condition,
                metadata: "getvpn.crdMetadata",
            };
            fs::write(directory.join(&name), wrap(&manifest, &wrapping)?)?;
        }
    }
    Ok(())
}

/// The policies that stand behind the webhook.
fn policies(root: &Path) -> Result<()> {
    let origin = "operator/core/src/injection/admission_policies.yaml";
    if !root.join(origin).exists() {
        return Ok(());
    }
    let wrapping = Wrapping {
        origin,
        condition: Some(".Values.injection.policy.enabled"),
        metadata: "getvpn.metadata",
    };
    let text = wrap(&read(&root.join(origin))?, &wrapping)?;
    fs::write(
        root.join("charts/getvpn/templates/injection/policies.yaml"),
        text,
    )?;
    Ok(())
}

/// The table of values: in the chart's own README, and as a page of the reference.
fn readme(root: &Path) -> Result<()> {
    let values = read(&root.join("charts/getvpn/values.yaml"))?;
    let table = values::table(&values::read(&values)?);
    let path = root.join("charts/getvpn/README.md");
    let text = read(&path)?;
    let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END)) else {
        bail!("{}: the marks around the values are gone", path.display());
    };
    let (head, tail) = (&text[..begin + BEGIN.len()], &text[end..]);
    fs::write(&path, format!("{head}\n{table}\n{tail}"))?;
    let page = format!(
        "<!-- Generated from charts/getvpn/values.yaml by `cargo xtask generate`. Do not edit. -->\n\n\
         # Values of the Helm chart\n\n\
         `charts/getvpn`. Unknown names and values of the wrong kind are refused. How to install: \
         [Install with Helm](../how-to/install-with-helm.md).\n\n{table}"
    );
    fs::write(root.join("docs/reference/helm-values.md"), page)?;
    Ok(())
}

pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
