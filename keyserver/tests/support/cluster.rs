//! Key servers' consensus on loopback, with certificates of a test authority.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use keyserver::raft::types::{CommandOctets, KeyServerNode};
use keyserver::raft::{Consensus, InitialMember, Role, Settings, Timing};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use runtime::tls::TlsFiles;

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
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), name.to_owned()])
            .expect("parameters");
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
}

/// Key servers ks-0, ks-1, ... of one test.
pub(crate) struct Cluster {
    _home: tempfile::TempDir,
    home: PathBuf,
    authority: Authority,
    timing: Timing,
    /// Where they listen.
    pub(crate) addresses: Vec<SocketAddr>,
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
        let directory = tempfile::tempdir().expect("temporary directory");
        let home = directory.path().to_owned();
        let mut cluster = Self {
            authority: Authority::new(&home.join("tls")),
            timing,
            addresses: free_addresses(count),
            nodes: Vec::new(),
            _home: directory,
            home,
        };
        for index in 0..count {
            let node = cluster.spawn(index).await;
            cluster.nodes.push(Some(node));
        }
        cluster
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
        let settings = Settings {
            node: KeyServerNode {
                name: format!("ks-{index}"),
                raft_address: self.addresses[index].to_string(),
                ike_addresses: vec![self.addresses[index].ip()],
                admin_address: String::new(),
                priority: 100 - u8::try_from(index).expect("few nodes") * 5,
            },
            listen: self.addresses[index],
            initial_members: (0..self.addresses.len())
                .map(|member| InitialMember {
                    name: format!("ks-{member}"),
                    address: self.addresses[member].to_string(),
                    priority: 100,
                })
                .collect(),
            server_tls: Arc::new(runtime::tls::server(&files).expect("server credentials")),
            client_tls: Arc::new(runtime::tls::client(&files).expect("client credentials")),
            timing: self.timing,
        };
        let store = open(&self.directory(index)).expect("the store opens");
        let consensus = Consensus::start(settings, store, journal.clone())
            .await
            .expect("the consensus starts");
        Node { consensus, journal }
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

/// Loopback addresses nobody listens on.
pub(crate) fn free_addresses(count: usize) -> Vec<SocketAddr> {
    let listeners: Vec<_> = (0..count)
        .map(|_| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound"))
        .collect();
    listeners
        .iter()
        .map(|listener| listener.local_addr().expect("bound"))
        .collect()
}
