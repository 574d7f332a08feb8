//! What can go wrong in a lab, by cause, and the exit code of each.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::name::InvalidLabName;

/// Why a lab command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The machine lacks something the lab needs.
    #[error("{0}")]
    Environment(String),
    /// The command line or the file it names is wrong.
    #[error("{0}")]
    Usage(String),
    /// The lab's name is malformed.
    #[error(transparent)]
    Name(#[from] InvalidLabName),
    /// A lab of this name exists already.
    #[error(
        "lab `{name}` is already up (or a crash left parts of it): end it with `kubectl getvpn lab down --name {name}`"
    )]
    AlreadyUp {
        /// The lab's name.
        name: String,
    },
    /// No lab of this name exists.
    #[error("no lab `{name}` is up: start one with `kubectl getvpn lab up -f FILE`")]
    NotUp {
        /// The lab's name.
        name: String,
    },
    /// No such node in the lab.
    #[error("lab `{lab}` has no node `{node}`; it has {known}")]
    UnknownNode {
        /// The lab's name.
        lab: String,
        /// What was asked for.
        node: String,
        /// The nodes there are.
        known: String,
    },
    /// A program that the lab runs failed.
    #[error("`{command}` failed: {message}")]
    Program {
        /// The command line.
        command: String,
        /// What it wrote to standard error.
        message: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// What was tried: read, write, create, remove.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A system call failed.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A process of the lab ended when it should run.
    #[error("{node} ended while {waiting_for}; the end of {log}:\n{tail}", log = log.display())]
    ProcessEnded {
        /// The node.
        node: String,
        /// What the lab waited for.
        waiting_for: String,
        /// The node's log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// Something did not happen in time.
    #[error("waited {} s for {waiting_for}: {last}", after.as_secs())]
    Deadline {
        /// What the lab waited for.
        waiting_for: String,
        /// How long.
        after: Duration,
        /// The last thing seen.
        last: String,
    },
    /// A key server's admin API refused or did not answer.
    #[error("key server {node}: {message}")]
    Admin {
        /// The key server.
        node: String,
        /// Its answer.
        message: String,
    },
    /// A member's control socket did not answer as expected.
    #[error("member {node}: {message}")]
    Control {
        /// The member.
        node: String,
        /// What went wrong.
        message: String,
    },
    /// Certificates or keys could not be made.
    #[error("cannot make {what}: {message}")]
    Provision {
        /// What was being made.
        what: String,
        /// Why not.
        message: String,
    },
    /// Standard output could not be written to.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] std::io::Error),
    /// Everything ran, and a check found what must not be.
    #[error("{0}")]
    ChecksFailed(String),
}

impl LabError {
    /// The process exit code: 1 error, 2 usage or environment, 3 checks failed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Environment(_)
            | Self::Usage(_)
            | Self::Name(_)
            | Self::AlreadyUp { .. }
            | Self::NotUp { .. }
            | Self::UnknownNode { .. } => 2,
            Self::Program { .. }
            | Self::File { .. }
            | Self::System { .. }
            | Self::ProcessEnded { .. }
            | Self::Deadline { .. }
            | Self::Admin { .. }
            | Self::Control { .. }
            | Self::Provision { .. }
            | Self::Output(_) => 1,
            Self::ChecksFailed(_) => 3,
        }
    }

    /// Wraps a file error with what was tried on which file.
    pub fn file(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }

    /// Wraps a system error with what was tried.
    pub(crate) fn system<E: Into<std::io::Error>>(
        action: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        let action = action.into();
        move |source| Self::System {
            action,
            source: source.into(),
        }
    }
}

impl From<&LabError> for ExitCode {
    fn from(error: &LabError) -> Self {
        Self::from(error.exit_code())
    }
}
