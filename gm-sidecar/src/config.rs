//! The configuration file: read once, checked completely, turned into types nobody has to check
//! again. Every complaint names the file, the field or line, and what to write instead.

mod flow;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gm_core::spd::Selector;
use serde::Deserialize;

use flow::FlowEntry;

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

/// A complaint about one field, before the file name is known.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    field: String,
    problem: String,
}

impl Complaint {
    fn new(field: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self {
            field: field.to_string(),
            problem: problem.to_string(),
        }
    }
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

    fn check(&self) -> Result<(), Complaint> {
        check_name("name", &self.name, 63)?;
        check_interface("tunDevice", &self.tun_device)?;
        if !(1..=8).contains(&self.interfaces.len()) {
            return Err(Complaint::new(
                "interfaces",
                format!("name 1 to 8 interfaces, not {}", self.interfaces.len()),
            ));
        }
        for (index, interface) in self.interfaces.iter().enumerate() {
            check_interface(&format!("interfaces[{index}]"), interface)?;
            if *interface == self.tun_device {
                return Err(Complaint::new(
                    format!("interfaces[{index}]"),
                    "is the TUN device itself; name the interface that carries the traffic",
                ));
            }
        }
        if self.mtu_bytes != 0 && !(1280..=9000).contains(&self.mtu_bytes) {
            return Err(Complaint::new(
                "mtuBytes",
                format!("must be 0 (learn) or 1280 to 9000, not {}", self.mtu_bytes),
            ));
        }
        check_identity("identity", &self.identity)?;
        check_flows("allowClear", &self.allow_clear)?;
        if self.failure_mode == FailureMode::FailOpen && !self.allow_clear.is_empty() {
            return Err(Complaint::new(
                "allowClear",
                "has no effect with `failureMode: FailOpen`; remove one of the two",
            ));
        }
        self.network.check()?;
        if self.groups.is_empty() {
            return Err(Complaint::new("groups", "name at least one group to join"));
        }
        for (index, group) in self.groups.iter().enumerate() {
            group.check(&format!("groups[{index}]"))?;
            if self.groups[..index]
                .iter()
                .any(|other| other.group_id == group.group_id)
            {
                return Err(Complaint::new(
                    format!("groups[{index}].groupID"),
                    format!("group {} is named twice", group.group_id),
                ));
            }
        }
        Ok(())
    }
}

impl NetworkConfig {
    fn check(&self) -> Result<(), Complaint> {
        if self.mark == 0 {
            return Err(Complaint::new(
                "network.mark",
                "must not be 0, which every other packet carries",
            ));
        }
        if !(256..u32::MAX).contains(&self.routing_table) {
            return Err(Complaint::new(
                "network.routingTable",
                "must be 256 or more; lower numbers belong to the system",
            ));
        }
        if !(1..=28_000).contains(&self.rule_preference) {
            return Err(Complaint::new(
                "network.rulePreference",
                "must be 1 to 28000, before the system's main table at 32766",
            ));
        }
        Ok(())
    }
}

impl GroupConfig {
    /// The bypass list, expanded.
    pub fn bypass_selectors(&self) -> Vec<Selector> {
        self.bypass.iter().flat_map(FlowEntry::selectors).collect()
    }

    fn check(&self, field: &str) -> Result<(), Complaint> {
        if !(1..=8).contains(&self.key_servers.len()) {
            return Err(Complaint::new(
                format!("{field}.keyServers"),
                format!("name 1 to 8 key servers, not {}", self.key_servers.len()),
            ));
        }
        for (index, server) in self.key_servers.iter().enumerate() {
            if server.port() == 0 || server.ip().is_unspecified() || server.ip().is_multicast() {
                return Err(Complaint::new(
                    format!("{field}.keyServers[{index}]"),
                    format!("`{server}` is no key server; write for example 192.0.2.1:848"),
                ));
            }
        }
        if self.key_server_identities.is_empty() {
            return Err(Complaint::new(
                format!("{field}.keyServerIdentities"),
                "say who may be a key server, for example {type: FQDN, value: \"*.keyserver.getvpn\"}",
            ));
        }
        for (index, identity) in self.key_server_identities.iter().enumerate() {
            let field = format!("{field}.keyServerIdentities[{index}]");
            check_identity(&field, identity)?;
            if identity.kind == IdentityKind::DistinguishedName {
                return Err(Complaint::new(
                    format!("{field}.type"),
                    "name a key server by FQDN, which its certificate must hold as well",
                ));
            }
        }
        check_flows(&format!("{field}.bypass"), &self.bypass)?;
        let authentication = &self.authentication;
        match (
            &authentication.pre_shared_key_file,
            &authentication.certificate,
        ) {
            (Some(_), None) | (None, Some(_)) => Ok(()),
            (Some(_), Some(_)) => Err(Complaint::new(
                format!("{field}.authentication"),
                "give preSharedKeyFile or certificate, not both",
            )),
            (None, None) => Err(Complaint::new(
                format!("{field}.authentication"),
                "give preSharedKeyFile or certificate",
            )),
        }
    }
}

fn check_flows(field: &str, flows: &[FlowEntry]) -> Result<(), Complaint> {
    flows.iter().enumerate().try_for_each(|(index, flow)| {
        flow.check()
            .map_err(|problem| Complaint::new(format!("{field}[{index}]"), problem))
    })
}

fn check_name(field: &str, name: &str, longest: usize) -> Result<(), Complaint> {
    let plain = name
        .bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_');
    if plain && (1..=longest).contains(&name.len()) {
        Ok(())
    } else {
        Err(Complaint::new(
            field,
            format!("`{name}` must be 1 to {longest} letters, digits, `-` or `_`"),
        ))
    }
}

fn check_interface(field: &str, name: &str) -> Result<(), Complaint> {
    let plain = name
        .bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || b"-_.@".contains(&octet));
    if plain && (1..=15).contains(&name.len()) && name != "lo" {
        Ok(())
    } else {
        Err(Complaint::new(
            field,
            format!("`{name}` is no interface name of 1 to 15 characters"),
        ))
    }
}

fn check_identity(field: &str, identity: &IdentityConfig) -> Result<(), Complaint> {
    if (1..=255).contains(&identity.value.len()) {
        Ok(())
    } else {
        Err(Complaint::new(
            format!("{field}.value"),
            "must be 1 to 255 octets long",
        ))
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
