//! Programs that the benchmark runs: to their end within a time, or in the background until they are ended.
//!
//! Each one gets a process group of its own, so that Ctrl-C on the terminal reaches the benchmark alone, which then
//! ends what it started in the right order.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use runtime::shutdown::Shutdown;

/// Between two looks at a program that runs.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a daemon may take to end when it is asked to.
const GOODBYE: Duration = Duration::from_secs(4);
/// How much of what a program said is part of an error.
const TAIL: usize = 1500;

/// Fails once the user wants the benchmark to end.
///
/// # Errors
/// Then.
pub(super) fn go_on(shutdown: &Shutdown) -> Result<()> {
    if shutdown.requested() {
        bail!("interrupted");
    }
    Ok(())
}

/// A program inside a namespace.
pub(super) fn inside(namespace: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", namespace])
        .arg(program.as_ref());
    command
}

/// Runs a program to its end; answers what it wrote to its standard output.
///
/// # Errors
/// When it fails, takes longer than `limit`, or the user wants to end. It is ended then, with all that it started.
pub(super) fn run(command: &mut Command, limit: Duration, shutdown: &Shutdown) -> Result<String> {
    let name = shown(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let output = child.stdout.take().map(reader);
    let errors = child.stderr.take().map(reader);
    let ended = wait(&mut child, limit, shutdown);
    if ended.is_err() {
        let _ = killpg(id(&child), Signal::SIGKILL);
        child.wait()?;
    }
    let text = |reader: Option<std::thread::JoinHandle<String>>| {
        reader
            .and_then(|reader| reader.join().ok())
            .unwrap_or_default()
    };
    let (output, errors) = (text(output), text(errors));
    match ended.with_context(|| name.clone())? {
        status if status.success() => Ok(output),
        status => bail!("{name}: {status}: {}{}", tail(&output), tail(&errors)),
    }
}

fn wait(
    child: &mut Child,
    limit: Duration,
    shutdown: &Shutdown,
) -> Result<std::process::ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        go_on(shutdown)?;
        if Instant::now() > deadline {
            bail!("not done after {} s", limit.as_secs());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Reads on a thread of its own, so that neither output can fill up while the other one is read.
fn reader(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut octets = Vec::new();
        // What was read before an error is still worth showing.
        let _ = from.read_to_end(&mut octets);
        String::from_utf8_lossy(&octets).into_owned()
    })
}

/// A program that runs until this is dropped.
pub(super) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts it; what it says goes to the file `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let name = shown(command);
        let file = File::create(log).with_context(|| log.display().to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Its process; `ip netns exec` becomes the program, so that it is the program's own.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The end of what it said.
    pub(super) fn said(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = File::open(&self.log) {
            let _ = file.read_to_string(&mut text);
        }
        tail(&text).to_owned()
    }

    /// Whether it has ended by itself.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(super) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = kill(id(&self.child), Signal::SIGTERM);
        let deadline = Instant::now() + GOODBYE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(PAUSE);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn id(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

fn tail(text: &str) -> &str {
    let text = text.trim_end();
    let start = text.len().saturating_sub(TAIL);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at));
    &text[start.unwrap_or(text.len())..]
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|word| word.to_string_lossy().into_owned()),
    );
    words.join(" ")
}

#[cfg(test)]
mod self_tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_program_says_is_answered_and_its_failure_is_told() {
        let (_trigger, shutdown) = Shutdown::manual();
        let limit = Duration::from_secs(20);
        let said = run(&mut shell("echo done"), limit, &shutdown).expect("a shell");
        assert_eq!(said, "done\n");
        let error = run(&mut shell("echo why >&2; exit 3"), limit, &shutdown).expect_err("3");
        assert!(format!("{error:#}").contains("why"), "{error:#}");
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_all_that_it_started() {
        let (_trigger, shutdown) = Shutdown::manual();
        let begun = Instant::now();
        let limit = Duration::from_millis(50);
        // The readers end only when the sleeper, which holds the output too, is gone.
        run(&mut shell("sleep 600 & wait"), limit, &shutdown).expect_err("too long");
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_user_who_wants_to_end_does_not_wait_for_a_program() {
        let (trigger, shutdown) = Shutdown::manual();
        trigger.fire();
        let begun = Instant::now();
        let error = run(&mut shell("sleep 600"), Duration::from_secs(600), &shutdown);
        assert!(format!("{:#}", error.expect_err("interrupted")).contains("interrupted"));
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
