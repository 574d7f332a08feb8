//! One process per data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::error::StorageError;

const NAME: &str = "keyserver.lock";

/// Held while a process uses a data directory; the kernel releases it when the process ends,
/// however it ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock of `directory` without waiting.
    ///
    /// # Errors
    /// [`StorageError::Locked`] when another process holds it, [`StorageError::Environment`] when
    /// the lock file cannot be made.
    pub(super) fn take(directory: &Path) -> Result<Self, StorageError> {
        let path: PathBuf = directory.join(NAME);
        let environment = |action: &'static str| {
            let path = path.clone();
            move |error: std::io::Error| StorageError::Environment {
                path,
                action,
                cause: error.to_string(),
            }
        };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(environment("open the lock file"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The text is only a hint for the administrator.
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim();
                return Err(StorageError::Locked {
                    path,
                    holder: if holder.is_empty() {
                        "(unknown)"
                    } else {
                        holder
                    }
                    .to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(environment("lock the file")(error)),
        }
        // Best effort, for the message of a second process: a full disk must not keep us from
        // starting here, the store itself will say so.
        let _ = file
            .rewind()
            .and_then(|()| file.set_len(0))
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_and_told_the_first() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let first = DirectoryLock::take(directory.path()).expect("nobody holds it");
        let error = DirectoryLock::take(directory.path()).expect_err("held");
        assert!(matches!(error, StorageError::Locked { .. }));
        assert!(error.to_string().contains(&std::process::id().to_string()));
        assert_eq!(error.exit_code(), runtime::exit::LOCKED);
        drop(first);
        DirectoryLock::take(directory.path()).expect("released");
    }
}
