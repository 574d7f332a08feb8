//! The command line.

pub mod cisco;
mod cluster;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::cluster::{ClusterArguments, ClusterCommand, MemberCommand, RsaCommand};
pub use crate::cluster::table::Output;

/// Group encrypted transport VPN: show and drive groups, key servers and members.
#[derive(Parser)]
#[command(name = "kubectl-getvpn", bin_name = "kubectl getvpn", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArguments,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  kubectl getvpn groups -A
  kubectl getvpn status wan
  kubectl getvpn members wan -o wide
  kubectl getvpn rekey wan --replace
  kubectl getvpn diagnose
  kubectl getvpn import cisco-ios ks.cfg gm.cfg
  kubectl getvpn lab up -f examples/quickstart.yaml

Exit codes: 0 fine, 1 error, 2 usage or environment, 3 checks failed.";

/// Commands.
#[derive(Subcommand)]
pub enum Command {
    /// On a cluster.
    #[command(flatten)]
    Cluster(ClusterCommand),
    /// Write the GET VPN parts of other products' configurations as our resources
    #[command(subcommand)]
    Import(ImportCommand),
    /// Say which rule of a group decides about a packet, from the resources in a file
    #[command(
        after_help = "Example:\n  kubectl getvpn explain -f examples/quickstart.yaml 10.1.1.2 10.1.2.2 --protocol 6 --ports 50000 443"
    )]
    Explain {
        /// File with GetVpnGroup and SecurityAssociation resources
        #[arg(short, long)]
        file: PathBuf,
        /// Source address
        source: std::net::IpAddr,
        /// Destination address
        destination: std::net::IpAddr,
        /// IP protocol number: 1 is ICMP, 6 is TCP, 17 is UDP
        #[arg(long, default_value_t = 17)]
        protocol: u8,
        /// Source and destination port
        #[arg(long, num_args = 2, value_names = ["SOURCE", "DESTINATION"])]
        ports: Vec<u16>,
    },
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

/// Commands of `import`.
#[derive(Subcommand)]
pub enum ImportCommand {
    /// Cisco IOS and IOS XE: `show running-config` of key servers and group members
    #[command(
        name = "cisco-ios",
        after_help = "Notes about what was not carried over go to standard error, and into the YAML as comments.\n\nExample:\n  kubectl getvpn import cisco-ios ks-1.cfg gm-*.cfg > groups.yaml"
    )]
    CiscoIos {
        /// Configurations
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// Which lab a command is about.
#[derive(Args, Clone)]
pub struct Which {
    /// Name of the lab; not needed while only one is up
    #[arg(long)]
    pub name: Option<String>,
}

/// Commands of `lab`.
#[derive(Subcommand)]
pub enum LabCommand {
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
        /// Which lab.
        #[command(flatten)]
        which: Which,
    },
    /// Ping from one node to another, or between every pair of members
    #[command(
        after_help = "Examples:\n  kubectl getvpn lab ping m-1 m-2\n  kubectl getvpn lab ping --all"
    )]
    Ping {
        /// Which lab.
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
        /// Which lab.
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
        /// Which lab.
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
        /// Which lab.
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
        /// Which lab.
        #[command(flatten)]
        which: Which,
        /// The node
        node: String,
        /// Only from this one
        from: Option<String>,
    },
    /// Start killed nodes again, join partitions, and wait until the nodes serve
    Heal {
        /// Which lab.
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
        /// Which lab.
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
        /// Which lab.
        #[command(flatten)]
        which: Which,
        /// The member
        member: String,
    },
    /// Show the end of a node's log
    Logs {
        /// Which lab.
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
        /// Which lab.
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
