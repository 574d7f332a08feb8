//! How fast the data path is next to other VPNs on this machine: what `cargo xtask bench` runs.
//!
//! ```text
//! getvpn-bench
//! getvpn-bench --peers
//! getvpn-bench --peer wireguard-go --rounds 5
//! getvpn-bench --quick
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum as _};
use e2e::bench::install::Installed;
use e2e::bench::machine::Machine;
use e2e::bench::measure::Effort;
use e2e::bench::rounds::{self, Plan};
use e2e::bench::table::{self, Missing};
use e2e::bench::{DataPath, Peer, plot, report};
use kubectl_getvpn::lab::progress::Progress;
use runtime::shutdown::Shutdown;

/// Measures the data path, alone or next to other VPNs, between two network namespaces of this machine.
#[derive(Parser)]
#[command(
    after_help = "Exit codes: 0 everything was measured, 1 error, 2 usage, 3 something could not be measured: the table says what."
)]
struct Arguments {
    /// Measure every other VPN too; installs those that are missing
    #[arg(long)]
    peers: bool,
    /// Measure this other VPN too; may be repeated
    #[arg(long = "peer", value_name = "NAME", conflicts_with = "peers")]
    chosen: Vec<Peer>,
    /// Rounds; each one measures every data path once
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: Option<u32>,
    /// One round of short samples on the machine as it is: shows that everything works, gives no figures to keep
    #[arg(long)]
    quick: bool,
    /// Directory for latest.json and throughput.svg; without it only the table is made
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
    /// Directory of `keyserver` and `gm-sidecar`; this program's own when absent
    #[arg(long, env = "GETVPN_BIN_DIR")]
    programs: Option<PathBuf>,
}

#[tokio::main(worker_threads = 1)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = async {
        let (_trigger, shutdown) = Shutdown::on_signals()?;
        // It checks for the end that the user wants everywhere where it waits, and takes down what it made.
        tokio::task::spawn_blocking(move || run(&arguments, &shutdown)).await?
    };
    match outcome.await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and tells; whether everything that was asked for was measured.
fn run(arguments: &Arguments, shutdown: &Shutdown) -> Result<bool> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the benchmark makes network namespaces: run it as root");
    }
    let (paths, missing) = paths(arguments, shutdown)?;
    let plan = Plan {
        paths,
        rounds: arguments
            .rounds
            .unwrap_or(if arguments.quick { 1 } else { 3 }),
        effort: if arguments.quick {
            Effort::quick()
        } else {
            Effort::full()
        },
        programs: programs(arguments.programs.as_deref())?,
    };
    let machine = Machine::of_now(shutdown)?;
    let rounds = rounds::run(&plan, &mut Progress::visible(), shutdown)?;
    println!(
        "\n{}, {} processors, {}, {}, getvpn {}\n",
        machine.processor, machine.processors, machine.kernel, machine.iperf3, machine.commit
    );
    print!("{}", table::table(&rounds, &missing));
    if let Some(directory) = &arguments.output {
        let json = serde_json::to_string_pretty(&report::report(
            &machine,
            &plan.paths,
            &rounds,
            &missing,
        ))?;
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        write(directory, "latest.json", &format!("{json}\n"))?;
        write(directory, "throughput.svg", &plot::svg(&machine, &rounds))?;
    }
    Ok(missing.is_empty() && rounds.all.iter().all(|round| round.failure.is_none()))
}

/// The data paths to measure with the programs of the peers, and the peers that could not be installed.
type Paths = (Vec<(DataPath, Option<Installed>)>, Vec<Missing>);

fn paths(arguments: &Arguments, shutdown: &Shutdown) -> Result<Paths> {
    let mut paths = vec![(DataPath::Veth, None), (DataPath::Getvpn, None)];
    if !arguments.quick {
        paths.push((DataPath::GetvpnRaw, None));
    }
    let mut missing = Vec::new();
    let peers = Peer::value_variants().iter().copied();
    for peer in peers.filter(|peer| arguments.peers || arguments.chosen.contains(peer)) {
        let path = DataPath::Peer(peer);
        let installed = peer.install(shutdown);
        ensure!(!shutdown.requested(), "interrupted");
        match installed {
            Ok(installed) => paths.push((path, Some(installed))),
            Err(error) => {
                eprintln!("bench: {path} cannot be installed: {error:#}");
                missing.push(Missing {
                    path,
                    why: format!("{error:#}"),
                });
            }
        }
    }
    Ok((paths, missing))
}

/// The directory of our programs.
fn programs(chosen: Option<&Path>) -> Result<PathBuf> {
    let directory = match chosen {
        Some(directory) => directory.to_owned(),
        None => {
            let own = std::env::current_exe().context("this program's own path")?;
            own.parent().context("no directory")?.to_owned()
        }
    };
    for program in ["keyserver", "gm-sidecar"] {
        let file = directory.join(program);
        ensure!(
            file.is_file(),
            "{} does not exist; `cargo xtask bench` builds it",
            file.display()
        );
    }
    Ok(directory.canonicalize()?)
}

fn write(directory: &Path, name: &str, content: &str) -> Result<()> {
    let file = directory.join(name);
    fs::write(&file, content).with_context(|| file.display().to_string())?;
    println!("written: {}", file.display());
    Ok(())
}
