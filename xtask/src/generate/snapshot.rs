//! The content of files and directories at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Content of files, by path relative to a root.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeMap<PathBuf, Vec<u8>>);

impl Snapshot {
    /// Reads `places`, files or directories below `root`. What does not exist is left out.
    pub(crate) fn take(root: &Path, places: &[&str]) -> Result<Self> {
        let mut found = BTreeMap::new();
        for place in places {
            collect(root, Path::new(place), &mut found)?;
        }
        Ok(Self(found))
    }

    /// Makes `places` hold what they held when this was taken.
    pub(crate) fn restore(&self, root: &Path, places: &[&str]) -> Result<()> {
        let now = Self::take(root, places)?;
        for path in now.0.keys().filter(|path| !self.0.contains_key(*path)) {
            fs::remove_file(root.join(path))?;
        }
        for (path, content) in &self.0 {
            if now.0.get(path) != Some(content) {
                let full = root.join(path);
                if let Some(directory) = full.parent() {
                    fs::create_dir_all(directory)?;
                }
                fs::write(full, content)
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// A number that changes when a path or a content does (FNV-1a, 64 bits).
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |octets: &[u8]| {
            for octet in octets {
                hash = (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for (path, content) in &self.0 {
            let path = path.to_string_lossy();
            add(&path.len().to_be_bytes());
            add(path.as_bytes());
            add(&content.len().to_be_bytes());
            add(content);
        }
        hash
    }

    /// Paths whose content differs between the two, and what happened to them.
    pub(crate) fn differences(&self, later: &Self) -> Vec<String> {
        let paths: BTreeSet<&PathBuf> = self.0.keys().chain(later.0.keys()).collect();
        paths
            .into_iter()
            .filter_map(|path| {
                let what = match (self.0.get(path), later.0.get(path)) {
                    (Some(one), Some(other)) if one == other => return None,
                    (Some(_), Some(_)) => "has changed",
                    (None, _) => "is missing",
                    (_, None) => "is not generated any more",
                };
                Some(format!("{} {what}", path.display()))
            })
            .collect()
    }
}

fn collect(root: &Path, place: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    let full = root.join(place);
    if full.is_dir() {
        for entry in fs::read_dir(&full)? {
            collect(root, &place.join(entry?.file_name()), found)?;
        }
    } else if full.exists() {
        let content =
            fs::read(&full).with_context(|| format!("cannot read {}", place.display()))?;
        found.insert(place.to_owned(), content);
    }
    Ok(())
}

#[cfg(test)]
mod self_tests {
    use super::*;

    #[test]
    fn a_check_names_every_changed_file_and_puts_it_back() {
        let root = std::env::temp_dir().join(format!("getvpn-snapshot-{}", std::process::id()));
        fs::create_dir_all(root.join("kept/below")).expect("directories");
        fs::write(root.join("kept/below/one"), "1").expect("file");
        fs::write(root.join("kept/two"), "2").expect("file");
        let places = ["kept", "single"];
        let before = Snapshot::take(&root, &places).expect("snapshot");
        fs::write(root.join("kept/below/one"), "changed").expect("file");
        fs::remove_file(root.join("kept/two")).expect("removed");
        fs::write(root.join("single"), "3").expect("file");
        let after = Snapshot::take(&root, &places).expect("snapshot");
        assert_ne!(before.fingerprint(), after.fingerprint());
        assert_eq!(
            before.differences(&after),
            [
                "kept/below/one has changed",
                "kept/two is not generated any more",
                "single is missing"
            ]
        );
        before.restore(&root, &places).expect("restored");
        let restored = Snapshot::take(&root, &places).expect("snapshot");
        assert_eq!(before, restored);
        fs::remove_dir_all(&root).expect("removed");
    }
}
