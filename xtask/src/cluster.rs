//! `cargo xtask cluster`: a real Kubernetes on this machine, in namespaces of its own.

mod install;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use e2e_cluster::machine::Machine;
use e2e_cluster::place::Place;
use e2e_cluster::record::Records;
use e2e_cluster::up::UpOptions;
use e2e_cluster::{down, forward, kubectl, load, status, up, volumes};

/// How many nodes a cluster has unless asked for another number.
const NODES: u8 = 2;

/// A cluster of its own directory, for whoever wants one beside that of the user.
pub(crate) struct Own {
    directory: PathBuf,
    kubectl: PathBuf,
    helm: PathBuf,
}

impl Own {
    /// One whose state is in `directory`; nothing is started.
    pub(crate) fn new(directory: PathBuf) -> Result<Self> {
        let place = Place::from_environment()?;
        Ok(Self {
            directory,
            kubectl: kubectl::program(&place)?,
            helm: kubectl::helm_place(&place)?,
        })
    }

    /// `cargo xtask cluster` with these arguments, on this cluster.
    pub(crate) fn xtask(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO"));
        command
            .current_dir(crate::root())
            .args([
                "run",
                "--quiet",
                "--locked",
                "--package",
                "xtask",
                "--",
                "cluster",
            ])
            .args(arguments);
        self.environment(&mut command);
        command
    }

    /// Lets a program use this cluster.
    pub(crate) fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("GETVPN_CLUSTER_DIR", &self.directory)
            .env("GETVPN_KUBECTL", &self.kubectl)
            .env("GETVPN_HELM", &self.helm)
            .env("KUBECONFIG", self.directory.join("kubeconfig"))
    }
}

/// What to do with the cluster.
#[derive(clap::Subcommand)]
pub(crate) enum Action {
    /// Bring the cluster up: builds Kubernetes once, then takes about 40 seconds; repeated, it starts
    /// what is missing
    Up {
        /// How many nodes
        #[arg(long, default_value_t = NODES)]
        nodes: u8,
    },
    /// End the cluster and remove everything of it but the built programs
    Down,
    /// Show programs, nodes and pods
    Status,
    /// Build the programs of the cluster, and helm, without starting anything
    Build,
    /// Build our images, load them into the nodes and install the chart, or upgrade to them
    Install {
        /// Build profile of our programs
        #[arg(long, default_value = "release")]
        profile: String,
    },
    /// All in one: bring the cluster up, install, apply the quickstart, show that its traffic is encrypted
    Quickstart {
        /// Build profile of our programs
        #[arg(long, default_value = "release")]
        profile: String,
    },
    /// Load image archives into every node
    Load {
        /// Archives in OCI layout or of `docker save`
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Run a command inside a machine of the cluster: `control`, `node-1`, `node-2`
    Exec {
        /// The machine
        machine: String,
        /// The command and its arguments
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
    /// Print shell lines that make kubectl and helm of the cluster the default ones
    Env,
    /// Hand connections from the loopback address on to the API server
    #[command(hide = true)]
    Forward,
    /// Make and remove the volumes of claims
    #[command(hide = true)]
    Volumes,
}

/// Does it.
pub(crate) fn run(action: &Action) -> Result<()> {
    let place = Place::from_environment()?;
    match action {
        Action::Up { nodes } => bring_up(&place, *nodes),
        Action::Down => {
            down::down(&place)?;
            println!(
                "no cluster runs; built programs stay in {}",
                place.cache.display()
            );
            Ok(())
        }
        Action::Status => show(&place),
        Action::Build => up::build(&place),
        Action::Install { profile } => install::install(&place, profile),
        Action::Quickstart { profile } => {
            bring_up(&place, NODES)?;
            install::install(&place, profile)?;
            install::quickstart(profile)
        }
        Action::Load { archives } => load_all(&place, archives),
        Action::Exec { machine, command } => exec(&place, machine, command),
        Action::Env => print_environment(&place),
        Action::Forward => forward::serve(&place),
        Action::Volumes => volumes::serve(&place),
    }
}

fn bring_up(place: &Place, nodes: u8) -> Result<()> {
    let this = std::env::current_exe().context("this program has no file")?;
    up::up(
        place,
        &UpOptions {
            nodes,
            helper: vec![this, "cluster".into()],
        },
    )?;
    println!(
        "\nThe cluster runs. In this shell:\n\n  eval \"$(cargo xtask cluster env)\"\n  kubectl get pods --all-namespaces\n\nEnd it with `cargo xtask cluster down`."
    );
    Ok(())
}

fn show(place: &Place) -> Result<()> {
    let Some((page, whole)) = status::status(place)? else {
        bail!("no cluster runs: `cargo xtask cluster up`");
    };
    print!("{page}");
    if !whole {
        bail!("not everything runs: `cargo xtask cluster up` starts what is missing");
    }
    Ok(())
}

fn load_all(place: &Place, archives: &[PathBuf]) -> Result<()> {
    for archive in archives {
        load::load(place, archive)?;
        println!("loaded {}", archive.display());
    }
    Ok(())
}

fn exec(place: &Place, machine: &str, command: &[String]) -> Result<()> {
    let records = Records::read(&place.state)?;
    let machine =
        Machine::find(&records, machine).with_context(|| format!("no machine `{machine}` runs"))?;
    let status = machine
        .enter()
        .args(command)
        .status()
        .context("cannot start nsenter")?;
    std::process::exit(status.code().unwrap_or(1));
}

fn print_environment(place: &Place) -> Result<()> {
    let programs = [kubectl::program(place)?, kubectl::helm(place)?];
    let directories: Vec<String> = programs
        .iter()
        .filter_map(|program| program.parent())
        .map(Path::display)
        .map(|path| path.to_string())
        .collect();
    println!("export KUBECONFIG={}", place.kubeconfig().display());
    println!("export PATH={}:$PATH", directories.join(":"));
    Ok(())
}
