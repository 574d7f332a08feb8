//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use runtime::logging::LogArguments;

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
