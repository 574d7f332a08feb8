//! `cargo xtask generate`: files that are written from code and kept in the tree.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::root;

/// Options of `cargo xtask generate`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; fail when a file is not current
    #[arg(long)]
    check: bool,
}

/// Writes the files, or only checks them.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    generate(arguments.check)
}

/// Fails when a generated file is not current.
pub(crate) fn check() -> Result<()> {
    generate(true)
}

/// Runs the generator of the custom resources.
fn generate(check: bool) -> Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).args([
        "run",
        "--quiet",
        "--locked",
        "-p",
        "crds",
        "--example",
        "generate",
        "--",
    ]);
    if check {
        command.arg("--check");
    }
    let status = command.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("crds: generated files are not current; run `cargo xtask generate`");
    }
    Ok(())
}
