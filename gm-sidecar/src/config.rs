//! The configuration file: read once, checked completely, turned into types nobody has to check
//! again. Every complaint names the file, the field or line, and what to write instead.

mod check;
mod flow;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use gm_core::spd::Selector;
use operator_api::services::Services;
use serde::Deserialize;

use flow::FlowEntry;

use crate::datapath::MulticastCopies;

/// Everything a member is told by its administrator.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Name of this member: 1–63 letters, digits, `-` or `_`. The kernel objects carry it.
    pub name: String,
    /// Protected network interfaces, 1–8.
    pub interfaces: Vec<String>,
    /// Name of the TUN device to create.
    #[serde(default = "default_tun_device")]
    pub tun_device: String,
    /// Path of the control socket; `/run/getvpn/<name>.sock` when absent.
    #[serde(default)]
    pub control_socket: Option<PathBuf>,
    /// HTTP endpoint for probes and Prometheus.
    #[serde(default)]
    pub metrics: Option<MetricsConfig>,
    /// How this member names itself to key servers.
    pub identity: IdentityConfig,
    /// Largest encrypted packet in octets; 0 learns it from the protected interfaces.
    #[serde(default)]
    pub mtu_bytes: u16,
    /// What happens to traffic before the first registration.
    #[serde(default)]
    pub failure_mode: FailureMode,
    /// Flows that go in clear before the first registration, as this member sends them.
    #[serde(default)]
    pub allow_clear: Vec<FlowEntry>,
    /// Whether the groups' `bypass` flows also go in clear before the first registration.
    #[serde(default)]
    pub local_bypass: LocalBypass,
    /// The member's UDP ports.
    #[serde(default)]
    pub ike: IkeConfig,
    /// Numbers of the kernel objects this member makes.
    #[serde(default)]
    pub network: NetworkConfig,
    /// Services that are translated before encryption.
    #[serde(default)]
    pub services: Services,
    /// The groups to join, in order of precedence.
    pub groups: Vec<GroupConfig>,
    /// Folder that relative file names start from; set by [`Config::load`].
    #[serde(skip)]
    pub base: PathBuf,
}

/// Where probes and metrics are served.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricsConfig {
    /// Address and port.
    pub listen: SocketAddr,
}

/// An IKE identity (RFC 7296 §3.5).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityConfig {
    /// Kind of name.
    #[serde(rename = "type")]
    pub kind: IdentityKind,
    /// The name; for a key server, a leading `*.` stands for one or more labels.
    pub value: String,
}

/// Kind of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum IdentityKind {
    /// Fully qualified domain name.
    #[serde(rename = "FQDN")]
    Fqdn,
    /// Opaque octets, written as text.
    #[serde(rename = "KeyID")]
    KeyId,
    /// Distinguished name of the certificate's subject, as RFC 4514 writes it.
    DistinguishedName,
}

/// What happens to traffic before the first registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum FailureMode {
    /// Everything but `allowClear` is dropped.
    #[default]
    FailClosed,
    /// Everything goes in clear.
    FailOpen,
}

/// Whether bypass flows are open before registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum LocalBypass {
    /// They are.
    #[default]
    Include,
    /// They are dropped like everything else.
    Exclude,
}

/// The member's UDP ports.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IkeConfig {
    /// Source port of registration, and where unicast rekeys arrive; 0 lets the kernel choose.
    pub port: u16,
}

impl Default for IkeConfig {
    fn default() -> Self {
        Self { port: 848 }
    }
}

/// Numbers of the kernel objects this member makes; change them when they collide with others.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Socket mark that exempts our own packets from drop rules and from the group's routes.
    pub mark: u32,
    /// Number of the routing table that leads into the TUN device; the next number is used for
    /// encrypted packets in transit.
    pub routing_table: u32,
    /// Preference of our first routing rule; the rest follow it.
    pub rule_preference: u32,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        // The mark stays clear of the bits Kubernetes (0x4000, 0x8000), Cilium (0x0f00) and
        // Calico (upper half) give a meaning to.
        Self {
            mark: 0x47,
            routing_table: 7848,
            rule_preference: 7000,
        }
    }
}

/// One group.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupConfig {
    /// The group identification number.
    #[serde(rename = "groupID")]
    pub group_id: u32,
    /// Key servers as `address:port`, the preferred one first, 1–8.
    pub key_servers: Vec<SocketAddr>,
    /// Who may be a key server of this group; a leading `*.` of an FQDN matches any host below.
    pub key_server_identities: Vec<IdentityConfig>,
    /// How member and key server prove who they are.
    pub authentication: AuthenticationConfig,
    /// Flows that always go in clear, as this member sends them; they come before the group's list.
    #[serde(default)]
    pub bypass: Vec<FlowEntry>,
    /// Overrides the group's direction.
    #[serde(default)]
    pub direction: DirectionConfig,
    /// Where the network carries no multicast: addresses of the group's other members. A copy of every multicast packet
    /// of the group goes to each, and copies of theirs are accepted. Absent: multicast goes as multicast.
    #[serde(default)]
    pub multicast_receivers: Option<Vec<IpAddr>>,
}

/// Which way a group's SAs are used by this member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum DirectionConfig {
    /// As the group says.
    #[default]
    Inherit,
    /// Encrypts, and accepts only encrypted packets.
    Bidirectional,
    /// Sends in clear, accepts encrypted and clear packets.
    InboundOnly,
    /// Encrypts, accepts encrypted and clear packets.
    InboundOptional,
}

/// Credentials towards the key servers: exactly one of the two.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthenticationConfig {
    /// File with the pre-shared key as hexadecimal digits, at least 32.
    #[serde(default)]
    pub pre_shared_key_file: Option<PathBuf>,
    /// Certificate files.
    #[serde(default)]
    pub certificate: Option<CertificateConfig>,
}

/// Files of a certificate identity, all PEM.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateConfig {
    /// Our certificate, then the intermediate authorities.
    pub chain_file: PathBuf,
    /// Our private key.
    pub key_file: PathBuf,
    /// Authorities that may have issued a key server's certificate.
    pub trust_file: PathBuf,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        cause: std::io::Error,
    },
    /// The text is no YAML, or holds an unknown or missing field.
    #[error("{}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column and cause.
        message: String,
    },
    /// A field holds a value that makes no sense.
    #[error("{}: {field}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Path of the field, such as `groups[0].keyServers`.
        field: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
}

fn default_tun_device() -> String {
    "getvpn0".to_owned()
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// [`ConfigError`], naming file, field and remedy.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Unreadable {
            path: path.to_owned(),
            cause,
        })?;
        let mut config = Self::parse(&text, path)?;
        config.base = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(config)
    }

    /// Parses and checks `text`; `path` is only named in errors.
    ///
    /// # Errors
    /// [`ConfigError`] as for [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self =
            serde_saphyr::from_str(text).map_err(|error| ConfigError::Malformed {
                path: path.to_owned(),
                message: error.without_snippet().to_string(),
            })?;
        config.check().map_err(|complaint| ConfigError::Invalid {
            path: path.to_owned(),
            field: complaint.field,
            problem: complaint.problem,
        })?;
        Ok(config)
    }

    /// Where the control socket is.
    pub fn control_socket(&self) -> PathBuf {
        self.control_socket
            .clone()
            .unwrap_or_else(|| PathBuf::from(format!("/run/getvpn/{}.sock", self.name)))
    }

    /// `file` as written, or below the configuration's folder when relative.
    pub fn resolve(&self, file: &Path) -> PathBuf {
        self.base.join(file)
    }

    /// Key servers of all groups.
    pub fn key_servers(&self) -> Vec<SocketAddr> {
        let groups = self.groups.iter();
        groups
            .flat_map(|group| group.key_servers.iter().copied())
            .collect()
    }

    /// Where copies of multicast go.
    pub fn multicast_copies(&self) -> MulticastCopies {
        let copies = self.groups.iter().filter_map(|group| {
            let receivers = group.multicast_receivers.clone()?;
            Some((group.group_id, receivers))
        });
        MulticastCopies(copies.collect())
    }

    /// Flows in clear before registration: `allowClear`, and with `localBypass: Include` the
    /// bypass flows of every group.
    pub fn clear_before_registration(&self) -> Vec<Selector> {
        let bypass = match self.local_bypass {
            LocalBypass::Include => self.groups.as_slice(),
            LocalBypass::Exclude => &[],
        };
        let bypass = bypass.iter().flat_map(GroupConfig::bypass_selectors);
        let allowed = self.allow_clear.iter().flat_map(FlowEntry::selectors);
        allowed.chain(bypass).collect()
    }
}

impl GroupConfig {
    /// The bypass list, expanded.
    pub fn bypass_selectors(&self) -> Vec<Selector> {
        self.bypass.iter().flat_map(FlowEntry::selectors).collect()
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
