//! Notices that files changed, whether they were written again or, as in the volumes of Kubernetes,
//! a symbolic link above them was swapped.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// How often files are looked at.
pub(super) const PERIOD: Duration = Duration::from_secs(2);

/// Files, and how they looked when they were last looked at.
pub(super) struct Watched {
    paths: Vec<PathBuf>,
    seen: Vec<Signature>,
}

/// What changes when a file is written or replaced; `None` while there is no file.
type Signature = Option<(u64, u64, i64, i64, u64)>;

impl Watched {
    /// Watches `paths` from now on. Make it before the files are read, so that no change is missed.
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        let seen = look(&paths);
        Self { paths, seen }
    }

    /// Whether anything changed since the last time.
    pub(super) fn changed(&mut self) -> bool {
        let now = look(&self.paths);
        let changed = now != self.seen;
        self.seen = now;
        changed
    }
}

fn look(paths: &[PathBuf]) -> Vec<Signature> {
    let signature = |path: &PathBuf| {
        let data = std::fs::metadata(path).ok()?;
        Some((
            data.dev(),
            data.ino(),
            data.mtime(),
            data.mtime_nsec(),
            data.size(),
        ))
    };
    paths.iter().map(signature).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_swapped_link_above_a_file_is_noticed_once() {
        let home = tempfile::tempdir().expect("temporary directory");
        for version in ["a", "b"] {
            let directory = home.path().join(version);
            std::fs::create_dir(&directory).expect("made");
            std::fs::write(directory.join("tls.crt"), "same length").expect("written");
        }
        // As kubelet does: ..data points at a directory, and the file at ..data/file.
        let data = home.path().join("..data");
        symlink("a", &data).expect("linked");
        let file = home.path().join("tls.crt");
        symlink("..data/tls.crt", &file).expect("linked");
        let mut watched = Watched::new(vec![file.clone(), home.path().join("absent")]);
        assert!(!watched.changed());
        let next = home.path().join("..next");
        symlink("b", &next).expect("linked");
        std::fs::rename(&next, &data).expect("swapped");
        assert!(watched.changed());
        assert!(!watched.changed());
        std::fs::write(home.path().join("absent"), "").expect("written");
        assert!(watched.changed());
    }
}
