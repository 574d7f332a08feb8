//! The configuration file of a key server: YAML, checked once, every mistake named with its field.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyserver_api::identity::{IdentityKind, IdentityPattern};
use runtime::tls::TlsFiles;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::raft::{InitialMember, Timing};

/// A checked configuration. Paths are as seen from the working directory.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ike {
    /// Own addresses to listen on; an unspecified address stands for all of its family.
    pub addresses: Vec<IpAddr>,
    /// G-IKEv2 port.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Port for members behind address translation.
    #[serde(default = "default_nat_traversal_port")]
    pub nat_traversal_port: u16,
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
#[derive(Clone, Debug)]
pub struct Cooperative {
    /// Where it listens for them.
    pub listen: SocketAddr,
    /// How it proves itself to them and whom it accepts.
    pub tls: TlsFiles,
    /// Who forms the group, in order.
    pub initial_members: Vec<InitialMember>,
}

/// The admin endpoint.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Address told to others; the listening address unless set.
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

/// One pre-shared key.
pub struct PreSharedKey {
    /// The member.
    pub identity: IdentityPattern,
    /// At least 16 octets.
    pub key: Zeroizing<Vec<u8>>,
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    name: String,
    data_directory: PathBuf,
    sealing_key_file: PathBuf,
    #[serde(default = "default_priority")]
    priority: u8,
    ike: Ike,
    identity: IdentityPattern,
    authentication: Authentication,
    cooperative: CooperativeFile,
    admin: AdminFile,
    #[serde(default)]
    metrics: Option<Metrics>,
    #[serde(default)]
    timing: TimingFile,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CooperativeFile {
    listen: SocketAddr,
    tls: PeerTls,
    initial_members: Vec<MemberFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PeerTls {
    certificate_file: PathBuf,
    key_file: PathBuf,
    trust_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MemberFile {
    name: String,
    address: String,
    #[serde(default = "default_priority")]
    priority: u8,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AdminFile {
    listen: SocketAddr,
    #[serde(default)]
    address: Option<String>,
    tls: AdminTls,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AdminTls {
    certificate_file: PathBuf,
    key_file: PathBuf,
    client_trust_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct TimingFile {
    heartbeat_milliseconds: u64,
    election_minimum_milliseconds: u64,
    election_maximum_milliseconds: u64,
    voter_replacement_seconds: u64,
}

impl Default for TimingFile {
    fn default() -> Self {
        Self {
            heartbeat_milliseconds: 150,
            election_minimum_milliseconds: 500,
            election_maximum_milliseconds: 1000,
            voter_replacement_seconds: 30,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PreSharedKeyFile {
    identity: IdentityPattern,
    key: String,
}

const fn default_port() -> u16 {
    848
}

const fn default_nat_traversal_port() -> u16 {
    4500
}

const fn default_priority() -> u8 {
    100
}

impl Config {
    /// Reads and checks `path`. Relative paths in it are relative to its directory.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&read(path)?, path)
    }

    /// Checks `text`, which was read from `path`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: File = parse(text, path)?;
        check(&file).map_err(|(field, what)| ConfigError::Field {
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
            initial_members: file
                .cooperative
                .initial_members
                .into_iter()
                .map(|member| InitialMember {
                    name: member.name,
                    address: member.address,
                    priority: member.priority,
                })
                .collect(),
        };
        Ok(Self {
            name: file.name,
            data_directory: at(file.data_directory),
            sealing_key_file: at(file.sealing_key_file),
            priority: file.priority,
            ike: file.ike,
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
                address: file
                    .admin
                    .address
                    .unwrap_or_else(|| file.admin.listen.to_string()),
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

    /// The consensus address by which the others know this key server.
    pub fn own_cooperative_address(&self) -> String {
        self.cooperative
            .initial_members
            .iter()
            .find(|member| member.name == self.name)
            .map_or_else(
                || self.cooperative.listen.to_string(),
                |member| member.address.clone(),
            )
    }
}

/// Reads the pre-shared keys in `path`.
///
/// # Errors
/// [`ConfigError`], which never shows a key.
pub fn pre_shared_keys(path: &Path) -> Result<Vec<PreSharedKey>, ConfigError> {
    let text = Zeroizing::new(read(path)?);
    let entries: Vec<PreSharedKeyFile> = parse(&text, path)?;
    let mut keys = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let digits = Zeroizing::new(entry.key);
        let refuse = |what: &str| ConfigError::Field {
            path: path.to_owned(),
            field: format!("[{index}].key of {}", entry.identity),
            what: what.to_owned(),
        };
        let key = Zeroizing::new(hex::decode(digits.trim()).map_err(|_| {
            refuse("is not hexadecimal; write an even number of digits 0-9 and a-f")
        })?);
        if key.len() < 16 {
            return Err(refuse(
                "has fewer than 32 hexadecimal digits; use at least 16 random octets, for example from `openssl rand -hex 32`",
            ));
        }
        keys.push(PreSharedKey {
            identity: entry.identity,
            key,
        });
    }
    Ok(keys)
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

type FieldError = (String, String);

fn check(file: &File) -> Result<(), FieldError> {
    let refuse = |field: &str, what: &str| Err((field.to_owned(), what.to_owned()));
    check_name("name", &file.name)?;
    check_priority("priority", file.priority)?;
    if file.ike.addresses.is_empty() {
        return refuse(
            "ike.addresses",
            "is empty; name at least one address of this host",
        );
    }
    if file.ike.port == 0 || file.ike.port == file.ike.nat_traversal_port {
        return refuse(
            "ike.port",
            "must not be 0 and not the same as natTraversalPort; the standard is 848",
        );
    }
    if file.ike.nat_traversal_port == 0 {
        return refuse(
            "ike.natTraversalPort",
            "must not be 0; the standard is 4500",
        );
    }
    if file.identity.kind == IdentityKind::Address || file.identity.value.is_empty() {
        return refuse(
            "identity",
            "must be an FQDN, a KeyID or a DistinguishedName with a value",
        );
    }
    if file.authentication.pre_shared_keys_file.is_none()
        && file.authentication.certificate.is_none()
    {
        return refuse(
            "authentication",
            "sets neither preSharedKeysFile nor certificate; nobody could register",
        );
    }
    let members = &file.cooperative.initial_members;
    if members.is_empty() || members.len() > 8 {
        return refuse("cooperative.initialMembers", "must name 1 to 8 key servers");
    }
    for (index, member) in members.iter().enumerate() {
        let field = format!("cooperative.initialMembers[{index}]");
        check_name(&format!("{field}.name"), &member.name)?;
        check_priority(&format!("{field}.priority"), member.priority)?;
        let port = member
            .address
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            return Err((
                format!("{field}.address"),
                format!("`{}` is not host:port", member.address),
            ));
        }
        let earlier = members.iter().take(index);
        if earlier.clone().any(|other| other.name == member.name) {
            return Err((
                format!("{field}.name"),
                format!("`{}` is used twice", member.name),
            ));
        }
        if earlier.clone().any(|other| other.address == member.address) {
            return Err((
                format!("{field}.address"),
                format!("`{}` is used twice", member.address),
            ));
        }
    }
    if !members.iter().any(|member| member.name == file.name) {
        return refuse(
            "cooperative.initialMembers",
            "does not name this key server itself",
        );
    }
    check_timing(&file.timing)
}

fn check_name(field: &str, name: &str) -> Result<(), FieldError> {
    let letters = name
        .bytes()
        .all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-');
    if name.is_empty() || name.len() > 63 || !letters {
        return Err((
            field.to_owned(),
            format!("`{name}` is no name; use 1 to 63 lower-case letters, digits and `-`"),
        ));
    }
    Ok(())
}

fn check_priority(field: &str, priority: u8) -> Result<(), FieldError> {
    if (1..=100).contains(&priority) {
        return Ok(());
    }
    Err((field.to_owned(), format!("{priority} is not from 1 to 100")))
}

fn check_timing(timing: &TimingFile) -> Result<(), FieldError> {
    let (heartbeat, minimum, maximum) = (
        timing.heartbeat_milliseconds,
        timing.election_minimum_milliseconds,
        timing.election_maximum_milliseconds,
    );
    if heartbeat < 10
        || minimum < heartbeat.saturating_mul(2)
        || maximum <= minimum
        || maximum > 60_000
    {
        return Err((
            "timing".to_owned(),
            format!(
                "heartbeat {heartbeat} ms, election {minimum} to {maximum} ms: the heartbeat must be at least 10 ms, the shortest election timeout at least twice the heartbeat, the longest more than the shortest and at most 60000 ms"
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name: ks-0
dataDirectory: data
sealingKeyFile: /etc/getvpn/sealing.key
priority: 100
ike: { addresses: ["172.20.0.2"] }
identity: { type: FQDN, value: ks-0.keyserver.getvpn }
authentication:
  preSharedKeysFile: psk.yaml
cooperative:
  listen: "172.20.0.2:9443"
  tls: { certificateFile: ks.pem, keyFile: ks.key, trustFile: ca.pem }
  initialMembers:
  - { name: ks-0, address: "172.20.0.2:9443", priority: 100 }
  - { name: ks-1, address: "172.20.1.2:9443", priority: 95 }
admin:
  listen: "172.20.0.2:9444"
  tls: { certificateFile: ks.pem, keyFile: ks.key, clientTrustFile: ca.pem }
metrics: { listen: "127.0.0.1:9445" }
"#;

    fn parse_at(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("/etc/getvpn/ks-0.yaml")).map_err(|error| error.to_string())
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = parse_at(GOOD).expect("valid");
        assert_eq!(config.data_directory, Path::new("/etc/getvpn/data"));
        assert_eq!(
            config.sealing_key_file,
            Path::new("/etc/getvpn/sealing.key")
        );
        assert_eq!(
            config.cooperative.tls.trust,
            Path::new("/etc/getvpn/ca.pem")
        );
        assert_eq!(
            (config.ike.port, config.ike.nat_traversal_port),
            (848, 4500)
        );
        assert_eq!(config.timing, Timing::default());
        assert_eq!(config.admin.address, "172.20.0.2:9444");
    }

    #[test]
    fn mistakes_are_named_with_file_field_and_remedy() {
        for (from, to, expected) in [
            (
                "priority: 100\nike",
                "priority: 0\nike",
                "ks-0.yaml: priority: 0 is not from 1 to 100",
            ),
            ("name: ks-0\nd", "name: KS_0\nd", "name: `KS_0` is no name"),
            ("[\"172.20.0.2\"]", "[]", "ike.addresses: is empty"),
            (
                "  preSharedKeysFile: psk.yaml",
                "  {}",
                "authentication: sets neither",
            ),
            (
                "{ name: ks-1,",
                "{ name: ks-0,",
                "initialMembers[1].name: `ks-0` is used twice",
            ),
            (
                "address: \"172.20.1.2:9443\"",
                "address: nowhere",
                "initialMembers[1].address: `nowhere` is not host:port",
            ),
            (
                "name: ks-0\nd",
                "name: ks-9\nd",
                "initialMembers: does not name this key server",
            ),
            (
                "metrics:",
                "timing: { heartbeatMilliseconds: 400 }\nmetrics:",
                "timing: heartbeat 400 ms",
            ),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = parse_at(&GOOD.replacen(from, to, 1)).expect_err(to);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_unknown_field_is_named_with_its_line() {
        let error = parse_at(&GOOD.replace("priority: 100\nike", "prioritty: 100\nike"))
            .expect_err("misspelt");
        assert!(error.starts_with("/etc/getvpn/ks-0.yaml:5:"), "{error}");
        assert!(error.contains("prioritty"), "{error}");
    }

    #[test]
    fn a_weak_or_malformed_pre_shared_key_is_refused_without_showing_it() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("psk.yaml");
        for key in ["abcd", "not hexadecimal at all, but long enough"] {
            std::fs::write(
                &path,
                format!("- {{ identity: {{ type: FQDN, value: m-1.member }}, key: \"{key}\" }}\n"),
            )
            .expect("written");
            let Err(error) = pre_shared_keys(&path) else {
                panic!("{key} was accepted");
            };
            assert!(
                error.to_string().contains("[0].key of FQDN:m-1.member"),
                "{error}"
            );
            assert!(!error.to_string().contains(key), "{error}");
        }
        std::fs::write(
            &path,
            format!(
                "- {{ identity: {{ type: FQDN, value: m-1.member }}, key: {} }}\n",
                "0a".repeat(16)
            ),
        )
        .expect("written");
        let keys = pre_shared_keys(&path)
            .map_err(|error| error.to_string())
            .expect("valid");
        assert_eq!(keys[0].key.as_slice(), [10; 16]);
    }
}
