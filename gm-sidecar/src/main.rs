//! Group member: encrypts the traffic of a pod, gateway or VM.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use gm_sidecar::cli::{Cli, Command, Output, RunArguments, StatusArguments};
use gm_sidecar::config::Config;
use gm_sidecar::control::{client, table};
use gm_sidecar::guard::Guard;
use gm_sidecar::network::{Network, NetworkError};
use gm_sidecar::pod::{self, PodError, Surroundings, probe};
use gm_sidecar::runner::{self, RunError, RunOptions};
use gm_sidecar::{credentials, privileges, reach};
use runtime::shutdown::Shutdown;
use runtime::{exit, hardening, logging};

/// A message for the user, and the exit code that goes with it.
struct Failure(u8, String);

impl Failure {
    fn usage(message: impl ToString) -> Self {
        Self(exit::USAGE, message.to_string())
    }

    fn running(message: impl ToString) -> Self {
        Self(exit::FAILURE, message.to_string())
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = logging::init(&cli.log) {
        eprintln!("gm-sidecar: {error}");
        return ExitCode::from(exit::USAGE);
    }
    let outcome = match cli.command {
        None => run(cli.run),
        Some(Command::Run(arguments)) => run(arguments),
        Some(Command::Check(arguments)) => check(&arguments.config),
        Some(Command::Cleanup(arguments)) => cleanup(&arguments.config),
        Some(Command::Status(arguments)) => status(&arguments),
        Some(Command::Pod) => in_pod(),
        Some(Command::Probe(arguments)) => {
            probe::ask(arguments.probe, &arguments.socket).map_err(Failure::running)
        }
        Some(Command::Reach(arguments)) => {
            let target = SocketAddr::new(arguments.address, arguments.port);
            reach::reach(target, Duration::from_secs(arguments.wait)).map_err(Failure::running)
        }
    };
    match outcome {
        Ok(()) => ExitCode::from(exit::OK),
        Err(Failure(code, message)) => {
            eprintln!("gm-sidecar: {message}");
            ExitCode::from(code)
        }
    }
}

fn run(arguments: RunArguments) -> Result<(), Failure> {
    let path = arguments.config.ok_or_else(|| {
        Failure::usage("no configuration; give --config FILE, or see `gm-sidecar --help`")
    })?;
    let config = Config::load(&path).map_err(Failure::usage)?;
    // Before anything else: from here on nothing leaves that must not.
    let guarded = runner::close(&config).map_err(Failure::usage)?;
    if !privileges::can_administer_network() {
        return Err(Failure::usage(
            "the capability CAP_NET_ADMIN is missing; run as root, or grant it to the container",
        ));
    }
    let hardening = hardening::apply();
    tracing::info!(
        member = config.name,
        undumpable = hardening.undumpable,
        memory_locked = hardening.memory_locked,
        "drop rules in force, starting"
    );
    let options = RunOptions {
        remove_guard: arguments.remove_guard,
    };
    runtime()?.block_on(async {
        let (trigger, shutdown) = Shutdown::on_signals().map_err(Failure::running)?;
        runner::run(config, guarded, options, None, trigger, shutdown)
            .await
            .map_err(explain)
    })
}

/// Whether a failure is one of the surroundings or one that happened while running.
fn explain(error: RunError) -> Failure {
    match error {
        RunError::Guard(_)
        | RunError::Network(NetworkError::Refused { .. } | NetworkError::TooManyRules(_)) => {
            Failure::running(error)
        }
        RunError::Network(
            NetworkError::Open(_) | NetworkError::Forbidden { .. } | NetworkError::NoInterface(_),
        )
        | RunError::Credentials(_)
        | RunError::Ike(_)
        | RunError::DataPath(_)
        | RunError::Endpoint(_) => Failure::usage(error),
    }
}

/// The sidecar of a pod.
fn in_pod() -> Result<(), Failure> {
    let surroundings = Surroundings::from_environment().map_err(Failure::usage)?;
    // Before anything else: from here on nothing leaves that must not.
    let guarded = pod::close(&surroundings).map_err(Failure::usage)?;
    let hardening = hardening::apply();
    tracing::info!(
        pod = surroundings.name,
        namespace = surroundings.namespace,
        undumpable = hardening.undumpable,
        "drop rules in force, enrolling"
    );
    runtime()?.block_on(async {
        let (trigger, shutdown) = Shutdown::on_signals().map_err(Failure::running)?;
        pod::run(surroundings, guarded, trigger, shutdown)
            .await
            .map_err(|error| match error {
                PodError::Run(error) => explain(error),
                other => Failure::running(other),
            })
    })
}

fn check(path: &Path) -> Result<(), Failure> {
    let config = Config::load(path).map_err(Failure::usage)?;
    credentials::group_settings(&config).map_err(Failure::usage)?;
    println!("{}: valid", path.display());
    Ok(())
}

fn cleanup(path: &Path) -> Result<(), Failure> {
    let config = Config::load(path).map_err(Failure::usage)?;
    runtime()?.block_on(async {
        // An interface that has gone must not keep the rest from being removed.
        let mut network = Network::open(&config.network, &[], &config.tun_device)
            .await
            .map_err(Failure::usage)?;
        network.remove().await.map_err(Failure::running)?;
        network.remove_device().await.map_err(Failure::running)
    })?;
    Guard::remove(&config.name).map_err(Failure::running)?;
    match std::fs::remove_file(config.control_socket()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            let socket = config.control_socket();
            Err(Failure::running(format!("{}: {error}", socket.display())))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn status(arguments: &StatusArguments) -> Result<(), Failure> {
    let socket = match (&arguments.socket, &arguments.config) {
        (Some(socket), _) => socket.clone(),
        (None, Some(path)) => Config::load(path).map_err(Failure::usage)?.control_socket(),
        (None, None) => return Err(Failure::usage("give --config FILE or --socket PATH")),
    };
    let report = client::status(&socket).map_err(Failure::running)?;
    match arguments.output {
        Output::Table => print!("{}", table::render(&report)),
        Output::Json => {
            let text = serde_json::to_string_pretty(&report).map_err(Failure::running)?;
            println!("{text}");
        }
    }
    Ok(())
}

/// One thread: the control side is never busy, and a single thread keeps its order plain.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::running)
}
