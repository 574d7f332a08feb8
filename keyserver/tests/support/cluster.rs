//! Key servers' consensus on loopback, with certificates of a test authority.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keyserver::raft::types::{CommandOctets, KeyServerNode};
use keyserver::raft::{Consensus, InitialMember, Role, Roster, Settings, Timing};
use prometheus_client::metrics::counter::Counter;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use runtime::tls::TlsFiles;
use tokio::sync::watch;

use super::ports::Ports;
use super::{Journal, open};

/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A certificate authority of one test.
pub(crate) struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority whose files go to `directory`.
    pub(crate) fn new(directory: &Path) -> Self {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("certificate");
        std::fs::create_dir_all(directory).expect("directory");
        std::fs::write(directory.join("ca.pem"), certificate.pem()).expect("written");
        Self {
            directory: directory.to_owned(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Credentials for a process at 127.0.0.1.
    pub(crate) fn issue(&self, name: &str) -> TlsFiles {
        let key = KeyPair::generate().expect("key");
        let names = ["127.0.0.1", "localhost", name].map(str::to_owned);
        let params = CertificateParams::new(names).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("certificate");
        let (pem, secret) = (
            self.directory.join(format!("{name}.pem")),
            self.directory.join(format!("{name}.key")),
        );
        std::fs::write(&pem, certificate.pem()).expect("written");
        std::fs::write(&secret, key.serialize_pem()).expect("written");
        TlsFiles {
            certificate: pem,
            key: secret,
            trust: self.directory.join("ca.pem"),
        }
    }
}

/// One running key server.
pub(crate) struct Node {
    /// Its consensus.
    pub(crate) consensus: Consensus<Journal>,
    /// What it applied.
    pub(crate) journal: Journal,
    /// What its configuration says.
    pub(crate) roster: watch::Sender<Roster>,
    /// What it counts as refused.
    pub(crate) refused: Counter,
}

impl Node {
    /// What it waits for.
    pub(crate) fn waits_for(&self) -> String {
        self.consensus
            .waiting()
            .borrow()
            .clone()
            .unwrap_or_default()
    }
}

/// A receiver of what never changes.
pub(crate) fn fixed<T>(value: T) -> watch::Receiver<T> {
    watch::channel(value).1
}

/// Key servers ks-0, ks-1, ... of one test.
pub(crate) struct Cluster {
    _home: tempfile::TempDir,
    home: PathBuf,
    authority: Authority,
    timing: Timing,
    /// How many of them the configuration of one that starts names.
    pub(crate) configured: usize,
    /// Priorities by index.
    priorities: Vec<u8>,
    /// Where they listen.
    pub(crate) addresses: Vec<SocketAddr>,
    _ports: Ports,
    /// Those that run.
    pub(crate) nodes: Vec<Option<Node>>,
}

impl Cluster {
    /// Starts `count` key servers with empty data directories.
    pub(crate) async fn start(count: usize) -> Self {
        Self::start_with(count, Timing::default()).await
    }

    /// Starts `count` key servers with other times.
    pub(crate) async fn start_with(count: usize, timing: Timing) -> Self {
        let mut cluster = Self::prepare(count, timing);
        for index in 0..count {
            cluster.restart(index).await;
        }
        cluster
    }

    /// Starts `count` key servers of these priorities.
    pub(crate) async fn start_with_priorities(count: usize, priorities: Vec<u8>) -> Self {
        let mut cluster = Self::prepare(count, Timing::default());
        cluster.priorities = priorities;
        for index in 0..count {
            cluster.restart(index).await;
        }
        cluster
    }

    /// Makes room for `count` key servers and starts none.
    pub(crate) fn prepare(count: usize, timing: Timing) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let home = directory.path().to_owned();
        let mut ports = Ports::new();
        Self {
            authority: Authority::new(&home.join("tls")),
            timing,
            configured: count,
            priorities: (0..count)
                .map(|index| 100 - u8::try_from(index).expect("few nodes") * 5)
                .collect(),
            addresses: ports.addresses(count),
            _ports: ports,
            nodes: (0..count).map(|_| None).collect(),
            _home: directory,
            home,
        }
    }

    /// What the configuration of key server `index` says now.
    pub(crate) fn roster(&self, index: usize) -> Roster {
        let priority = |index: usize| self.priorities[index];
        Roster {
            own: KeyServerNode {
                name: format!("ks-{index}"),
                raft_address: self.addresses[index].to_string(),
                ike_addresses: vec![self.addresses[index].ip()],
                admin_address: String::new(),
                priority: priority(index),
                retired: Vec::new(),
            },
            initial_members: (0..self.configured)
                .map(|member| InitialMember {
                    name: format!("ks-{member}"),
                    address: self.addresses[member].to_string(),
                    priority: priority(member),
                })
                .collect(),
        }
    }

    /// The data directory of key server `index`.
    pub(crate) fn directory(&self, index: usize) -> PathBuf {
        self.home.join(format!("ks-{index}"))
    }

    /// Credentials from the cluster's own authority.
    pub(crate) fn issue(&self, name: &str) -> TlsFiles {
        self.authority.issue(name)
    }

    /// Starts key server `index` from its data directory, whatever is there.
    pub(crate) async fn spawn(&self, index: usize) -> Node {
        let files = self.authority.issue(&format!("ks-{index}"));
        let journal = Journal::default();
        let (roster, current) = watch::channel(self.roster(index));
        let refused = Counter::default();
        let settings = Settings {
            roster: current,
            listen: self.addresses[index],
            server_tls: fixed(Arc::new(
                runtime::tls::server(&files).expect("server credentials"),
            )),
            client_tls: fixed(Arc::new(
                runtime::tls::client(&files).expect("client credentials"),
            )),
            timing: self.timing,
            refused: refused.clone(),
        };
        let store = open(&self.directory(index)).expect("the store opens");
        let consensus = Consensus::start(settings, store, journal.clone())
            .await
            .expect("the consensus starts");
        Node {
            consensus,
            journal,
            roster,
            refused,
        }
    }

    /// Starts key server `index` again.
    pub(crate) async fn restart(&mut self, index: usize) {
        let node = self.spawn(index).await;
        self.nodes[index] = Some(node);
    }

    /// Ends key server `index` without a word to the others.
    pub(crate) async fn kill(&mut self, index: usize) {
        let node = self.nodes[index].take().expect("it runs");
        node.consensus.raft().shutdown().await.expect("stops");
        drop(node);
        self.released(index).await;
    }

    /// Waits until the tasks of key server `index`, which was ended, have let go of its store.
    pub(crate) async fn released(&self, index: usize) {
        let lock = std::fs::File::open(self.directory(index).join("keyserver.lock")).expect("made");
        until("its tasks have let go of the store", || {
            lock.try_lock().ok()
        })
        .await;
    }

    /// Key server `index`, which must run.
    pub(crate) fn node(&self, index: usize) -> &Node {
        self.nodes[index].as_ref().expect("it runs")
    }

    /// The running key servers.
    pub(crate) fn running(&self) -> impl Iterator<Item = (usize, &Node)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter_map(|(index, node)| node.as_ref().map(|node| (index, node)))
    }

    /// Waits until one key server is primary, and tells which.
    pub(crate) async fn primary(&self) -> usize {
        until("a key server is primary", || {
            self.running()
                .find(|(_, node)| matches!(*node.consensus.role().borrow(), Role::Primary { .. }))
                .map(|(index, _)| index)
        })
        .await
    }

    /// Proposes `command` at key server `index`.
    pub(crate) async fn propose(&self, index: usize, command: &str) -> Vec<u8> {
        let proposer = self.node(index).consensus.proposer();
        let applied = proposer
            .propose(CommandOctets::new(command.into()), PATIENCE)
            .await
            .expect("committed");
        applied.outcome.as_slice().to_vec()
    }

    /// Waits until all running key servers applied exactly `expected`.
    pub(crate) async fn converged(&self, expected: &[Vec<u8>]) {
        until("all key servers applied the same", || {
            self.running()
                .all(|(_, node)| node.journal.commands() == expected)
                .then_some(())
        })
        .await;
    }
}

/// Waits until `check` gives something, for [`PATIENCE`] at most.
pub(crate) async fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = runtime::clock::now() + PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(
            runtime::clock::now() < deadline,
            "timed out waiting until {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
