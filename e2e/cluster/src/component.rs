//! One program of the cluster: how it is started, and how one sees that it serves.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::command::tail_of;
use crate::machine::Machine;
use crate::place::Place;
use crate::record::Records;

/// How a program shows that it serves.
#[derive(Debug, Clone)]
enum Sign {
    /// It runs.
    Alive,
    /// It answers 200 at this URL. `http` is asked inside of its machine, `https` from outside with
    /// the administrator's certificate.
    Url(String),
    /// It accepts connections on this socket inside of its machine.
    Socket(String),
}

/// A program of the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Component {
    /// The machine it runs in.
    pub(crate) machine: String,
    /// Its name, and that of its log.
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    sign: Sign,
    limit: Duration,
}

impl Component {
    /// A program without options.
    pub(crate) fn new(machine: &str, name: &'static str, program: PathBuf) -> Self {
        Self {
            machine: machine.to_owned(),
            name,
            program,
            arguments: Vec::new(),
            sign: Sign::Alive,
            limit: Duration::from_secs(5),
        }
    }

    /// Adds `--option=value`.
    pub(crate) fn option(mut self, name: &str, value: &str) -> Self {
        self.arguments.push(format!("{name}={value}"));
        self
    }

    /// Adds an option without a value.
    pub(crate) fn flag(mut self, name: &str) -> Self {
        self.arguments.push(name.to_owned());
        self
    }

    /// It serves when this URL answers.
    pub(crate) fn ready(mut self, url: &str, limit: Duration) -> Self {
        self.sign = Sign::Url(url.to_owned());
        self.limit = limit;
        self
    }

    /// It serves when this socket accepts a connection.
    pub(crate) fn socket(mut self, path: &str, limit: Duration) -> Self {
        self.sign = Sign::Socket(path.to_owned());
        self.limit = limit;
        self
    }

    /// Name of its log, without the suffix.
    pub(crate) fn log_name(&self) -> String {
        format!("{}-{}", self.machine, self.name)
    }

    /// Whether it runs.
    pub(crate) fn is_alive(&self, records: &Records) -> bool {
        records
            .find(self.name, Some(&self.machine))
            .is_some_and(crate::record::Process::is_alive)
    }

    /// Starts it unless it runs; answers whether it was started.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(
        &self,
        place: &Place,
        records: &mut Records,
        machine: &Machine,
    ) -> Result<bool> {
        if self.is_alive(records) {
            return Ok(false);
        }
        machine.spawn(
            records,
            &place.log(&self.log_name()),
            self.name,
            &self.program,
            &self.arguments,
        )?;
        Ok(true)
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// When it ends, or does not serve in time: with the end of its log.
    pub(crate) fn wait(&self, place: &Place, records: &Records, machine: &Machine) -> Result<()> {
        let start = Instant::now();
        let log = place.log(&self.log_name());
        while !self.serves(place, machine) {
            if !self.is_alive(records) {
                bail!(
                    "{} ended: {}\n{}",
                    self.log_name(),
                    log.display(),
                    tail_of(&log, 12)
                );
            }
            if start.elapsed() > self.limit {
                bail!(
                    "{} does not serve after {} s: {}\n{}",
                    self.log_name(),
                    self.limit.as_secs(),
                    log.display(),
                    tail_of(&log, 12)
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn serves(&self, place: &Place, machine: &Machine) -> bool {
        match &self.sign {
            Sign::Alive => true,
            Sign::Socket(path) => {
                // The root directory of the machine as this process sees it.
                UnixStream::connect(format!("/proc/{}/root{path}", machine.init.pid)).is_ok()
            }
            Sign::Url(url) if url.starts_with("https://") => {
                let Some(path) = url.splitn(4, '/').nth(3) else {
                    return false;
                };
                crate::kubectl::program(place).is_ok_and(|kubectl| {
                    succeeds(
                        Command::new(kubectl)
                            .arg("--kubeconfig")
                            .arg(place.kubeconfig())
                            .args(["get", "--raw", &format!("/{path}")]),
                    )
                })
            }
            Sign::Url(url) => http_ok(machine, url),
        }
    }
}

/// Whether an `http` URL of a machine's loopback address answers 200.
fn http_ok(machine: &Machine, url: &str) -> bool {
    let Some((host, path)) = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let ask = || -> Result<String> {
        let mut stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line)
    };
    machine
        .in_network(ask)
        .is_ok_and(|line| line.contains(" 200 "))
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
