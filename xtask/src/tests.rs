//! `cargo xtask test`: everything that must hold before a change lands.

use std::process::Command;

use anyhow::{Result, bail};

use crate::stage::Tally;
use crate::{generate, layers, programs, root, target_directory};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this part
    #[arg(long, value_enum)]
    only: Option<Part>,
}

/// Parts of the tests.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Format, lints, layers, generated files, documentation, licences
    Static,
    /// Unit and property tests
    Unit,
    /// Tests on real processes in network namespaces, and with independent tools
    Lab,
}

/// Programs that the tests call and that are not ours.
const PROGRAMS: &[&str] = &[
    "ip",
    "nft",
    "ping",
    "iperf3",
    "tshark",
    "openssl",
    "swanctl",
    "charon-systemd",
    "cargo-deny",
];

/// Runs the parts and prints the counts; fails when anything failed.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let wanted = |part| arguments.only.is_none_or(|only| only == part);
    if arguments.only != Some(Part::Unit) {
        programs::require(PROGRAMS, "xtask/setup --tests")?;
    }
    if wanted(Part::Lab) && !programs::is_root() {
        bail!(
            "the lab tests make network namespaces: run as root, or `cargo xtask test --only unit`"
        );
    }
    let mut tally = Tally::default();
    if wanted(Part::Static) {
        static_checks(&mut tally)?;
    }
    if wanted(Part::Unit) {
        tally.cargo_test(
            "unit and property tests",
            cargo().args([
                "test",
                "--workspace",
                "--exclude",
                "e2e",
                "--locked",
                "--no-fail-fast",
            ]),
        )?;
    }
    if wanted(Part::Lab) {
        lab_tests(&mut tally)?;
    }
    tally.report();
    if tally.failed > 0 {
        bail!("{} failed", tally.failed);
    }
    Ok(())
}

fn static_checks(tally: &mut Tally) -> Result<()> {
    tally.check("format", cargo().args(["fmt", "--all", "--check"]))?;
    tally.check(
        "lints",
        cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    tally.call("layers", layers::run);
    tally.call("generated files", generate::check);
    tally.check(
        "documentation",
        cargo()
            .args([
                "doc",
                "--workspace",
                "--no-deps",
                "--locked",
                "--document-private-items",
            ])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    licences(tally)
}

/// Licences, bans and sources always; advisories only where their database is at hand, since it
/// comes from a repository and not from a package registry.
fn licences(tally: &mut Tally) -> Result<()> {
    let database = std::env::var_os("CARGO_HOME")
        .map(std::path::PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| std::path::Path::new(&home).join(".cargo")))
        .map(|home| home.join("advisory-dbs"))
        .filter(|directory| directory.is_dir());
    let mut command = cargo();
    command.args(["deny", "--offline", "check", "bans", "licenses", "sources"]);
    if database.is_some() {
        command.arg("advisories");
    } else {
        println!(
            "\nnote: no advisory database on this machine: cargo deny checks bans (with the list of known bad versions in deny.toml), licences and sources only"
        );
    }
    tally.check("cargo deny", &mut command)?;
    Ok(())
}

/// Tests on real processes share the machine's two cores and its namespaces: one at a time.
fn lab_tests(tally: &mut Tally) -> Result<()> {
    if !tally.check(
        "programs for the lab",
        cargo().args(["build", "--workspace", "--bins", "--locked"]),
    )? {
        return Ok(());
    }
    tally.cargo_test(
        "lab and interoperability tests",
        cargo()
            .args([
                "test",
                "-p",
                "e2e",
                "--locked",
                "--no-fail-fast",
                "--",
                "--test-threads=1",
            ])
            .env("GETVPN_BIN_DIR", target_directory().join("debug")),
    )?;
    Ok(())
}

fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root());
    command
}
