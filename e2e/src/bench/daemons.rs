//! The processes of a peer's data path, their files and what they leave behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use runtime::shutdown::Shutdown;
use tempfile::TempDir;

use super::End;
use super::child::{Daemon, go_on, inside};

/// How long a daemon may take to do what is waited for.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Daemons that run until this is dropped.
pub(super) struct Daemons {
    // Dropped from the top: the processes end before their files go.
    running: Vec<Daemon>,
    litter: Vec<PathBuf>,
    directory: TempDir,
}

impl Daemons {
    /// None yet, and a directory for their files that only root may read.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub(super) fn none() -> Result<Self> {
        Ok(Self {
            running: Vec::new(),
            litter: Vec::new(),
            directory: tempfile::Builder::new().prefix("getvpn-bench-").tempdir()?,
        })
    }

    /// The directory.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file into the directory; answers its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.directory.path().join(name);
        fs::write(&path, content).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Removes a file of a daemon elsewhere: now, in case an earlier process left it, and at the end.
    pub(super) fn tidy(&mut self, file: PathBuf) {
        let _ = fs::remove_file(&file);
        self.litter.push(file);
    }

    /// Starts a program at one end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(
        &mut self,
        end: &End,
        program: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<()> {
        let log = self.directory().join(format!("{}.log", end.letter));
        let mut command = inside(end.namespace, program);
        command.args(arguments).envs(environment.iter().copied());
        self.running.push(Daemon::start(&mut command, &log)?);
        Ok(())
    }

    /// Tries again and again until it works; fails early when a daemon ends.
    ///
    /// # Errors
    /// After 15 s, with the last reason and the end of what the daemons said.
    pub(super) fn wait_for(
        &mut self,
        what: &str,
        shutdown: &Shutdown,
        mut attempt: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Err(error) = attempt() else {
                return Ok(());
            };
            go_on(shutdown)?;
            let mut ended = false;
            for daemon in &mut self.running {
                ended |= daemon.has_ended()?;
            }
            if ended || Instant::now() > deadline {
                let why = if ended { "a daemon ended" } else { "too late" };
                bail!("{what}: {why}: {error:#}\n{}", self.said());
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The processes.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.running.iter().map(Daemon::id).collect()
    }

    fn said(&self) -> String {
        self.running.iter().map(Daemon::said).collect()
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        self.running.clear();
        for file in &self.litter {
            let _ = fs::remove_file(file);
        }
    }
}
