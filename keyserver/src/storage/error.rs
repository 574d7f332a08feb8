//! What can be wrong with the data directory, each cause with its message and exit code.

use std::io;
use std::path::PathBuf;

use runtime::exit;

use crate::raft::types::Incarnation;

/// Why the store cannot be opened, or had to stop.
///
/// Every variant ends the process. None leads to an empty start: a key server that lost its state
/// silently would hand out Sender-IDs a second time.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StorageError {
    /// Another process uses the data directory.
    #[error(
        "{}: the data directory is in use by process {holder}; stop that process, or give this one its own dataDirectory",
        path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// What the lock file says about its holder.
        holder: String,
    },
    /// The file is not a key server's store.
    #[error("{}: {what}; it is no key server store, and nothing was changed in it; move it away or correct dataDirectory", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How it was recognised.
        what: String,
    },
    /// The file was written by a newer program.
    #[error("{}: written in format {found}, this program knows formats up to {known}; start the newer program, or restore a backup", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format in the file.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// The store was sealed under another key.
    #[error("{}: sealed under key {sealed_under}, but sealingKeyFile holds key {given}; give the key this store was made with", path.display())]
    WrongSealingKey {
        /// The file.
        path: PathBuf,
        /// Identifier of the key in the file.
        sealed_under: String,
        /// Identifier of the configured key.
        given: String,
    },
    /// The store belongs to another formation of key servers.
    #[error("{}: belongs to incarnation {stored}, the other key servers are of incarnation {offered}; it is not mixed: use the right dataDirectory, or an empty one to join anew", path.display())]
    ForeignIncarnation {
        /// The file.
        path: PathBuf,
        /// Incarnation in the file.
        stored: Incarnation,
        /// Incarnation seen elsewhere.
        offered: Incarnation,
    },
    /// Stored octets are damaged.
    #[error("{}: damaged: {what}; the process stops rather than trust it. Let this key server join anew with an empty dataDirectory; the others hold the state", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What failed its check.
        what: String,
    },
    /// No space is left.
    #[error("{}: no space left on the device ({cause}); free space and start again, nothing acknowledged is lost", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        cause: String,
    },
    /// The device failed to read or to make data durable.
    #[error("{}: input/output error while {action}: {cause}; the process stops because nothing proves what reached the disk", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The operating system's words.
        cause: String,
    },
    /// A directory or file cannot be prepared.
    #[error("{}: cannot {action}: {cause}", path.display())]
    Environment {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The operating system's words.
        cause: String,
    },
    /// The sealing key file cannot be used.
    #[error("sealingKeyFile {}: {what}; it must hold exactly 64 hexadecimal digits (32 random octets), made for example with `openssl rand -hex 32`", path.display())]
    SealingKey {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        what: String,
    },
}

impl StorageError {
    /// The exit code of a process that ends because of this.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Locked { .. } => exit::LOCKED,
            Self::Foreign { .. } | Self::NewerFormat { .. } | Self::ForeignIncarnation { .. } => {
                exit::FOREIGN
            }
            Self::WrongSealingKey { .. } | Self::Corrupt { .. } => exit::CORRUPT,
            Self::DiskFull { .. } | Self::Disk { .. } => exit::DISK,
            Self::Environment { .. } | Self::SealingKey { .. } => exit::USAGE,
        }
    }
}

impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        Self::other(error)
    }
}
