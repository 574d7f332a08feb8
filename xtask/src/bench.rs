//! `cargo xtask bench`: how fast the data path is on this machine, alone or next to other VPNs.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::cargo;
use crate::{programs, root, target_directory};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Measure every other VPN too, in turn with our own; installs those that are missing
    #[arg(long)]
    peers: bool,
    /// Measure this other VPN too: wireguard-go, boringtun, gotatun, nebula, openvpn or strongswan; may be repeated
    #[arg(long = "peer", value_name = "NAME", conflicts_with = "peers")]
    chosen: Vec<String>,
    /// Rounds; each one measures every data path once [default: 3, with --quick 1]
    #[arg(long)]
    rounds: Option<u32>,
    /// One round of short samples, in half a minute: shows that everything works; its figures are not kept
    #[arg(long)]
    quick: bool,
}

/// Programs that the benchmark calls and that are not ours.
const PROGRAMS: &[&str] = &["ip", "nft", "ping", "iperf3", "openssl", "curl"];

/// Builds release programs and becomes `getvpn-bench`, so that Ctrl-C reaches it alone and it can clean up.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if !programs::is_root() {
        bail!("the benchmark makes network namespaces: run it as root");
    }
    programs::require(PROGRAMS, "xtask/setup --tests")?;
    println!("building the programs (release)");
    let status = cargo()
        .args(["build", "--release", "--workspace", "--bins", "--locked"])
        .status()
        .context("cannot start cargo")?;
    if !status.success() {
        bail!("the release build failed");
    }
    let directory = target_directory().join("release");
    // A quick look never takes the place of figures that count.
    let output = if arguments.quick {
        target_directory().join("benchmarks")
    } else {
        root().join("docs/benchmarks")
    };
    let mut command = Command::new(directory.join("getvpn-bench"));
    command
        .arg("--output")
        .arg(output)
        .env("GETVPN_BIN_DIR", &directory);
    if arguments.peers {
        command.arg("--peers");
    }
    for peer in &arguments.chosen {
        command.args(["--peer", peer]);
    }
    if let Some(rounds) = arguments.rounds {
        command.args(["--rounds", &rounds.to_string()]);
    }
    if arguments.quick {
        command.arg("--quick");
    }
    Err(command.exec()).context("cannot start getvpn-bench")
}
