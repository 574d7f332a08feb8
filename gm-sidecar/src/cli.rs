//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use operator_api::pod as place;
use runtime::logging::LogArguments;

use crate::pod::probe::Probe;

/// Group member: encrypts the traffic of a pod, gateway or VM.
#[derive(Debug, Parser)]
#[command(
    name = "gm-sidecar",
    version,
    about,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do; `run` when left out
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Configuration for `run`
    #[command(flatten)]
    pub run: RunArguments,
    /// Logging
    #[command(flatten)]
    pub log: LogArguments,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Protect the interfaces, register and encrypt until told to end
    Run(RunArguments),
    /// Check the configuration file and the files it names, change nothing
    Check(ConfigArgument),
    /// Remove what a member left in the kernel: drop rules, routes, device
    Cleanup(ConfigArgument),
    /// Show the state of a running member
    Status(StatusArguments),
    /// Run as the sidecar of a pod: everything comes from the environment and from the operator
    Pod,
    /// Answer a probe of the kubelet about the member of this pod
    Probe(ProbeArguments),
    /// Look whether a host answers, through the data path like any program here
    Reach(ReachArguments),
}

/// Arguments of `reach`.
#[derive(Args, Clone, Debug)]
pub struct ReachArguments {
    /// Address of the host
    pub address: IpAddr,
    /// TCP port to connect to; a refusal is an answer too
    #[arg(long, default_value_t = 9)]
    pub port: u16,
    /// Seconds to wait
    #[arg(long, default_value_t = 3, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=60))]
    pub wait: u64,
}

/// Arguments of `probe`.
#[derive(Args, Clone, Debug)]
pub struct ProbeArguments {
    /// What is probed
    #[arg(value_enum)]
    pub probe: Probe,
    /// Control socket of the member
    #[arg(long, value_name = "PATH", default_value_os_t = default_socket())]
    pub socket: PathBuf,
}

/// Where the member of a pod listens.
fn default_socket() -> PathBuf {
    PathBuf::from(place::STATE_DIRECTORY).join(place::CONTROL_SOCKET_FILE)
}

/// Arguments of `run`.
#[derive(Args, Clone, Debug, Default)]
pub struct RunArguments {
    /// Configuration file
    #[arg(long, env = "GETVPN_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Remove the drop rules at an orderly end; otherwise they stay in force
    #[arg(long)]
    pub remove_guard: bool,
}

/// Which configuration file.
#[derive(Args, Clone, Debug)]
pub struct ConfigArgument {
    /// Configuration file
    #[arg(long, env = "GETVPN_CONFIG", value_name = "FILE")]
    pub config: PathBuf,
}

/// Arguments of `status`.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct StatusArguments {
    /// Configuration file that names the control socket
    #[arg(
        long,
        env = "GETVPN_CONFIG",
        value_name = "FILE",
        required_unless_present = "socket"
    )]
    pub config: Option<PathBuf>,
    /// Control socket
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Form of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// The whole state as JSON.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_what_happens_without_a_command() {
        let cli = Cli::try_parse_from(["gm-sidecar", "--config", "m.yaml"]).expect("valid");
        assert!(cli.command.is_none());
        assert_eq!(cli.run.config, Some(PathBuf::from("m.yaml")));
        let cli =
            Cli::try_parse_from(["gm-sidecar", "cleanup", "--config", "m.yaml"]).expect("valid");
        assert!(matches!(cli.command, Some(Command::Cleanup(_))));
    }
}
