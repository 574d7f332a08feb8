//! `cargo xtask demo`: the main job on real processes, in network namespaces of this machine.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{programs, root, target_directory};

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The resources to run
    #[arg(long, default_value = "examples/quickstart.yaml")]
    file: String,
    /// Use the programs built already in this directory instead of building them
    #[arg(long)]
    programs: Option<std::path::PathBuf>,
}

/// Builds release programs and runs `getvpn-demo`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if !programs::is_root() {
        bail!("the demo makes network namespaces: run it as root");
    }
    programs::require(&["ip", "nft", "ping"], "xtask/setup")?;
    let directory = match &arguments.programs {
        Some(directory) => directory.clone(),
        None => build()?,
    };
    let status = Command::new(directory.join("getvpn-demo"))
        .arg("--file")
        .arg(root().join(&arguments.file))
        .env("GETVPN_BIN_DIR", &directory)
        .status()
        .context("cannot start the demo")?;
    if !status.success() {
        bail!("the demo failed: see above");
    }
    Ok(())
}

fn build() -> Result<std::path::PathBuf> {
    println!("building keyserver, gm-sidecar, kubectl-getvpn and the demo (release)");
    let status = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["build", "--release", "--locked", "--bins"])
        .args([
            "-p",
            "keyserver",
            "-p",
            "gm-sidecar",
            "-p",
            "kubectl-getvpn",
            "-p",
            "e2e",
        ])
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("the release build failed");
    }
    Ok(target_directory().join("release"))
}
