//! `cargo xtask test`: everything that must hold before a change lands.

use anyhow::{Result, bail};

use crate::stage::Tally;
use crate::workspace::{self, cargo};
use crate::{cluster, conformance, generate, instructions, layers, programs, target_directory};

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
    /// Unit and property tests, and what a packet costs in instructions
    Unit,
    /// Tests on real processes in network namespaces, and with independent tools
    Lab,
    /// Tests on a real Kubernetes that is made for them on this machine and removed after them
    Cluster,
}

/// Programs that the tests call and that are not ours.
const PROGRAMS: &[&str] = &[
    "ip",
    "nft",
    "ping",
    "iperf3",
    "tshark",
    "openssl",
    "tcpdump",
    "lua5.4",
    "swanctl",
    "charon-systemd",
    "cargo-deny",
];

/// Tests of the crate `e2e` that need Helm.
const CHARTS: &[&str] = &["chart", "gitops_health"];
/// Tests of the crate `e2e` that do not run in the lab.
const ELSEWHERE: &[&str] = &["chart", "gitops_health", "worlds", "cluster"];

/// Runs the parts and prints the counts; fails when anything failed.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let wanted = |part| arguments.only.is_none_or(|only| only == part);
    if arguments.only != Some(Part::Unit) {
        programs::require(PROGRAMS, "xtask/setup --tests")?;
    }
    if (wanted(Part::Lab) || wanted(Part::Cluster)) && !programs::is_root() {
        bail!(
            "the lab and cluster tests make network namespaces: run as root, or `cargo xtask test --only unit`"
        );
    }
    let mut tally = Tally::default();
    if wanted(Part::Static) {
        static_checks(&mut tally)?;
    }
    if wanted(Part::Unit) {
        let others = workspace::integration_tests("e2e", true)?;
        tally.cargo_test(
            "unit and property tests",
            workspace::tests(others).args(["--lib", "--bins"]),
        )?;
        tally.cargo_test(
            "examples in the documentation",
            cargo().args(["test", "--workspace", "--locked", "--doc"]),
        )?;
        tally.cargo_test(
            "simulation",
            workspace::tests(["worlds"]).args(["--", "--nocapture"]),
        )?;
        tally.call("instructions", || {
            programs::require(&["valgrind"], "xtask/setup --tests")?;
            instructions::run(&instructions::Arguments::default())
        });
    }
    if wanted(Part::Lab) {
        lab_tests(&mut tally)?;
    }
    if wanted(Part::Cluster) {
        cluster_tests(&mut tally)?;
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
    tally.call("conformance page", conformance::check_page);
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
    // What it reads of crates for other platforms, no build has downloaded.
    if !tally.check(
        "crates of every platform",
        cargo().args(["fetch", "--locked"]),
    )? {
        return Ok(());
    }
    tally.check(
        "cargo deny",
        cargo().args(["deny", "--locked", "check", "bans", "licenses", "sources"]),
    )?;
    if advisory_database() {
        tally.check(
            "known advisories",
            cargo().args(["deny", "--offline", "check", "advisories"]),
        )?;
    } else {
        println!(
            "\nnote: no advisory database on this machine (`cargo deny fetch` downloads it): of known bad versions only those in deny.toml are refused"
        );
    }
    Ok(())
}

/// Whether a database was downloaded. An attempt without a network leaves its directory with
/// nothing in it but a lock.
fn advisory_database() -> bool {
    std::env::var_os("CARGO_HOME")
        .map(std::path::PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| std::path::Path::new(&home).join(".cargo")))
        .and_then(|home| std::fs::read_dir(home.join("advisory-dbs")).ok())
        .is_some_and(|entries| {
            entries
                .flatten()
                .any(|entry| entry.path().join(".git/FETCH_HEAD").is_file())
        })
}

/// Tests on real processes share the machine's two cores and its namespaces: one at a time.
fn lab_tests(tally: &mut Tally) -> Result<()> {
    if !tally.check("programs for the lab", &mut workspace::builder())? {
        return Ok(());
    }
    let mut names = workspace::integration_tests("e2e", false)?;
    names.retain(|name| !ELSEWHERE.contains(&name.as_str()));
    tally.cargo_test(
        "lab and interoperability tests",
        workspace::tests(names)
            .args(["--", "--test-threads=1"])
            .env("GETVPN_BIN_DIR", target_directory().join("debug")),
    )?;
    Ok(())
}

/// Tests on a cluster of their own, beside one that a user may have running.
fn cluster_tests(tally: &mut Tally) -> Result<()> {
    let own = cluster::Own::new(target_directory().join("getvpn-tests"))?;
    let mut ready = tally.check("Kubernetes for the tests", &mut own.xtask(&["build"]))?;
    if ready {
        tally.cargo_test("charts", own.environment(&mut workspace::tests(CHARTS)))?;
    }
    ready = ready && tally.check("a cluster for the tests", &mut own.xtask(&["up"]))?;
    ready = ready
        && tally.check(
            "images and chart",
            &mut own.xtask(&["install", "--profile", "dev"]),
        )?;
    if ready {
        tally.cargo_test(
            "admission rules, asked of the API server",
            own.environment(&mut workspace::tests(["cel_rules"])),
        )?;
        tally.cargo_test(
            "cluster tests",
            own.environment(workspace::tests(["cluster"]).args([
                "--",
                "--ignored",
                "--test-threads=1",
                "--nocapture",
            ]))
            .env("GETVPN_BIN_DIR", target_directory().join("debug")),
        )?;
    }
    tally.check("end of the cluster", &mut own.xtask(&["down"]))?;
    Ok(())
}
