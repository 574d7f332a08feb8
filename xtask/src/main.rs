//! Checks, generators, tests and the demo of this workspace.
//!
//! `cargo xtask help` lists the commands. Each one names what it is about to do, does it, and can
//! be repeated.

mod demo;
mod generate;
mod layers;
mod programs;
mod stage;
mod tests;

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
  cargo xtask layers            do the crates depend on each other only as the architecture allows?
  cargo xtask generate --check  are the generated files current?";

#[derive(Subcommand)]
enum Command {
    /// Build release programs and run the main job: three key servers, four members, encrypted
    /// traffic, rekey and loss of the primary under traffic
    Demo(demo::Arguments),
    /// Format, lints, layers, documentation, unit, property, lab and interoperability tests
    Test(tests::Arguments),
    /// Check that crates depend on each other only in the allowed direction, and stay pure
    Layers,
    /// Write the generated files (CRDs, reference pages)
    Generate(generate::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => tests::run(&arguments),
        Command::Layers => layers::run(),
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
