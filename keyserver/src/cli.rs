//! The command line of the key server.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use runtime::logging::LogArguments;

/// Cooperative key server of GET VPN groups (G-IKEv2, RFC 9838).
#[derive(Debug, Parser)]
#[command(name = "keyserver", version, about)]
pub struct Arguments {
    /// Configuration file (YAML)
    #[arg(long, env = "GETVPN_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// How to log.
    #[command(flatten)]
    pub log: LogArguments,
    /// What to do; `run` when not given
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve members and work with the other key servers (default)
    Run,
    /// Check the configuration, its files and certificates, and change nothing
    Check,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn run_is_the_default() {
        let arguments = Arguments::parse_from(["keyserver", "--config", "ks.yaml"]);
        assert_eq!(arguments.command, None);
        assert_eq!(arguments.config, Some(PathBuf::from("ks.yaml")));
    }
}
