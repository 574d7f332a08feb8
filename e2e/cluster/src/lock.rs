//! One at a time: a lock on a file, released when it is dropped or its process ends.

use std::fs::{File, OpenOptions};
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// A held lock.
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl Lock {
    /// Takes the lock; calls `waiting` once when somebody else has it, then waits.
    ///
    /// # Errors
    /// When the file cannot be made or locked.
    pub(crate) fn acquire(file: &Path, waiting: impl FnOnce()) -> Result<Self> {
        let context = || format!("cannot lock {}", file.display());
        let open = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(file)
            .with_context(context)?;
        match Flock::lock(open, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self(lock)),
            Err((open, Errno::EWOULDBLOCK)) => {
                waiting();
                Flock::lock(open, FlockArg::LockExclusive)
                    .map(Self)
                    .map_err(|(_, error)| error)
                    .with_context(context)
            }
            Err((_, error)) => Err(error).with_context(context),
        }
    }
}

#[cfg(test)]
mod self_tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn the_second_waits_until_the_first_is_done() {
        let file = std::env::temp_dir().join(format!("getvpn-lock-{}", std::process::id()));
        let first = Lock::acquire(&file, || panic!("nobody has it")).expect("lock");
        let (told, waits) = channel();
        let path = file.clone();
        let second = std::thread::spawn(move || {
            let lock = Lock::acquire(&path, || told.send(()).expect("told"));
            lock.map(|_| std::time::Instant::now())
        });
        waits.recv().expect("the second says that it waits");
        let released = std::time::Instant::now();
        drop(first);
        let taken = second.join().expect("thread").expect("lock");
        assert!(taken >= released);
        std::fs::remove_file(file).expect("removed");
    }
}
