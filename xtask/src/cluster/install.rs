//! Our images and the chart on the cluster, and the quickstart on top.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use e2e_cluster::place::Place;
use e2e_cluster::{kubectl, status};

use crate::{images, root, target_directory};

/// Namespace and release of the operator, as the documentation of the chart names them.
const SYSTEM: &str = "getvpn-system";
const RELEASE: &str = "getvpn";

/// Builds the images, loads them into the nodes and installs the chart, or upgrades to them.
pub(super) fn install(place: &Place, profile: &str) -> Result<()> {
    if status::status(place)?.is_none() {
        bail!("no cluster runs: `cargo xtask cluster up`");
    }
    images::run(&images::Arguments::all(profile))?;
    let installed = call(
        kubectl::kubectl(place)?.args(["-n", SYSTEM, "get", "deployment", "getvpn-operator"]),
        Output::Hidden,
    )
    .is_ok();
    println!("installing the chart");
    let mut helm = Command::new(kubectl::helm(place)?);
    helm.arg("--kubeconfig").arg(place.kubeconfig());
    helm.args(["upgrade", "--install", RELEASE])
        .arg(root().join("charts/getvpn"));
    helm.args(["--namespace", SYSTEM, "--create-namespace"]);
    helm.args(["--wait", "--timeout", "240s"]);
    call(&mut helm, Output::Hidden)?;
    if installed {
        // The tag of an image made here does not change with its content.
        let restart = ["-n", SYSTEM, "rollout", "restart", "deploy/getvpn-operator"];
        call(kubectl::kubectl(place)?.args(restart), Output::Shown)?;
        let wait = [
            "-n",
            SYSTEM,
            "rollout",
            "status",
            "deploy/getvpn-operator",
            "--timeout=240s",
        ];
        call(kubectl::kubectl(place)?.args(wait), Output::Shown)?;
    }
    println!("getvpn is installed: its operator runs in the namespace {SYSTEM}");
    Ok(())
}

/// Applies the quickstart and shows what its traffic looks like on the nodes' bridges.
pub(super) fn quickstart(profile: &str) -> Result<()> {
    let program = build_quickstart(profile)?;
    call(&mut Command::new(program), Output::Shown)
}

fn build_quickstart(profile: &str) -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["build", "--locked"]);
    cargo.args(["-p", "e2e", "--bin", "getvpn-quickstart"]);
    cargo.args(["--profile", profile]);
    call(&mut cargo, Output::Shown)?;
    let directory = if profile == "dev" { "debug" } else { profile };
    Ok(target_directory().join(directory).join("getvpn-quickstart"))
}

/// What happens with the output of a program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Shown,
    /// Shown only when it fails.
    Hidden,
}

fn call(command: &mut Command, output: Output) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    if output == Output::Hidden {
        return e2e_cluster::command::run(command).map(drop);
    }
    let status = command
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        bail!("{program} failed: see above");
    }
    Ok(())
}
