//! The configuration file of a key server: YAML, checked once, every mistake named with its field.

mod file;
mod pre_shared_keys;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyserver_api::identity::IdentityPattern;
use runtime::tls::TlsFiles;
use serde::Deserialize;

pub use pre_shared_keys::{PreSharedKey, pre_shared_keys};

use crate::raft::types::KeyServerNode;
use crate::raft::{InitialMember, Roster, Timing};
use file::{File, resolve};

/// A checked configuration. Paths are as seen from the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name, unique in the group of key servers.
    pub name: String,
    /// Where the state is kept.
    pub data_directory: PathBuf,
    /// File with the key that seals the state.
    pub sealing_key_file: PathBuf,
    /// 1 to 100; the highest becomes primary at first formation.
    pub priority: u8,
    /// Where members register.
    pub ike: Ike,
    /// Who this key server is to members.
    pub identity: IdentityPattern,
    /// How members prove who they are.
    pub authentication: Authentication,
    /// Where and how it works with the other key servers.
    pub cooperative: Cooperative,
    /// The admin endpoint.
    pub admin: Admin,
    /// The endpoint for probes and Prometheus.
    pub metrics: Option<Metrics>,
    /// Times of the consensus.
    pub timing: Timing,
}

/// Where members register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ike {
    /// Own addresses to listen on; an unspecified address stands for all of its family.
    pub addresses: Vec<IpAddr>,
    /// G-IKEv2 port.
    pub port: u16,
    /// Port for members behind address translation.
    pub nat_traversal_port: u16,
}

/// What the file may leave to the environment, so that one file serves all replicas. The file
/// decides where both speak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `GETVPN_NAME`: name of this key server.
    pub name: Option<String>,
    /// `GETVPN_ADDRESSES`: its addresses for members, separated by commas.
    pub addresses: Option<String>,
}

impl Environment {
    /// The environment of this process; an empty variable counts as absent.
    pub fn of_process() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            name: variable("GETVPN_NAME"),
            addresses: variable("GETVPN_ADDRESSES"),
        }
    }
}

/// How members prove who they are; at least one way is set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authentication {
    /// File with one key per member.
    #[serde(default)]
    pub pre_shared_keys_file: Option<PathBuf>,
    /// Certificates.
    #[serde(default)]
    pub certificate: Option<CertificateFiles>,
}

/// Files for authentication by certificate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateFiles {
    /// Own certificate, then intermediates (PEM).
    pub chain_file: PathBuf,
    /// Its private key (PEM).
    pub key_file: PathBuf,
    /// Authorities of members (PEM).
    pub trust_file: PathBuf,
}

/// Work with the other key servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cooperative {
    /// Where it listens for them.
    pub listen: SocketAddr,
    /// How it proves itself to them and whom it accepts.
    pub tls: TlsFiles,
    /// `host:port` by which the others reach it.
    pub own_address: String,
    /// Who forms the group, in order.
    pub initial_members: Vec<InitialMember>,
}

/// The admin endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Address told to others.
    pub address: String,
    /// How it proves itself and which clients it accepts.
    pub tls: TlsFiles,
}

/// The endpoint for probes and Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metrics {
    /// Where it listens, without TLS.
    pub listen: SocketAddr,
}

/// Why a configuration cannot be used. Each message names the file and the field.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        cause: String,
    },
    /// The text is not what is expected.
    #[error("{}{position}: {what}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// `:line:column`, where known.
        position: String,
        /// What was wrong.
        what: String,
    },
    /// A field has a value it must not have.
    #[error("{}: {field}: {what}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field, with the fields around it.
        field: String,
        /// What is wrong and what to do.
        what: String,
    },
}

impl Config {
    /// Reads and checks `path`. Relative paths in it are relative to its directory.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        Self::parse(&read(path)?, path, environment)
    }

    /// Checks `text`, which was read from `path`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(text: &str, path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let file: File = parse(text, path)?;
        let resolved = resolve(&file, environment).map_err(|(field, what)| ConfigError::Field {
            path: path.to_owned(),
            field,
            what,
        })?;
        let directory = path.parent().unwrap_or(Path::new(""));
        let at = |path: PathBuf| directory.join(path);
        let cooperative = Cooperative {
            listen: file.cooperative.listen,
            tls: TlsFiles {
                certificate: at(file.cooperative.tls.certificate_file),
                key: at(file.cooperative.tls.key_file),
                trust: at(file.cooperative.tls.trust_file),
            },
            initial_members: resolved.initial_members,
            own_address: resolved.own_address,
        };
        let admin_address = file
            .admin
            .address
            .unwrap_or_else(|| told_address(file.admin.listen, &cooperative.own_address));
        Ok(Self {
            name: resolved.name,
            data_directory: at(file.data_directory),
            sealing_key_file: at(file.sealing_key_file),
            priority: resolved.priority,
            ike: Ike {
                addresses: resolved.addresses,
                port: file.ike.port,
                nat_traversal_port: file.ike.nat_traversal_port,
            },
            identity: file.identity,
            authentication: Authentication {
                pre_shared_keys_file: file.authentication.pre_shared_keys_file.map(at),
                certificate: file
                    .authentication
                    .certificate
                    .map(|files| CertificateFiles {
                        chain_file: at(files.chain_file),
                        key_file: at(files.key_file),
                        trust_file: at(files.trust_file),
                    }),
            },
            cooperative,
            admin: Admin {
                listen: file.admin.listen,
                address: admin_address,
                tls: TlsFiles {
                    certificate: at(file.admin.tls.certificate_file),
                    key: at(file.admin.tls.key_file),
                    trust: at(file.admin.tls.client_trust_file),
                },
            },
            metrics: file.metrics,
            timing: Timing {
                heartbeat: Duration::from_millis(file.timing.heartbeat_milliseconds),
                election_minimum: Duration::from_millis(file.timing.election_minimum_milliseconds),
                election_maximum: Duration::from_millis(file.timing.election_maximum_milliseconds),
                voter_replacement: Duration::from_secs(file.timing.voter_replacement_seconds),
            },
        })
    }

    /// Whether both agree in everything but what [`Self::roster`] gives.
    pub fn differs_only_in_roster(&self, other: &Self) -> bool {
        let mut same = self.clone();
        same.name.clone_from(&other.name);
        same.priority = other.priority;
        same.cooperative
            .own_address
            .clone_from(&other.cooperative.own_address);
        same.cooperative
            .initial_members
            .clone_from(&other.cooperative.initial_members);
        same.admin.address.clone_from(&other.admin.address);
        same == *other
    }

    /// What the others are told about this key server, and who they are.
    pub fn roster(&self) -> Roster {
        Roster {
            own: KeyServerNode {
                name: self.name.clone(),
                raft_address: self.cooperative.own_address.clone(),
                ike_addresses: self.ike.addresses.clone(),
                admin_address: self.admin.address.clone(),
                priority: self.priority,
                retired: Vec::new(),
            },
            initial_members: self.cooperative.initial_members.clone(),
        }
    }
}

/// The address others use for what listens on `listen`: where that is every address of the host,
/// the host by which the others know this key server.
fn told_address(listen: SocketAddr, own_address: &str) -> String {
    match own_address.rsplit_once(':') {
        Some((host, _)) if listen.ip().is_unspecified() => format!("{host}:{}", listen.port()),
        _ => listen.to_string(),
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::File {
        path: path.to_owned(),
        cause: error.to_string(),
    })
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str, path: &Path) -> Result<T, ConfigError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let position = error
            .location()
            .map(|location| format!(":{}:{}", location.line(), location.column()))
            .unwrap_or_default();
        ConfigError::Syntax {
            path: path.to_owned(),
            position,
            what: error.to_string(),
        }
    })
}
