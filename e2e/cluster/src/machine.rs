//! A machine of the cluster: mount, process, network and host name namespaces of its own.
//!
//! When its first process ends, the kernel ends all others, and mounts, interfaces and rules vanish.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};

use crate::command::{run, tail_of};
use crate::place::Place;
use crate::record::{FIRST, Process, Records};

/// What makes a machine of new namespaces.
const SCRIPT: &str = include_str!("../machine.sh");
/// How long namespaces and mounts may take.
const START: Duration = Duration::from_secs(20);

/// A running machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// `control`, `node-1`, …
    pub name: String,
    /// Its first process.
    pub init: Process,
}

impl Machine {
    /// The machine of that name, if it runs.
    #[must_use]
    pub fn find(records: &Records, name: &str) -> Option<Self> {
        let init = records.find(FIRST, Some(name))?;
        init.is_alive().then(|| Self {
            name: name.to_owned(),
            init: init.clone(),
        })
    }

    /// Starts a machine. `init` is the program of its first process; `visible` are directories that
    /// stay at their own paths.
    ///
    /// # Errors
    /// When the kernel refuses a namespace or a mount, with what it said.
    pub(crate) fn start(
        place: &Place,
        records: &mut Records,
        name: &str,
        init: &Path,
        visible: &[&Path],
    ) -> Result<Self> {
        let own = place.machine(name);
        fs::create_dir_all(&own).with_context(|| format!("cannot make {}", own.display()))?;
        let log = place.log(&format!("{name}-init"));
        let mut command = Command::new("setsid");
        command
            .args(["unshare", "--net", "--mount", "--pid", "--uts", "--ipc"])
            .args([
                "--propagation",
                "slave",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args(["sh", "-c", SCRIPT, "machine"])
            .arg(init)
            .arg(&own)
            .args(visible);
        let starter = spawn(&mut command, &log)?;
        let deadline = Instant::now() + START;
        let program = fs::canonicalize(init)?;
        // The script replaces itself by the init program when everything is mounted.
        let pid = loop {
            if let Some(pid) = only_child(starter)
                && fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program)
            {
                break pid;
            }
            let alive =
                Process::of("unshare", None, starter).is_ok_and(|starter| starter.is_alive());
            if !alive || Instant::now() > deadline {
                bail!("the machine {name} does not start: {}", tail_of(&log, 10));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let machine = Self {
            name: name.to_owned(),
            init: Process::of(FIRST, Some(name), pid)?,
        };
        records.put(machine.init.clone())?;
        run(machine.enter().args(["hostname", name]))?;
        Ok(machine)
    }

    /// A command that runs inside: add the program and its arguments.
    #[must_use]
    pub fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init.pid.to_string()])
            .args(["--mount", "--net", "--pid", "--uts", "--ipc", "--"]);
        command
    }

    /// Starts a program inside, in a session of its own, with both outputs to the log.
    ///
    /// # Errors
    /// When it cannot be started or ends at once.
    pub(crate) fn spawn<Word: AsRef<OsStr>>(
        &self,
        records: &mut Records,
        log: &Path,
        name: &str,
        program: &Path,
        arguments: &[Word],
    ) -> Result<Process> {
        let mut command = Command::new("setsid");
        let enter = self.enter();
        command
            .arg(enter.get_program())
            .args(enter.get_args())
            .arg(program)
            .args(arguments);
        let starter = spawn(&mut command, log)?;
        let deadline = Instant::now() + START;
        // A new process namespace holds for children only, so `nsenter` starts one and waits.
        let pid = loop {
            if let Some(pid) = only_child(starter) {
                break pid;
            }
            let alive = Process::of(name, None, starter).is_ok_and(|starter| starter.is_alive());
            if !alive || Instant::now() > deadline {
                bail!("{name} does not start: {}", tail_of(log, 10));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let process = Process::of(name, Some(&self.name), pid)
            .with_context(|| format!("{name}: {}", tail_of(log, 10)))?;
        records.put(process.clone())?;
        Ok(process)
    }

    /// Calls `act` on a thread inside of its network: sockets that it opens belong there for good.
    ///
    /// # Errors
    /// When the network cannot be entered, or what `act` says.
    pub fn in_network<T: Send>(&self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let namespace = self.network_namespace();
        let name = &self.name;
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                let file = fs::File::open(&namespace)
                    .with_context(|| format!("cannot open {}", namespace.display()))?;
                setns(file, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("cannot enter the network of {name}"))?;
                act()
            });
            match inside.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Path of its network namespace.
    #[must_use]
    pub fn network_namespace(&self) -> std::path::PathBuf {
        format!("/proc/{}/ns/net", self.init.pid).into()
    }
}

/// Starts a program in the background with both outputs to a file.
///
/// # Errors
/// When the file cannot be opened or the program not started.
pub(crate) fn spawn(command: &mut Command, log: &Path) -> Result<i32> {
    let output = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(log)
        .with_context(|| format!("cannot open {}", log.display()))?;
    let errors = output.try_clone()?;
    let child = command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    Ok(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// The child of a process that has one.
fn only_child(pid: i32) -> Option<i32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .ok()?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}
