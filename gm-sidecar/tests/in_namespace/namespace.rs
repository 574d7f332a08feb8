//! A network namespace with a neighbour, and a member's files; both vanish when dropped.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::LIMIT;

/// The namespace of the member, joined by a cable to one where a neighbour answers.
pub(crate) struct Namespace {
    name: String,
    neighbour: String,
}

impl Namespace {
    pub(crate) fn new(name: &str) -> Self {
        let namespace = Self {
            name: name.to_owned(),
            neighbour: format!("{name}-n"),
        };
        namespace.delete();
        let (own, other) = (namespace.name.as_str(), namespace.neighbour.as_str());
        ip(&["netns", "add", own]);
        ip(&["netns", "add", other]);
        let cable = [
            "link", "add", "eth0", "netns", own, "type", "veth", "peer", "name", "eth0",
        ];
        ip(&[&cable[..], &["netns", other]].concat());
        for (namespace, address) in [(own, "10.99.0.2/24"), (other, "10.99.0.1/24")] {
            ip(&["-n", namespace, "address", "add", address, "dev", "eth0"]);
            ip(&["-n", namespace, "link", "set", "eth0", "up"]);
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        namespace
    }

    /// A command inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    pub(crate) fn output(&self, words: &[&str]) -> String {
        let output = self
            .command(words[0])
            .args(&words[1..])
            .output()
            .expect("ip");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn succeeds(&self, words: &[&str]) -> bool {
        let output = self
            .command(words[0])
            .args(&words[1..])
            .output()
            .expect("ip");
        output.status.success()
    }

    /// Whether a ping gets an answer within a second.
    pub(crate) fn reaches_neighbour(&self) -> bool {
        self.succeeds(&["ping", "-c", "1", "-W", "1", "10.99.0.1"])
    }

    fn delete(&self) {
        for name in [&self.name, &self.neighbour] {
            let _ = Command::new("ip")
                .args(["netns", "delete", name])
                .stderr(Stdio::null())
                .status();
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.delete();
    }
}

/// Files of a member, in a folder of their own.
pub(crate) struct Member {
    name: String,
    folder: tempfile::TempDir,
}

impl Member {
    pub(crate) fn new(name: &str, config: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary directory");
        let member = Self {
            name: name.to_owned(),
            folder,
        };
        let socket = member.socket().display().to_string();
        let config = config.replace("NAME", name).replace("SOCKET", &socket);
        std::fs::write(member.path("member.yaml"), config).expect("temporary file");
        let key = "000102030405060708090a0b0c0d0e0f";
        std::fs::write(member.path("psk.key"), key).expect("temporary file");
        member
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("control.sock")
    }

    pub(crate) fn table(&self) -> String {
        format!("getvpn_{}", self.name)
    }

    pub(crate) fn remove_key(&self) {
        std::fs::remove_file(self.path("psk.key")).expect("it is there");
    }

    /// Starts the member in `namespace`.
    pub(crate) fn start(&self, namespace: &Namespace) -> Running {
        let mut command = self.command(namespace, "run");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().expect("the program"))
    }

    /// Runs one command of the program to its end.
    pub(crate) fn run(&self, namespace: &Namespace, command: &str) -> Output {
        self.command(namespace, command)
            .output()
            .expect("the program")
    }

    /// SIGTERM; `ip netns exec` has become the program, so its process id is the program's.
    pub(crate) fn terminate(&self, process: &Child) {
        let id = Pid::from_raw(i32::try_from(process.id()).expect("a process id"));
        kill(id, Signal::SIGTERM).expect("it runs");
    }

    fn command(&self, namespace: &Namespace, command: &str) -> Command {
        let mut started = namespace.command(env!("CARGO_BIN_EXE_gm-sidecar"));
        started
            .args([command, "--config"])
            .arg(self.path("member.yaml"));
        started
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The program while it runs; it ends with the test, however that ends.
pub(crate) struct Running(Child);

impl std::ops::Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl std::ops::DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().expect("ip");
    assert!(status.success(), "ip {}", arguments.join(" "));
}

/// Looks again and again until `done`, but not for ever.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
    }
}
