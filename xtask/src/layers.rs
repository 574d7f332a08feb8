//! `cargo xtask layers`: the direction of dependencies, and the purity of the cores.
//!
//! Reads `cargo metadata`, so it judges what cargo would build and not what a document says.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use crate::root;

/// Which workspace crates each crate may depend on. A crate that is not named here fails.
const ALLOWED: &[(&str, &[&str])] = &[
    ("crds", &[]),
    ("gikev2", &[]),
    ("gm-core", &["gikev2"]),
    (
        "gm-sidecar",
        &["gikev2", "gm-core", "operator-api", "runtime"],
    ),
    ("keyserver-api", &[]),
    ("keyserver-core", &["gikev2", "keyserver-api"]),
    (
        "keyserver",
        &["gikev2", "keyserver-api", "keyserver-core", "runtime"],
    ),
    (
        "kubectl-getvpn",
        &[
            "crds",
            "keyserver-api",
            "operator-api",
            "operator-core",
            "runtime",
        ],
    ),
    (
        "operator",
        &[
            "crds",
            "keyserver-api",
            "operator-api",
            "operator-core",
            "runtime",
        ],
    ),
    ("instructions", &["gikev2", "gm-core"]),
    ("operator-api", &[]),
    ("operator-core", &["crds", "keyserver-api", "operator-api"]),
    ("e2e-cluster", &[]),
    ("e2e-exposition", &["gm-sidecar", "keyserver", "operator"]),
    ("runtime", &[]),
    (
        "e2e",
        &[
            "crds",
            "e2e-cluster",
            "e2e-exposition",
            "gikev2",
            "gm-core",
            "gm-sidecar",
            "keyserver",
            "keyserver-api",
            "keyserver-core",
            "kubectl-getvpn",
            "operator",
            "operator-api",
            "operator-core",
            "runtime",
        ],
    ),
    ("xtask", &["crds", "e2e", "e2e-cluster"]),
];

/// Crates that decide and never act.
const PURE: &[&str] = &["gikev2", "gm-core", "keyserver-core"];

/// What a pure crate may not reach, and why.
const IMPURE: &[(&str, &str)] = &[
    ("getrandom", "reads the operating system's random source"),
    ("hyper", "does network I/O"),
    ("kube-client", "does network I/O"),
    ("mio", "does I/O"),
    ("rand", "reads the operating system's random source"),
    ("reqwest", "does network I/O"),
    ("ring", "reads the operating system's random source"),
    ("socket2", "opens sockets"),
    ("tokio", "is an I/O runtime"),
    ("tracing-subscriber", "is a logging backend"),
];

/// Checks the workspace that this program belongs to.
pub(crate) fn run() -> Result<()> {
    let metadata = MetadataCommand::new()
        .current_dir(root())
        .exec()
        .context("cargo metadata failed")?;
    let mut faults = faults(&metadata)?;
    faults.extend(unexplained()?);
    if faults.is_empty() {
        println!(
            "layers: {} crates, every dependency in the allowed direction",
            ALLOWED.len()
        );
        return Ok(());
    }
    for fault in &faults {
        eprintln!("layers: {fault}");
    }
    bail!(
        "{} dependencies break the architecture (ARCHITECTURE.md, \"Layers\")",
        faults.len()
    )
}

/// Third-party crates of the root table that `docs/explanation/dependencies.md` does not justify.
fn unexplained() -> Result<Vec<String>> {
    const PAGE: &str = "docs/explanation/dependencies.md";
    let manifest = std::fs::read_to_string(root().join("Cargo.toml"))?;
    let page = std::fs::read_to_string(root().join(PAGE))?;
    let table = manifest
        .split_once("[workspace.dependencies]")
        .and_then(|(_, rest)| rest.split_once("\n["))
        .map(|(table, _)| table)
        .context("Cargo.toml has no [workspace.dependencies] table")?;
    Ok(table
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .filter(|(name, value)| !name.starts_with('#') && !value.contains("path ="))
        .filter(|(name, _)| !page.contains(&format!("`{name}`")))
        .map(|(name, _)| format!("{name} is not justified in {PAGE}"))
        .collect())
}

fn faults(metadata: &Metadata) -> Result<Vec<String>> {
    let resolve = metadata
        .resolve
        .as_ref()
        .context("cargo metadata resolved nothing")?;
    let names: BTreeMap<&PackageId, &str> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package.name.as_str()))
        .collect();
    // Edges that end up in the built crate: no development or build dependencies.
    let edges: BTreeMap<&PackageId, Vec<&PackageId>> = resolve
        .nodes
        .iter()
        .map(|node| {
            let normal = node
                .deps
                .iter()
                .filter(|dependency| {
                    dependency
                        .dep_kinds
                        .iter()
                        .any(|kind| kind.kind == DependencyKind::Normal)
                })
                .map(|dependency| &dependency.pkg)
                .collect();
            (&node.id, normal)
        })
        .collect();
    let name = |id: &PackageId| names.get(id).copied().unwrap_or("?");

    let members: BTreeSet<&str> = metadata
        .workspace_members
        .iter()
        .map(|id| names.get(id).copied().unwrap_or("?"))
        .collect();
    let mut faults = Vec::new();
    for id in &metadata.workspace_members {
        let from = name(id);
        let Some((_, allowed)) = ALLOWED.iter().find(|(member, _)| *member == from) else {
            faults.push(format!(
                "{from} is not in the table of layers (xtask/src/layers.rs)"
            ));
            continue;
        };
        for to in edges.get(id).into_iter().flatten().map(|to| name(to)) {
            if members.contains(to) && !allowed.contains(&to) {
                faults.push(format!("{from} may not depend on {to}"));
            }
        }
        if PURE.contains(&from) {
            faults.extend(impure(from)?);
        }
    }
    Ok(faults)
}

/// Every impure crate that `package` reaches with the features it asks for itself.
///
/// `cargo metadata` joins the features of the whole workspace, so a random source that only a
/// program switches on would show under a core too; `cargo tree -p` resolves the package alone.
fn impure(package: &str) -> Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args([
            "tree", "--locked", "-p", package, "-e", "normal", "--prefix", "none", "-f", "{p}",
        ])
        .output()
        .context("cannot start cargo tree")?;
    if !output.status.success() {
        bail!(
            "cargo tree -p {package}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let tree = String::from_utf8_lossy(&output.stdout);
    let reached: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    Ok(IMPURE
        .iter()
        .filter(|(name, _)| reached.contains(name))
        .map(|(name, why)| {
            format!("{package} reaches {name}, which {why}: a pure crate may not (see `cargo tree -p {package} -i {name}`)")
        })
        .collect())
}
