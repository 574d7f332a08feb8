//! Real key servers for one run: their files, their processes, and the group that members join.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use keyserver_api::client::Client;
use keyserver_api::policy::GroupPolicy;
use keyserver_api::status::ServerRole;
use kubectl_getvpn::lab::provision::certificates::{Authority as TlsAuthority, Subject};
use runtime::tls::TlsFiles;
use serde_json::{Value, json};

use super::credentials::{Authority, member_name};
use super::ports::Ports;
use super::{GROUP, GROUP_ID};

/// Most key servers of a group.
const MOST: usize = 8;
/// How long key servers may take to serve.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// How members prove who they are to these key servers.
pub enum Trust<'a> {
    /// These pre-shared keys, of member 0 and the following.
    PreSharedKeys(&'a [Vec<u8>]),
    /// Certificates of this authority.
    Certificates(&'a Authority),
}

/// How the group is set up.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Members a unicast rekey is sent to at a time.
    pub batch_size: u32,
    /// How long an acknowledgement is waited for before the rekey is sent to that member again.
    pub acknowledgement_timeout: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        let policy = keyserver_api::policy::RekeyPolicy::default();
        Self {
            batch_size: policy.batch_size,
            acknowledgement_timeout: Duration::from_millis(
                policy.acknowledgement_timeout_ms.into(),
            ),
        }
    }
}

struct KeyServer {
    name: String,
    ike: SocketAddr,
    admin: SocketAddr,
    child: Option<Child>,
}

/// Key servers that run until this is dropped.
pub struct Servers {
    servers: Vec<KeyServer>,
    client: Client,
    _ports: Ports,
    directory: tempfile::TempDir,
}

impl Servers {
    /// Starts `count` key servers from the programs in `programs`, and waits until they serve the group.
    ///
    /// # Errors
    /// When a program is missing or ends, or the group is not there in time.
    pub async fn start(
        count: usize,
        programs: &Path,
        trust: &Trust<'_>,
        terms: Terms,
    ) -> Result<Self> {
        ensure!((1..=MOST).contains(&count), "1 to {MOST} key servers");
        let program = programs.join("keyserver");
        ensure!(
            program.is_file(),
            "{} does not exist; build it with `cargo build --workspace --release`",
            program.display()
        );
        let directory = tempfile::Builder::new().prefix("getvpn-load-").tempdir()?;
        let mut ports = Ports::default();
        let servers = plan(count, &mut ports)?;
        let client = write_all(directory.path(), &servers, trust, &mut ports)?;
        let mut running = Self {
            servers,
            client,
            _ports: ports,
            directory,
        };
        running.spawn(&program)?;
        running.ready(terms).await?;
        Ok(running)
    }

    /// Where members register.
    #[must_use]
    pub fn ike(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|server| server.ike).collect()
    }

    /// The ids of the processes.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        let children = self.servers.iter().filter_map(|it| it.child.as_ref());
        children.map(Child::id).collect()
    }

    /// A client of the admin API.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The client of the key server that is primary now.
    ///
    /// # Errors
    /// When there is none.
    pub async fn primary(&self) -> Result<Client> {
        let status = self.client.status().await?;
        let address = status.primary_admin_address.context("no primary")?;
        Ok(self.client.clone().at(vec![address]))
    }

    /// What the key servers wrote into their logs about trouble: lines with a warning or an error.
    #[must_use]
    pub fn trouble(&self) -> Vec<String> {
        let mut found = Vec::new();
        for server in &self.servers {
            let log = std::fs::read_to_string(self.log(&server.name)).unwrap_or_default();
            let lines = log
                .lines()
                .filter(|line| line.contains("WARN") || line.contains("ERROR"));
            found.extend(lines.map(|line| format!("{}: {line}", server.name)));
        }
        found
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.log"))
    }

    fn spawn(&mut self, program: &Path) -> Result<()> {
        for index in 0..self.servers.len() {
            let name = self.servers[index].name.clone();
            let log = std::fs::File::create(self.log(&name))?;
            let child = Command::new(program)
                .arg("--config")
                .arg(self.directory.path().join(format!("{name}.yaml")))
                .env("GETVPN_LOG", "info")
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log)
                .spawn()
                .with_context(|| program.display().to_string())?;
            self.servers[index].child = Some(child);
        }
        Ok(())
    }

    /// Waits until every key server has the group with its keys.
    async fn ready(&mut self, terms: Terms) -> Result<()> {
        let deadline = runtime::clock::now() + PATIENCE;
        let policy = policy(terms)?;
        let mut made = false;
        loop {
            self.check_alive()?;
            if !made && self.is_led().await {
                self.client.put_group(&policy).await?;
                made = true;
            }
            if made && self.is_keyed().await {
                return Ok(());
            }
            if runtime::clock::now() > deadline {
                bail!(
                    "the key servers do not serve the group within {} s",
                    PATIENCE.as_secs()
                );
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn check_alive(&mut self) -> Result<()> {
        for index in 0..self.servers.len() {
            let name = self.servers[index].name.clone();
            let Some(child) = &mut self.servers[index].child else {
                continue;
            };
            if let Some(status) = child.try_wait()? {
                let log = std::fs::read_to_string(self.log(&name)).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default();
                bail!("key server {name} has ended ({status}): {last}");
            }
        }
        Ok(())
    }

    /// Whether every key server knows the primary.
    async fn is_led(&self) -> bool {
        for server in &self.servers {
            let client = self.client.clone().at(vec![server.admin.to_string()]);
            let led = client.status().await.is_ok_and(|status| {
                status.role != ServerRole::NoQuorum && status.primary_admin_address.is_some()
            });
            if !led {
                return false;
            }
        }
        true
    }

    /// Whether every key server has the group's keys.
    async fn is_keyed(&self) -> bool {
        for server in &self.servers {
            let client = self.client.clone().at(vec![server.admin.to_string()]);
            let keyed = client
                .group(GROUP)
                .await
                .is_ok_and(|status| status.rekey_sa.is_some() && !status.traffic_keys.is_empty());
            if !keyed {
                return false;
            }
        }
        true
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in self.servers.iter_mut().filter_map(|it| it.child.as_mut()) {
            // It may have ended already; either way it is waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One IKE port for all, as members expect, so each has an address of its own.
fn plan(count: usize, ports: &mut Ports) -> Result<Vec<KeyServer>> {
    let ike = ports.take()?;
    let servers = (0..count).map(|index| {
        let address = Ipv4Addr::new(127, 0, 2, u8::try_from(index + 1)?);
        Ok(KeyServer {
            name: format!("ks-{index}"),
            ike: SocketAddr::from((address, ike)),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, ports.take()?)),
            child: None,
        })
    });
    servers.collect()
}

/// Writes every file; a client of the admin API that uses them.
fn write_all(
    directory: &Path,
    servers: &[KeyServer],
    trust: &Trust<'_>,
    ports: &mut Ports,
) -> Result<Client> {
    let tls = TlsAuthority::new("getvpn load administration")?;
    write(directory, "tls-ca.pem", tls.certificate())?;
    let sealing_key = hex::encode(runtime::entropy::bytes::<32>());
    write(directory, "sealing.key", &sealing_key)?;
    match trust {
        Trust::PreSharedKeys(keys) => write(directory, "psk.yaml", &key_file(keys))?,
        Trust::Certificates(authority) => write(directory, "ike-ca.pem", &authority.pem())?,
    }
    let nat_traversal = ports.take()?;
    let mut peers = Vec::new();
    for (index, server) in servers.iter().enumerate() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.take()?));
        peers.push(json!({
            "name": server.name, "address": address, "priority": 100 - index * 5,
        }));
    }
    for (index, server) in servers.iter().enumerate() {
        let name = &server.name;
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(directory.join(format!("data-{name}")))?;
        issue(&tls, directory, name)?;
        let identity = format!("{name}.keyserver.getvpn");
        let authentication = match trust {
            Trust::PreSharedKeys(_) => json!({ "preSharedKeysFile": "psk.yaml" }),
            Trust::Certificates(authority) => {
                let path = |suffix: &str| directory.join(format!("ike-{name}.{suffix}"));
                authority.write(&identity, &path("pem"), &path("key"))?;
                json!({ "certificate": {
                    "chainFile": format!("ike-{name}.pem"),
                    "keyFile": format!("ike-{name}.key"),
                    "trustFile": "ike-ca.pem",
                } })
            }
        };
        let (certificate, key) = (format!("tls-{name}.pem"), format!("tls-{name}.key"));
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.take()?));
        let configuration = json!({
            "name": name,
            "dataDirectory": format!("data-{name}"),
            "sealingKeyFile": "sealing.key",
            "priority": peers[index]["priority"],
            "ike": {
                "addresses": [server.ike.ip()],
                "port": server.ike.port(),
                "natTraversalPort": nat_traversal,
            },
            "identity": { "type": "FQDN", "value": identity },
            "authentication": authentication,
            "cooperative": {
                "listen": peers[index]["address"],
                "tls": {
                    "certificateFile": certificate, "keyFile": key, "trustFile": "tls-ca.pem",
                },
                "initialMembers": peers,
            },
            "admin": {
                "listen": server.admin,
                "tls": {
                    "certificateFile": certificate, "keyFile": key,
                    "clientTrustFile": "tls-ca.pem",
                },
            },
            "metrics": { "listen": metrics },
        });
        write_json(directory, &format!("{name}.yaml"), &configuration)?;
    }
    let files = issue(&tls, directory, "administrator")?;
    let addresses = servers.iter().map(|it| it.admin.to_string()).collect();
    let tls = Arc::new(runtime::tls::client(&files)?);
    Ok(Client::new(addresses, tls).with_timeout(PATIENCE))
}

fn issue(tls: &TlsAuthority, directory: &Path, name: &str) -> Result<TlsFiles> {
    let subject = Subject {
        common_name: name.to_owned(),
        dns_names: vec![name.to_owned()],
        addresses: vec![Ipv4Addr::LOCALHOST.into()],
    };
    let files = TlsFiles {
        certificate: directory.join(format!("tls-{name}.pem")),
        key: directory.join(format!("tls-{name}.key")),
        trust: directory.join("tls-ca.pem"),
    };
    tls.issue(&subject, &files.certificate, &files.key)?;
    Ok(files)
}

/// The key servers' file with one key for each member.
fn key_file(keys: &[Vec<u8>]) -> String {
    let lines = keys.iter().enumerate().map(|(index, key)| {
        let (name, key) = (member_name(index), hex::encode(key));
        format!("- {{ identity: {{ type: FQDN, value: {name} }}, key: {key} }}\n")
    });
    lines.collect()
}

fn policy(terms: Terms) -> Result<GroupPolicy> {
    let milliseconds = terms.acknowledgement_timeout.as_millis();
    Ok(serde_json::from_value(json!({
        "name": GROUP,
        "groupId": GROUP_ID,
        "rekey": {
            "batchSize": terms.batch_size,
            "acknowledgementTimeoutMs": u32::try_from(milliseconds)?,
        },
        "securityAssociations": [{
            "name": "all",
            "order": 100,
            "rules": [{
                "name": "any",
                "action": "Permit",
                "source": "10.0.0.0/8",
                "destination": "10.0.0.0/8",
            }],
        }],
    }))?)
}

/// JSON is YAML too.
fn write_json(directory: &Path, name: &str, value: &Value) -> Result<()> {
    write(directory, name, &serde_json::to_string_pretty(value)?)
}

fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    let path = directory.join(name);
    std::fs::write(&path, text).with_context(|| path.display().to_string())
}
