//! The command line of the operator.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use operator_core::injection::TunDevice;
use runtime::logging::LogArguments;

/// Operator of GET VPN groups: key servers, policy and members in a Kubernetes cluster.
#[derive(Clone, Debug, Parser)]
#[command(name = "operator", version, about)]
pub struct Arguments {
    /// Namespace of the operator itself: its lease, the private keys of the groups' authorities
    #[arg(long, env = "GETVPN_NAMESPACE", default_value = "getvpn-system")]
    pub namespace: String,
    /// Namespace whose objects are looked after; repeat it for several, leave it out for all
    #[arg(
        long = "watch-namespace",
        env = "GETVPN_WATCH_NAMESPACES",
        value_delimiter = ',',
        value_name = "NAMESPACE"
    )]
    pub watch_namespaces: Vec<String>,
    /// Name of the operator's own pod: its name in the lease and in Events
    #[arg(
        long,
        env = "GETVPN_POD_NAME",
        default_value = "operator",
        value_name = "NAME"
    )]
    pub pod_name: String,
    /// Image of key servers whose group names none
    #[arg(long, env = "GETVPN_KEY_SERVER_IMAGE", default_value_t = default_image("keyserver"), value_name = "IMAGE")]
    pub key_server_image: String,
    /// Image of the sidecar that is put into pods
    #[arg(long, env = "GETVPN_SIDECAR_IMAGE", default_value_t = default_image("gm-sidecar"), value_name = "IMAGE")]
    pub sidecar_image: String,
    /// Where the sidecar's TUN device comes from: `HostPath` mounts the node's, `Runtime` leaves it to the container
    /// runtime, anything else is the resource of a device plugin, such as `example.com/tun`
    #[arg(
        long,
        env = "GETVPN_TUN_DEVICE",
        default_value = "HostPath",
        value_name = "SOURCE"
    )]
    pub tun_device: TunDevice,
    /// Where probes and metrics are served
    #[arg(
        long,
        env = "GETVPN_METRICS_LISTEN",
        default_value = "[::]:8080",
        value_name = "ADDRESS:PORT"
    )]
    pub metrics_listen: SocketAddr,
    /// Whether the admission webhook is served
    #[arg(long, env = "GETVPN_WEBHOOK", value_enum, default_value_t = Switch::Enabled)]
    pub webhook: Switch,
    /// Where the admission webhook is served
    #[arg(
        long,
        env = "GETVPN_WEBHOOK_LISTEN",
        default_value = "[::]:10250",
        value_name = "ADDRESS:PORT"
    )]
    pub webhook_listen: SocketAddr,
    /// Whether the enrolment endpoint of members is served
    #[arg(long, env = "GETVPN_ENROLMENT", value_enum, default_value_t = Switch::Enabled)]
    pub enrolment: Switch,
    /// Where the enrolment endpoint of members is served
    #[arg(
        long,
        env = "GETVPN_ENROLMENT_LISTEN",
        default_value = "[::]:10251",
        value_name = "ADDRESS:PORT"
    )]
    pub enrolment_listen: SocketAddr,
    /// Whether only the holder of a lease changes the cluster; needed with more than one replica
    #[arg(long, env = "GETVPN_LEADER_ELECTION", value_enum, default_value_t = Switch::Enabled)]
    pub leader_election: Switch,
    /// Seconds after which another replica may take over a lease that was not renewed
    #[arg(long, env = "GETVPN_LEASE_DURATION_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(5..=300), value_name = "SECONDS")]
    pub lease_duration_seconds: u32,
    /// Objects of one kind that are worked on at the same time
    #[arg(long, env = "GETVPN_MAX_CONCURRENT_RECONCILES", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "COUNT")]
    pub max_concurrent_reconciles: u16,
    /// Kubeconfig file; without it the cluster the operator runs in, or $KUBECONFIG
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// How to log.
    #[command(flatten)]
    pub log: LogArguments,
    /// What to do instead of operating.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of operating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Look whether an installation is whole, a line for each part; what `helm test` runs
    Check,
}

/// Whether a part runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It runs.
    Enabled,
    /// It does not.
    Disabled,
}

/// The image that belongs to this version.
fn default_image(name: &str) -> String {
    format!("getvpn/{name}:{}", env!("CARGO_PKG_VERSION"))
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
    fn the_tun_device_comes_from_one_of_three_places() {
        let of = |source: &str| {
            Arguments::try_parse_from(["operator", "--tun-device", source])
                .map(|arguments| arguments.tun_device)
        };
        assert_eq!(of("HostPath").ok(), Some(TunDevice::HostPath));
        assert_eq!(of("Runtime").ok(), Some(TunDevice::Runtime));
        assert_eq!(
            of("example.com/tun").ok(),
            Some(TunDevice::Resource("example.com/tun".to_owned()))
        );
        let refused = of("hostpath").expect_err("no such source").to_string();
        assert!(refused.contains("example.com/tun"), "{refused}");
    }

    #[test]
    fn several_namespaces_can_be_named() {
        let arguments = Arguments::parse_from([
            "operator",
            "--watch-namespace",
            "a",
            "--watch-namespace",
            "b,c",
        ]);
        assert_eq!(arguments.watch_namespaces, ["a", "b", "c"]);
    }
}
