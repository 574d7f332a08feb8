//! What a lab that is up consists of, as recorded in its directory.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use keyserver_api::policy::{GroupPolicy, Rule};
use serde::{Deserialize, Serialize};

use super::address::NodeAddresses;
use super::error::LabError;
use super::name::{LabName, STATE_ROOT};
use super::process::ProcessRecord;

/// Version of the record's layout.
const FORMAT: u32 = 1;

/// What a node of the lab is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeRole {
    /// A key server.
    KeyServer,
    /// A group member.
    Member,
}

/// One node: a namespace with one process of the product.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Node {
    /// Its name, `ks-0` or `m-1`.
    pub name: String,
    /// What it is.
    pub role: NodeRole,
    /// Its namespace.
    pub namespace: String,
    /// Its addresses.
    pub addresses: NodeAddresses,
    /// Its IKE identity, with its type: `FQDN:m-1.member.getvpn`.
    pub identity: String,
    /// Flows that a member leaves in clear by its own list, which comes before the groups' rules.
    #[serde(default)]
    pub bypass: Vec<Rule>,
    /// Names of the groups it serves or is a member of.
    pub groups: Vec<String>,
    /// The program.
    pub program: PathBuf,
    /// The program's configuration file.
    pub configuration: PathBuf,
    /// File that collects both outputs of the program.
    pub log: PathBuf,
    /// A key server's admin API.
    pub admin: Option<SocketAddr>,
    /// A key server's priority.
    pub priority: Option<u8>,
    /// A member's control socket.
    pub control_socket: Option<PathBuf>,
    /// The process; `None` before its first start.
    pub process: Option<ProcessRecord>,
}

impl Node {
    /// Whether the node's process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_some_and(|process| process.is_alive())
    }

    /// The last lines of the node's log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        let first = all.len().saturating_sub(lines);
        let tail = all.get(first..).unwrap_or_default();
        tail.iter().map(|line| format!("  {line}\n")).collect()
    }
}

/// One group of the lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    /// The policy that was pushed.
    pub policy: GroupPolicy,
    /// Names of the key servers that serve it, in priority order.
    pub key_servers: Vec<String>,
}

/// A lab that is up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lab {
    format: u32,
    /// Its name.
    pub name: String,
    /// The file it was made from.
    pub source: PathBuf,
    /// Its groups.
    pub groups: Vec<Group>,
    /// Its nodes: key servers first, then members.
    pub nodes: Vec<Node>,
    /// The core's multicast router.
    pub multicast_router: Option<ProcessRecord>,
    #[serde(skip)]
    recorded_name: Option<LabName>,
}

impl Lab {
    /// Claims the name by creating the lab's directory: of two that try, one succeeds.
    ///
    /// # Errors
    /// [`LabError::AlreadyUp`] when the directory exists.
    pub fn claim(name: &LabName) -> Result<(), LabError> {
        let root = Path::new(STATE_ROOT);
        let directory = name.directory();
        // The last lab that ends removes the root, perhaps between these two calls.
        for _ in 0..10 {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(root)
                .map_err(LabError::file("create", root))?;
            match fs::DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    return Err(LabError::AlreadyUp {
                        name: name.to_string(),
                    });
                }
                Err(error) => return Err(LabError::file("create", &directory)(error)),
            }
        }
        Err(LabError::Environment(format!(
            "{STATE_ROOT} is removed again and again by another lab that ends; try again"
        )))
    }

    /// A new record, not yet saved.
    #[must_use]
    pub fn new(name: &LabName, source: PathBuf, groups: Vec<Group>, nodes: Vec<Node>) -> Self {
        Self {
            format: FORMAT,
            name: name.to_string(),
            source,
            groups,
            nodes,
            multicast_router: None,
            recorded_name: Some(name.clone()),
        }
    }

    /// Reads the record of a lab that is up.
    ///
    /// # Errors
    /// [`LabError::NotUp`] when there is none; other errors when it cannot be read.
    pub fn open(name: &LabName) -> Result<Self, LabError> {
        let path = name.state_file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(LabError::NotUp {
                    name: name.to_string(),
                });
            }
            Err(error) => return Err(LabError::file("read", &path)(error)),
        };
        let mut lab: Self = serde_json::from_str(&text)
            .map_err(|error| LabError::file("read", &path)(error.into()))?;
        if lab.format != FORMAT {
            return Err(LabError::Environment(format!(
                "lab `{name}` was started by another version of this program: end it with `kubectl getvpn lab down --name {name}`"
            )));
        }
        lab.recorded_name = Some(name.clone());
        Ok(lab)
    }

    /// Names of the labs that have a directory now, sorted.
    #[must_use]
    pub fn names() -> Vec<LabName> {
        let mut names: Vec<LabName> = fs::read_dir(STATE_ROOT)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        names.sort();
        names
    }

    /// The lab's checked name.
    ///
    /// # Panics
    /// Never: a record is made or opened with its name.
    #[must_use]
    pub fn lab_name(&self) -> &LabName {
        self.recorded_name
            .as_ref()
            .expect("set by `new` and by `open`")
    }

    /// Writes the record, whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self) -> Result<(), LabError> {
        let path = self.lab_name().state_file();
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| LabError::file("write", &path)(error.into()))?;
        let draft = path.with_extension("json.new");
        write_private(&draft, text.as_bytes())?;
        fs::rename(&draft, &path).map_err(LabError::file("write", &path))
    }

    /// The node of this name.
    ///
    /// # Errors
    /// [`LabError::UnknownNode`], which lists the names there are.
    pub fn node(&self, name: &str) -> Result<&Node, LabError> {
        let index = self.node_index(name)?;
        Ok(&self.nodes[index])
    }

    /// The node of this name, to change it.
    ///
    /// # Errors
    /// [`LabError::UnknownNode`], which lists the names there are.
    pub fn node_mut(&mut self, name: &str) -> Result<&mut Node, LabError> {
        let index = self.node_index(name)?;
        Ok(&mut self.nodes[index])
    }

    fn node_index(&self, name: &str) -> Result<usize, LabError> {
        self.nodes
            .iter()
            .position(|node| node.name == name)
            .ok_or_else(|| LabError::UnknownNode {
                lab: self.name.clone(),
                node: name.to_owned(),
                known: self
                    .nodes
                    .iter()
                    .map(|node| node.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }

    /// All key servers.
    pub fn key_servers(&self) -> impl Iterator<Item = &Node> {
        self.nodes
            .iter()
            .filter(|node| node.role == NodeRole::KeyServer)
    }

    /// All members.
    pub fn members(&self) -> impl Iterator<Item = &Node> {
        self.nodes
            .iter()
            .filter(|node| node.role == NodeRole::Member)
    }

    /// The name of the node with this address.
    #[must_use]
    pub fn name_of(&self, address: IpAddr) -> Option<&str> {
        self.nodes
            .iter()
            .find(|node| match address {
                IpAddr::V4(ipv4) => node.addresses.ipv4 == ipv4,
                IpAddr::V6(ipv6) => node.addresses.ipv6 == ipv6,
            })
            .map(|node| node.name.as_str())
    }
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), LabError> {
    fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(LabError::file("write", path))
}
