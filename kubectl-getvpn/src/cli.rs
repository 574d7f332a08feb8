//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Group encrypted transport VPN: show and drive groups, key servers and members.
#[derive(Parser)]
#[command(name = "kubectl-getvpn", bin_name = "kubectl getvpn", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "Examples:
  kubectl getvpn lab up -f examples/quickstart.yaml
  kubectl getvpn lab status
  kubectl getvpn lab ping --all
  kubectl getvpn lab down

Exit codes: 0 fine, 1 error, 2 usage or environment, 3 checks failed.";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Real key servers and members on this machine, each in a network namespace
    #[command(subcommand)]
    Lab(LabCommand),
    /// Print a completion script
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version,
}

/// Which lab a command is about.
#[derive(Args, Clone)]
pub(crate) struct Which {
    /// Name of the lab; not needed while only one is up
    #[arg(long)]
    pub(crate) name: Option<String>,
}

/// Form of an answer.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A table
    Table,
    /// A table with more columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

#[derive(Subcommand)]
pub(crate) enum LabCommand {
    /// Start a lab from the resources in a file
    #[command(
        after_help = "Example:\n  kubectl getvpn lab up -f examples/quickstart.yaml --members 20"
    )]
    Up {
        /// File with GetVpnGroup, SecurityAssociation and GroupMember resources
        #[arg(short, long)]
        file: PathBuf,
        /// Number of members of each GroupMember, instead of its annotation
        #[arg(long)]
        members: Option<u16>,
        /// Name of the lab; the first group's name when absent
        #[arg(long)]
        name: Option<String>,
        /// Leave what was made when a step fails
        #[arg(long)]
        keep: bool,
    },
    /// Show key servers, members and keys
    Status {
        #[command(flatten)]
        which: Which,
        /// Form of the answer
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Ping from one node to another, or between every pair of members
    #[command(
        after_help = "Examples:\n  kubectl getvpn lab ping m-1 m-2\n  kubectl getvpn lab ping --all"
    )]
    Ping {
        #[command(flatten)]
        which: Which,
        /// From and to
        #[arg(num_args = 2, value_names = ["FROM", "TO"], required_unless_present = "all", conflicts_with = "all")]
        nodes: Vec<String>,
        /// Every ordered pair of members
        #[arg(long)]
        all: bool,
        /// Over IPv6
        #[arg(short = '6', long)]
        ipv6: bool,
        /// Seconds to wait for each answer
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=60))]
        wait: u32,
    },
    /// Run a program in a node's namespace
    #[command(after_help = "Example:\n  kubectl getvpn lab exec m-1 -- ip route get 10.1.2.2")]
    Exec {
        #[command(flatten)]
        which: Which,
        /// The node, or `core`
        node: String,
        /// The program and its arguments
        #[arg(last = true, required = true)]
        program: Vec<String>,
    },
    /// Capture in the core and judge: is anything protected in clear, is an IV used twice?
    Capture {
        #[command(flatten)]
        which: Which,
        /// Write the packets to this file (pcapng)
        #[arg(short, long)]
        write: Option<PathBuf>,
        /// How long
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        seconds: u64,
        /// End after this many packets, if they come earlier
        #[arg(long)]
        count: Option<u64>,
    },
    /// End a node's process, with SIGKILL unless told otherwise
    #[command(
        after_help = "Examples:\n  kubectl getvpn lab kill primary\n  kubectl getvpn lab kill m-1 --gracefully"
    )]
    Kill {
        #[command(flatten)]
        which: Which,
        /// The node, or `primary`
        node: String,
        /// With SIGTERM, so that it can end in good order, instead of SIGKILL
        #[arg(long)]
        gracefully: bool,
    },
    /// Cut a node from all others, or from one: packets are dropped silently, as by a broken network
    #[command(
        after_help = "Examples:\n  kubectl getvpn lab partition ks-0\n  kubectl getvpn lab partition ks-0 ks-1"
    )]
    Partition {
        #[command(flatten)]
        which: Which,
        /// The node
        node: String,
        /// Only from this one
        from: Option<String>,
    },
    /// Start killed nodes again, join partitions, and wait until the nodes serve
    Heal {
        #[command(flatten)]
        which: Which,
        /// The node; all when absent
        node: Option<String>,
        /// All nodes, as when none is named
        #[arg(long, conflicts_with = "node")]
        all: bool,
    },
    /// Rekey a group now
    Rekey {
        #[command(flatten)]
        which: Which,
        /// The group; not needed when the lab has one
        group: Option<String>,
        /// Replace the staged keys as well and delete all old ones
        #[arg(long)]
        replace: bool,
    },
    /// Evict a member from its groups
    Evict {
        #[command(flatten)]
        which: Which,
        /// The member
        member: String,
    },
    /// Show the end of a node's log
    Logs {
        #[command(flatten)]
        which: Which,
        /// The node
        node: String,
        /// Lines
        #[arg(long, default_value_t = 40)]
        tail: usize,
    },
    /// End a lab and remove everything it made
    Down {
        #[command(flatten)]
        which: Which,
        /// Every lab of this machine
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// The multicast router of the lab's core
    #[command(hide = true)]
    MulticastRouter {
        /// File to create once it routes
        #[arg(long)]
        ready: PathBuf,
        /// Interfaces
        interfaces: Vec<String>,
    },
}
