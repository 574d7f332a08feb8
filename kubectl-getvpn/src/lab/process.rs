//! Processes of the lab: started in a namespace, recorded with their start time, and ended.
//!
//! A process id alone may have been given to somebody else meanwhile; id and start time together
//! name one process, so nothing that the lab did not start is ever signalled.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::error::LabError;

/// How often the end of a process is looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// One process, told apart from a later one with the same id by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since the machine started (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
}

impl ProcessRecord {
    /// Starts a program in a namespace, in a session of its own, with both outputs to a file.
    ///
    /// # Errors
    /// When the log file cannot be opened or the program cannot be started.
    pub fn start(
        namespace: &str,
        program: &Path,
        arguments: &[OsString],
        log: &Path,
    ) -> Result<Self, LabError> {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(log)
            .map_err(LabError::file("open", log))?;
        let errors = output.try_clone().map_err(LabError::file("open", log))?;
        // `setsid` and `ip netns exec` replace themselves, so the id stays the same.
        let child = Command::new("setsid")
            .args(["ip", "netns", "exec", namespace])
            .arg(program)
            .args(arguments)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(LabError::system(format!("start {}", program.display())))?;
        let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
        let start_time = Stat::read(pid).map_or(0, |stat| stat.start_time);
        Ok(Self { pid, start_time })
    }

    /// Whether the process runs (a zombie does not).
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let _ = waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG));
        Stat::read(self.pid)
            .is_some_and(|stat| stat.start_time == self.start_time && !stat.is_dead())
    }

    /// Sends a signal, if it is still this process.
    ///
    /// # Errors
    /// When the signal may not be sent; a process that is gone is no error.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        if !self.is_alive() {
            return Ok(());
        }
        send(self.pid, signal)
    }

    /// Waits until the process is gone.
    ///
    /// # Errors
    /// When it still runs at the deadline.
    pub fn wait_gone(&self, limit: Duration) -> Result<(), LabError> {
        let start = Instant::now();
        while self.is_alive() {
            if start.elapsed() > limit {
                return Err(LabError::Deadline {
                    waiting_for: format!("the end of process {}", self.pid),
                    after: limit,
                    last: "it still runs".to_owned(),
                });
            }
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

/// Sends a signal to a process; one that is gone is no error.
pub(crate) fn send(pid: i32, signal: Signal) -> Result<(), LabError> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(LabError::system(format!("send {signal} to process {pid}"))(
            error,
        )),
    }
}

/// Kills all of these processes and waits until none is left.
pub(crate) fn kill_all(pids: &[i32], limit: Duration) -> Result<(), LabError> {
    let records: Vec<ProcessRecord> = pids
        .iter()
        .filter_map(|pid| {
            Some(ProcessRecord {
                pid: *pid,
                start_time: Stat::read(*pid)?.start_time,
            })
        })
        .collect();
    for record in &records {
        record.signal(Signal::SIGKILL)?;
    }
    records
        .iter()
        .try_for_each(|record| record.wait_gone(limit))
}

/// What `/proc/PID/stat` says that matters here.
struct Stat {
    state: char,
    start_time: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The program's name stands in parentheses and may itself hold spaces and parentheses.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        // Field 22 of the line is the 19th after the state, which is field 3.
        let start_time = fields.nth(18)?.parse().ok()?;
        Some(Self { state, start_time })
    }

    fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_a_program_name_with_parentheses() {
        let line = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9 9";
        let stat = Stat::parse(line).expect("well-formed");
        assert_eq!(stat.start_time, 4242);
        assert!(!stat.is_dead());
    }

    #[test]
    fn a_process_id_that_now_belongs_to_another_process_is_not_signalled() {
        let own = i32::try_from(std::process::id()).expect("small");
        let stranger = ProcessRecord {
            pid: own,
            start_time: 1,
        };
        assert!(!stranger.is_alive());
        stranger.signal(Signal::SIGKILL).expect("nothing to do");
    }
}
