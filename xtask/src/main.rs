//! Checks, generators, tests and the demo of this workspace.
//!
//! `cargo xtask help` lists the commands. Each one names what it is about to do, does it, and can
//! be repeated.

mod bench;
mod cluster;
mod conformance;
mod demo;
mod generate;
mod images;
mod instructions;
mod layers;
mod programs;
mod stage;
mod tests;
mod workspace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Checks, generators, tests and the demo of getvpn", after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  cargo xtask demo              the main job, end to end, on this machine
  cargo xtask test              everything CI checks
  cargo xtask test --only lab   only the tests that need root and network namespaces
  cargo xtask cluster up        a real Kubernetes with two nodes, in namespaces of this machine
  cargo xtask cluster quickstart  the same, and getvpn on it: from nothing to an encrypted group
  cargo xtask layers            do the crates depend on each other only as the architecture allows?
  cargo xtask generate --check  are the generated files current?
  cargo xtask bench --peers     how fast is the data path next to other VPNs on this machine?
  cargo xtask instructions      does a packet cost more than it did?
  cargo xtask conformance       which behaviours of a GET VPN are shown by which tests?";

#[derive(Subcommand)]
enum Command {
    /// Build release programs and run the main job: three key servers, four members, encrypted
    /// traffic, rekey and loss of the primary under traffic
    Demo(demo::Arguments),
    /// Format, lints, layers, documentation, unit, property, lab and interoperability tests
    Test(tests::Arguments),
    /// A real Kubernetes on this machine: bring it up, look at it, take it down
    #[command(subcommand)]
    Cluster(cluster::Action),
    /// Build container images of our programs, reproducibly, without a registry or a daemon
    Images(images::Arguments),
    /// Check that crates depend on each other only in the allowed direction, and stay pure
    Layers,
    /// Count which behaviours of a GET VPN are shown by which tests
    Conformance(conformance::Arguments),
    /// Measure the data path on this machine, alone or next to other VPNs; writes table, JSON and plot
    Bench(bench::Arguments),
    /// Count the instructions of packets, messages and registrations, and compare with before
    Instructions(instructions::Arguments),
    /// Write the generated files (CRDs, reference pages)
    Generate(generate::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => tests::run(&arguments),
        Command::Cluster(action) => cluster::run(&action),
        Command::Images(arguments) => images::run(&arguments),
        Command::Layers => layers::run(),
        Command::Conformance(arguments) => conformance::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Instructions(arguments) => instructions::run(&arguments),
        Command::Generate(arguments) => generate::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies one level below the workspace root")
}

/// Where cargo puts what it builds.
fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
