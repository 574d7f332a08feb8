//! `cargo xtask generate`: files that are written from other files or from code, and kept in the tree.

mod chart;
mod kustomize;
mod snapshot;
mod template;
mod values;

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{root, target_directory};
use snapshot::Snapshot;

/// Everything that is generated: files and whole directories.
const GENERATED: &[&str] = &[
    "charts/getvpn-crds/templates/crds",
    "charts/getvpn/README.md",
    "charts/getvpn/templates/crds",
    "charts/getvpn/templates/injection/policies.yaml",
    "charts/getvpn/templates/rbac/operator.yaml",
    "charts/kustomize/base",
    "crds/generated",
    "docs/reference",
];

/// Options of `cargo xtask generate`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail when a file is not current
    #[arg(long)]
    check: bool,
}

/// Writes the files, or only checks them.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.check { check() } else { write() }
}

/// Fails when a generated file is not current, and names it. Leaves all files as they were.
pub(crate) fn check() -> Result<()> {
    let before = Snapshot::take(root(), GENERATED)?;
    let written = write().and_then(|()| Snapshot::take(root(), GENERATED));
    before.restore(root(), GENERATED)?;
    let stale = before.differences(&written?);
    if !stale.is_empty() {
        bail!(
            "not current; run `cargo xtask generate`:\n  {}",
            stale.join("\n  ")
        );
    }
    Ok(())
}

fn write() -> Result<()> {
    crate::workspace::build()?;
    for generator in ["generate", "generate-operator", "reference"] {
        example(generator)?;
    }
    chart::write(root())?;
    kustomize::write(root())
}

/// Runs a generator that is an example of one of our crates, and built.
fn example(name: &str) -> Result<()> {
    let program = target_directory().join("debug/examples").join(name);
    let status = Command::new(&program)
        .current_dir(root())
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !status.success() {
        bail!("the generator `{name}` failed");
    }
    Ok(())
}
