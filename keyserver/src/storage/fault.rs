//! From the words of the database library to the causes of [`StorageError`].

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::error::StorageError;

/// Runs `act` and turns a panic of the database library over damaged pages into an error.
pub(super) fn guarded<T>(
    path: &Path,
    act: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| Err(corrupt(path, &words(&*panic))))
}

fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "unreadable structure".to_owned())
}

pub(super) fn foreign(path: &Path, what: &str) -> StorageError {
    StorageError::Foreign {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

pub(super) fn corrupt(path: &Path, what: &str) -> StorageError {
    StorageError::Corrupt {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

pub(super) fn disk(path: &Path, action: &'static str, error: &io::Error) -> StorageError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::DiskFull {
            path: path.to_owned(),
            cause: error.to_string(),
        },
        _ => StorageError::Disk {
            path: path.to_owned(),
            action,
            cause: error.to_string(),
        },
    }
}

pub(super) fn classify(path: &Path, action: &'static str, error: redb::Error) -> StorageError {
    match error {
        redb::Error::Io(error) => disk(path, action, &error),
        redb::Error::Corrupted(what) => corrupt(path, &what),
        redb::Error::TableDoesNotExist(table) => {
            corrupt(path, &format!("table {table} is missing"))
        }
        other => StorageError::Disk {
            path: path.to_owned(),
            action,
            cause: other.to_string(),
        },
    }
}
