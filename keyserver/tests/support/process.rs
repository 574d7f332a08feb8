//! Real key server processes on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use keyserver_api::client::Client;
use keyserver_api::policy::GroupPolicy;
use keyserver_api::status::GroupStatus;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls_pki_types::pem::PemObject;

use super::cluster::{Authority, PATIENCE, until};
use super::ports::Ports;

/// Key servers of one test, each a process of its own.
pub(crate) struct Processes {
    home: PathBuf,
    authority: Authority,
    peers: Vec<SocketAddr>,
    admins: Vec<SocketAddr>,
    metrics: Vec<SocketAddr>,
    ike: Vec<SocketAddr>,
    nat_port: u16,
    children: Vec<Option<Child>>,
    /// Whether the files leave name, addresses and priority out and call the others by name.
    shared: bool,
    /// How many key servers the files name.
    named: usize,
    _ports: Ports,
    _directory: tempfile::TempDir,
}

impl Processes {
    /// Writes the files of `count` key servers and starts none.
    pub(crate) fn prepare(count: usize) -> Self {
        Self::prepare_as(count, false)
    }

    /// The same with files that leave to the environment what differs between replicas, and that
    /// call the others by name.
    pub(crate) fn prepare_shared(count: usize) -> Self {
        Self::prepare_as(count, true)
    }

    /// Writes the files of one key server that members reach at the registered ports of `address`.
    pub(crate) fn prepare_at_registered_ports(address: Ipv4Addr) -> Self {
        let mut processes = Self::prepare(1);
        processes.ike = vec![SocketAddr::from((address, 848))];
        processes.nat_port = 4500;
        processes.write_configuration(0);
        processes
    }

    fn prepare_as(count: usize, shared: bool) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let home = directory.path().to_owned();
        let mut ports = Ports::new();
        let (port, nat_port) = (ports.take(), ports.take());
        let mut addresses = ports.addresses(count * 3);
        let processes = Self {
            authority: Authority::new(&home.join("tls")),
            metrics: addresses.split_off(count * 2),
            admins: addresses.split_off(count),
            peers: addresses,
            // One port for all, as members expect, so each has an address of its own.
            ike: (1..=count)
                .map(|last| SocketAddr::from(([127, 0, 1, u8::try_from(last).expect("few")], port)))
                .collect(),
            nat_port,
            children: (0..count).map(|_| None).collect(),
            shared,
            named: count,
            _ports: ports,
            _directory: directory,
            home,
        };
        let text: String = (1..=9)
            .map(|member| {
                let key = "0c".repeat(32);
                format!("- {{ identity: {{ type: FQDN, value: m-{member}.member.getvpn }}, key: {key} }}\n")
            })
            .collect();
        std::fs::write(processes.home.join("psk.yaml"), text).expect("written");
        std::fs::write(processes.home.join("sealing.key"), "0d".repeat(32)).expect("written");
        for index in 0..count {
            processes.write_configuration(index);
        }
        processes
    }

    /// Names `count` key servers in the file of key server `index`, as it may run now.
    pub(crate) fn name(&mut self, index: usize, count: usize) {
        self.named = count;
        let text = self.text(index);
        std::fs::write(self.configuration(index), text).expect("written");
    }

    fn write_configuration(&self, index: usize) {
        self.authority.issue(&format!("ks-{index}"));
        std::fs::write(self.configuration(index), self.text(index)).expect("written");
    }

    /// Issues the certificate of key server `index` anew; its DER.
    pub(crate) fn issue(&self, index: usize) -> Vec<u8> {
        let files = self.authority.issue(&format!("ks-{index}"));
        let certificate = rustls_pki_types::CertificateDer::from_pem_file(files.certificate);
        certificate.expect("a certificate").to_vec()
    }

    fn text(&self, index: usize) -> String {
        let name = format!("ks-{index}");
        let host = |address: SocketAddr| {
            if self.shared {
                format!("localhost:{}", address.port())
            } else {
                address.to_string()
            }
        };
        let members: String = self
            .peers
            .iter()
            .take(self.named)
            .enumerate()
            .map(|(other, address)| {
                let (address, priority) = (host(*address), 100 - other * 5);
                format!(
                    "  - {{ name: ks-{other}, address: \"{address}\", priority: {priority} }}\n"
                )
            })
            .collect();
        let (ike, nat) = (self.ike[index], self.nat_port);
        let (head, priority, addresses) = if self.shared {
            (String::new(), String::new(), String::new())
        } else {
            (
                format!("name: {name}\n"),
                format!("priority: {}\n", 100 - index * 5),
                format!("addresses: [\"{}\"], ", ike.ip()),
            )
        };
        let told = host(self.admins[index]);
        format!(
            "{head}dataDirectory: data-{index}
sealingKeyFile: sealing.key
{priority}ike: {{ {addresses}port: {port}, natTraversalPort: {nat} }}
identity: {{ type: FQDN, value: {name}.keyserver.getvpn }}
authentication: {{ preSharedKeysFile: psk.yaml }}
cooperative:
  listen: \"{peer}\"
  tls: {{ certificateFile: tls/{name}.pem, keyFile: tls/{name}.key, trustFile: tls/ca.pem }}
  initialMembers:
{members}admin:
  listen: \"{admin}\"
  address: \"{told}\"
  tls: {{ certificateFile: tls/{name}.pem, keyFile: tls/{name}.key, clientTrustFile: tls/ca.pem }}
metrics: {{ listen: \"{metrics}\" }}
",
            port = ike.port(),
            peer = self.peers[index],
            admin = self.admins[index],
            metrics = self.metrics[index],
        )
    }

    /// Where members register with key server `index`.
    pub(crate) fn ike(&self, index: usize) -> SocketAddr {
        self.ike[index]
    }

    /// Where key server `index` serves administrators.
    pub(crate) fn admin(&self, index: usize) -> SocketAddr {
        self.admins[index]
    }

    /// Path of a key server's configuration.
    pub(crate) fn configuration(&self, index: usize) -> PathBuf {
        self.home.join(format!("ks-{index}.yaml"))
    }

    /// Path of a key server's data directory.
    pub(crate) fn data(&self, index: usize) -> PathBuf {
        self.home.join(format!("data-{index}"))
    }

    /// Directory of all files.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Starts key server `index`; its log goes to a file.
    pub(crate) fn start(&mut self, index: usize) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.join(format!("ks-{index}.log")))
            .expect("log file");
        let child = self
            .program(index)
            .stderr(log)
            .spawn()
            .expect("the program starts");
        self.children[index] = Some(child);
    }

    /// Runs key server `index` until it ends by itself; its exit status and last words.
    pub(crate) fn run_to_end(&self, index: usize, arguments: &[&str]) -> (ExitStatus, String) {
        let output = self
            .program(index)
            .args(arguments)
            .stderr(Stdio::piped())
            .output()
            .expect("the program starts");
        (
            output.status,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    fn program(&self, index: usize) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyserver"));
        command
            .arg("--config")
            .arg(self.configuration(index))
            .env("GETVPN_LOG", "info")
            .stdin(Stdio::null());
        if self.shared {
            command
                .env("GETVPN_NAME", format!("ks-{index}"))
                .env("GETVPN_ADDRESSES", self.ike[index].ip().to_string());
        }
        command
    }

    /// Sends `signal` to key server `index` and waits for its end.
    pub(crate) fn end(&mut self, index: usize, signal: Signal) -> ExitStatus {
        let mut child = self.children[index].take().expect("it runs");
        kill(pid(&child), signal).expect("it lives");
        child.wait().expect("it ends")
    }

    /// Sends `signal` to key server `index`, which goes on.
    pub(crate) fn signal(&self, index: usize, signal: Signal) {
        let child = self.children[index].as_ref().expect("it runs");
        kill(pid(child), signal).expect("it lives");
    }

    /// Certificate (DER) that the admin endpoint, or with `consensus` the consensus endpoint, of
    /// key server `index` shows to one who connects now.
    pub(crate) async fn shown_certificate(&self, index: usize, consensus: bool) -> Vec<u8> {
        let files = self.authority.issue("visitor");
        let tls = Arc::new(runtime::tls::client(&files).expect("client credentials"));
        let address = if consensus {
            self.peers[index]
        } else {
            self.admins[index]
        };
        let stream = tokio::net::TcpStream::connect(address)
            .await
            .expect("it listens");
        let name = address.ip().into();
        let stream = tokio_rustls::TlsConnector::from(tls)
            .connect(name, stream)
            .await
            .expect("accepted");
        let shown = stream.get_ref().1.peer_certificates().expect("shown");
        shown[0].to_vec()
    }

    /// What the log of key server `index` says.
    pub(crate) fn log(&self, index: usize) -> String {
        std::fs::read_to_string(self.home.join(format!("ks-{index}.log"))).unwrap_or_default()
    }

    /// A client that speaks with the given key servers, in order.
    pub(crate) fn client(&self, indexes: &[usize]) -> Client {
        let files = self.authority.issue("administrator");
        let tls = runtime::tls::client(&files).expect("client credentials");
        let addresses = indexes
            .iter()
            .map(|index| self.admins[*index].to_string())
            .collect();
        Client::new(addresses, Arc::new(tls)).with_timeout(Duration::from_secs(10))
    }

    /// Processor time that key server `index` has used.
    pub(crate) fn processor_time(&self, index: usize) -> std::time::Duration {
        let id = self.children[index].as_ref().expect("it runs").id();
        let text = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("it runs");
        // User and system time in ticks are the 14th and 15th field; the second one ends at the last parenthesis.
        let fields = text.rsplit_once(") ").expect("its form").1;
        let ticks: u64 = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum();
        std::time::Duration::from_millis(ticks * 10)
    }

    /// Waits until key server `index` says it is ready.
    pub(crate) async fn ready(&self, index: usize) {
        let address = self.metrics[index];
        let what = format!("key server {index} is ready");
        until(&what, || {
            let answer = get(address, "/readyz")?;
            answer.starts_with("HTTP/1.1 200").then_some(())
        })
        .await;
    }

    /// What key server `index` publishes at `path`, when it answers.
    pub(crate) fn try_get(&self, index: usize, path: &str) -> Option<String> {
        get(self.metrics[index], path)
    }

    /// What key server `index` publishes at `path`.
    pub(crate) fn get(&self, index: usize, path: &str) -> String {
        get(self.metrics[index], path).expect("it answers")
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for index in 0..self.children.len() {
                eprintln!("--- log of key server {index}\n{}", self.log(index));
            }
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id"))
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: ks\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A policy that protects 10.0.0.0/8.
pub(crate) fn policy(name: &str, group_id: u32) -> GroupPolicy {
    serde_json::from_value(serde_json::json!({
        "name": name,
        "groupId": group_id,
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
    }))
    .expect("a policy")
}

/// Waits until the group of `name` has keys, as `client` sees it.
pub(crate) async fn keyed(client: &Client, name: &str) -> GroupStatus {
    let deadline = runtime::clock::now() + PATIENCE;
    loop {
        if let Ok(status) = client.group(name).await
            && status.rekey_sa.is_some()
            && !status.traffic_keys.is_empty()
        {
            return status;
        }
        assert!(runtime::clock::now() < deadline, "no keys in time");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
