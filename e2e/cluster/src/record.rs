//! Processes that the cluster started: recorded with their start time, and ended by it.
//!
//! A process id alone may belong to somebody else by now; id and start time together name one process,
//! so nothing is ever signalled that the cluster did not start.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// How long a killed process may take to be gone.
const END: Duration = Duration::from_secs(20);

/// Name of a machine's first process.
pub(crate) const FIRST: &str = "init";

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// What it is: `kubelet`, or `init` for the first process of a machine.
    pub name: String,
    /// The machine it runs in; none for one that runs outside.
    pub machine: Option<String>,
    /// Process id, as seen outside of the machines.
    pub pid: i32,
    /// Start time in clock ticks since the system started (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
}

impl Process {
    /// Records a process that runs now.
    ///
    /// # Errors
    /// When it does not run.
    pub fn of(name: &str, machine: Option<&str>, pid: i32) -> Result<Self> {
        let (start_time, _) =
            stat(pid).with_context(|| format!("{name} (process {pid}) ended at once"))?;
        Ok(Self {
            name: name.to_owned(),
            machine: machine.map(str::to_owned),
            pid,
            start_time,
        })
    }

    /// Whether it is the first process of a machine.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.name == FIRST
    }

    /// Whether it runs (a zombie does not).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let _ = waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG));
        stat(self.pid).is_some_and(|(start_time, state)| {
            start_time == self.start_time && !matches!(state, 'Z' | 'X')
        })
    }

    /// Sends a signal if it is still this process.
    ///
    /// # Errors
    /// When the signal may not be sent; a process that is gone is no error.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot signal {}", self.name)),
        }
    }

    /// Ends it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// When it is still there at the deadline.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        let deadline = Instant::now() + END;
        while self.is_alive() {
            if Instant::now() > deadline {
                bail!("{} (process {}) does not end", self.name, self.pid);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Start time and state of a process.
fn stat(pid: i32) -> Option<(u64, char)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may itself contain any character.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    let start_time = fields.nth(18)?.parse().ok()?;
    Some((start_time, state))
}

/// All processes of the cluster, kept in a file of its state directory.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Records {
    #[serde(skip)]
    file: PathBuf,
    processes: Vec<Process>,
}

impl Records {
    /// Reads the records of the cluster in `state`; empty when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn read(state: &Path) -> Result<Self> {
        let file = state.join("processes.json");
        let mut records = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} is damaged", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", file.display()));
            }
        };
        records.file = file;
        Ok(records)
    }

    /// The last recorded process of that name in that machine.
    #[must_use]
    pub fn find(&self, name: &str, machine: Option<&str>) -> Option<&Process> {
        self.processes
            .iter()
            .rev()
            .find(|process| process.name == name && process.machine.as_deref() == machine)
    }

    /// Every recorded process.
    #[must_use]
    pub fn all(&self) -> &[Process] {
        &self.processes
    }

    /// Adds a process in place of an earlier one of the same name, and writes the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put(&mut self, process: Process) -> Result<()> {
        self.processes
            .retain(|old| old.name != process.name || old.machine != process.machine);
        self.processes.push(process);
        self.write()
    }

    fn write(&self) -> Result<()> {
        let part = self.file.with_extension("part");
        fs::write(&part, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&part, &self.file))
            .with_context(|| format!("cannot write {}", self.file.display()))
    }
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn a_process_with_the_id_but_not_the_start_time_is_not_signalled() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep");
        let pid = i32::try_from(child.id()).expect("id");
        let right = Process::of("sleep", None, pid).expect("it runs");
        let wrong = Process {
            start_time: right.start_time + 1,
            ..right.clone()
        };
        wrong.signal(Signal::SIGKILL).expect("nothing to do");
        assert!(right.is_alive());
        right.kill().expect("ends");
        assert!(!right.is_alive());
        let _ = child.wait();
    }

    #[test]
    fn a_restarted_program_replaces_its_record_in_the_same_machine_only() {
        let directory = std::env::temp_dir().join(format!("getvpn-records-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("directory");
        let mut records = Records::read(&directory).expect("empty");
        let process = |machine: &str, pid| Process {
            name: "kubelet".to_owned(),
            machine: Some(machine.to_owned()),
            pid,
            start_time: 1,
        };
        for (machine, pid) in [("node-1", 1), ("node-2", 2), ("node-1", 3)] {
            records.put(process(machine, pid)).expect("written");
        }
        let again = Records::read(&directory).expect("written");
        let pids: Vec<i32> = again.all().iter().map(|process| process.pid).collect();
        assert_eq!(pids, [2, 3]);
        assert_eq!(
            again.find("kubelet", Some("node-1")).map(|p| p.pid),
            Some(3)
        );
        fs::remove_dir_all(directory).expect("removed");
    }
}
