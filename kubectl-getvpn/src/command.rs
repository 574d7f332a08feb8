//! Runs one command of the command line.

mod cluster;
mod lab;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;
use kubectl_getvpn::lab::error::LabError;
use kubectl_getvpn::lab::resources::Resources;

use kubectl_getvpn::cli::{Arguments, Command, ImportCommand};
use kubectl_getvpn::cluster::error::ClusterError;
use kubectl_getvpn::import::cisco_ios;
use operator_core::explain::{Flow, explain};

/// Exit code when a check of the command found something.
pub(crate) const CHECKS_FAILED: u8 = 3;

/// Why a command did not succeed; its exit code is the process's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// In a lab, or on the way to standard output.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// On a cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl Failure {
    /// 1 error, 2 usage or environment, 3 checks failed.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Lab(error) => error.exit_code(),
            Self::Cluster(error) => error.exit_code(),
        }
    }
}

/// Runs a command.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Cluster(command) => cluster::run(&arguments.cluster, command),
        Command::Lab(command) => Ok(lab::run(command, arguments.cluster.output)?),
        Command::Import(ImportCommand::CiscoIos { files }) => Ok(import(&files)?),
        Command::Explain {
            file,
            source,
            destination,
            protocol,
            ports,
        } => {
            let resources = Resources::load(&file)?;
            let flow = Flow {
                source,
                destination,
                protocol,
                ports: ports.first().copied().zip(ports.get(1).copied()),
            };
            for group in &resources.groups {
                let name = group.metadata.name.as_deref().unwrap_or_default();
                let policy = resources.policy(name)?;
                say!("{name}: {}", explain(&policy, &flow));
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Completion { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(
                shell,
                &mut command,
                "kubectl-getvpn",
                &mut std::io::stdout(),
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Version => {
            say!("kubectl-getvpn {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Writes the resources to standard output and the notes to standard error.
fn import(files: &[PathBuf]) -> Result<ExitCode, LabError> {
    let names: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let texts = files
        .iter()
        .map(|file| std::fs::read_to_string(file).map_err(LabError::file("read", file)))
        .collect::<Result<Vec<_>, _>>()?;
    let sources: Vec<cisco_ios::Source<'_>> = names
        .iter()
        .zip(&texts)
        .map(|(name, text)| cisco_ios::Source { name, text })
        .collect();
    let import = cisco_ios::convert(&sources);
    for note in &import.notes {
        eprintln!("{note}");
    }
    if import.is_empty() {
        return Err(LabError::Usage(format!(
            "no GET VPN was found in {}: is it the output of `show running-config`?",
            names.join(", ")
        )));
    }
    say_text!("{}", import.yaml());
    Ok(ExitCode::SUCCESS)
}
