//! Builds and tests the workspace as one: every command here selects all of its crates.
//!
//! What features a dependency has is what the selected crates ask for together. Commands that select one crate or
//! another would build kube, k8s-openapi and what they need once for each selection, which costs minutes.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::{MetadataCommand, TargetKind};

use crate::root;

/// Cargo in this workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root());
    command
}

/// Builds programs and examples for development, with the features that the tests build with.
pub(crate) fn build() -> Result<()> {
    let status = builder().status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the workspace does not build");
    }
    Ok(())
}

/// The command of [`build`].
pub(crate) fn builder() -> Command {
    let mut command = cargo();
    command.args([
        "build",
        "--workspace",
        "--bins",
        "--examples",
        "--locked",
        "--quiet",
    ]);
    command
}

/// `cargo test` over the workspace, of these integration tests.
pub(crate) fn tests<Name: AsRef<str>>(names: impl IntoIterator<Item = Name>) -> Command {
    let mut command = cargo();
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    for name in names {
        command.args(["--test", name.as_ref()]);
    }
    command
}

/// Names of the integration tests of the package `of`, or of all packages but that one.
pub(crate) fn integration_tests(of: &str, others: bool) -> Result<BTreeSet<String>> {
    let metadata = MetadataCommand::new()
        .current_dir(root())
        .no_deps()
        .other_options(["--locked".to_owned()])
        .exec()
        .context("cargo metadata")?;
    let packages = metadata.packages.iter();
    Ok(packages
        .filter(|package| (package.name.as_str() == of) != others)
        .flat_map(|package| &package.targets)
        .filter(|target| target.kind.contains(&TargetKind::Test))
        .map(|target| target.name.clone())
        .collect())
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn no_test_of_another_crate_has_the_name_of_a_lab_test() {
        let lab = integration_tests("e2e", false).expect("metadata");
        let others = integration_tests("e2e", true).expect("metadata");
        assert!(lab.contains("netns_group") && others.contains("schema"));
        let both: Vec<_> = lab.intersection(&others).collect();
        assert!(both.is_empty(), "{both:?}: `--test` would run both");
    }
}
