//! Archives whose octets depend on nothing but their content: entries in the order of their names,
//! every time zero, owner root (POSIX.1-1988 `ustar`).

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

/// Size of a header, and what content is padded to.
const BLOCK: usize = 512;

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory with its permission bits.
    Directory(u32),
    /// A file with its permission bits.
    File(u32, Vec<u8>),
    /// A symbolic link.
    Link(String),
}

/// Paths (relative, without `./`) and what lies there. Directories above a path need not be named.
pub type Tree = BTreeMap<String, Entry>;

/// Packs a tree.
///
/// # Errors
/// When a path is too long for the format, or absolute.
pub fn pack(tree: &Tree) -> Result<Vec<u8>> {
    let mut all: Tree = BTreeMap::new();
    for (path, entry) in tree {
        let mut above = String::new();
        for part in path.split('/') {
            if part.is_empty() || part == ".." || part == "." {
                bail!("`{path}` is not a plain relative path");
            }
            if !above.is_empty() {
                all.entry(above.clone()).or_insert(Entry::Directory(0o755));
                above.push('/');
            }
            above.push_str(part);
        }
        all.insert(path.clone(), entry.clone());
    }
    let mut archive = Vec::new();
    for (path, entry) in &all {
        let (kind, mode, content, target): (u8, u32, &[u8], &str) = match entry {
            Entry::Directory(mode) => (b'5', *mode, &[], ""),
            Entry::File(mode, content) => (b'0', *mode, content, ""),
            Entry::Link(target) => (b'2', 0o777, &[], target),
        };
        let path = if kind == b'5' {
            format!("{path}/")
        } else {
            path.clone()
        };
        archive.extend_from_slice(&header(&path, kind, mode, content.len(), target)?);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    Ok(archive)
}

fn header(path: &str, kind: u8, mode: u32, size: usize, target: &str) -> Result<[u8; BLOCK]> {
    let mut block = [0u8; BLOCK];
    let mut put = |at: usize, room: usize, text: &str| -> Result<()> {
        if text.len() > room {
            bail!("`{path}`: `{text}` is longer than {room} octets");
        }
        block
            .get_mut(at..at + text.len())
            .context("inside of the header")?
            .copy_from_slice(text.as_bytes());
        Ok(())
    };
    let (prefix, name) = split(path)?;
    put(0, 100, name)?;
    put(100, 8, &format!("{mode:07o}\0"))?;
    put(108, 8, "0000000\0")?;
    put(116, 8, "0000000\0")?;
    put(124, 12, &format!("{size:011o}\0"))?;
    put(136, 12, "00000000000\0")?;
    put(148, 8, "        ")?;
    put(156, 1, std::str::from_utf8(&[kind])?)?;
    put(157, 100, target)?;
    put(257, 8, "ustar\x0000")?;
    put(345, 155, prefix)?;
    let sum: u32 = block.iter().map(|octet| u32::from(*octet)).sum();
    let sum = format!("{sum:06o}\0 ");
    block
        .get_mut(148..156)
        .context("inside of the header")?
        .copy_from_slice(sum.as_bytes());
    Ok(block)
}

/// A long path goes into two fields, cut at a slash.
fn split(path: &str) -> Result<(&str, &str)> {
    if path.len() <= 100 {
        return Ok(("", path));
    }
    path.char_indices()
        .filter(|(_, letter)| *letter == '/')
        .filter_map(|(at, _)| Some((path.get(..at)?, path.get(at + 1..)?)))
        .find(|(prefix, name)| prefix.len() <= 155 && name.len() <= 100 && !name.is_empty())
        .with_context(|| format!("`{path}` is too long for an archive"))
}

#[cfg(test)]
mod self_tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn tar_lists_what_was_packed_and_the_order_of_insertion_does_not_matter() {
        let long = format!("{}/{}/program", "a".repeat(90), "b".repeat(60));
        let entries = [
            (
                "usr/bin/tool".to_owned(),
                Entry::File(0o755, b"tool".to_vec()),
            ),
            ("etc/group".to_owned(), Entry::File(0o644, vec![b'x'; 513])),
            ("lib".to_owned(), Entry::Link("usr/lib".to_owned())),
            ("tmp".to_owned(), Entry::Directory(0o1777)),
            (long.clone(), Entry::File(0o755, Vec::new())),
        ];
        let forward = pack(&entries.iter().cloned().collect()).expect("packed");
        let backward = pack(&entries.iter().rev().cloned().collect()).expect("packed");
        assert_eq!(forward, backward);

        let file = std::env::temp_dir().join(format!("getvpn-tar-{}.tar", std::process::id()));
        std::fs::write(&file, &forward).expect("written");
        let list = crate::command::run(
            Command::new("tar")
                .env("TZ", "UTC")
                .args(["--numeric-owner", "-tvf"])
                .arg(&file),
        )
        .expect("tar reads it");
        std::fs::remove_file(&file).expect("removed");
        let lines: Vec<&str> = list.lines().collect();
        assert!(
            lines.iter().any(|line| line.starts_with("-rwxr-xr-x 0/0")
                && line.ends_with(" 1970-01-01 00:00 usr/bin/tool")),
            "{list}"
        );
        assert!(
            lines
                .iter()
                .any(|line| line.contains(" 513 ") && line.ends_with("etc/group")),
            "{list}"
        );
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with('l') && line.ends_with("lib -> usr/lib")),
            "{list}"
        );
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("drwxrwxrwt") && line.ends_with("tmp/")),
            "{list}"
        );
        assert!(lines.iter().any(|line| line.ends_with(&long)), "{list}");
        let usr = lines.iter().position(|line| line.ends_with(" usr/"));
        let tool = lines.iter().position(|line| line.ends_with("usr/bin/tool"));
        assert!(usr.expect("made") < tool.expect("packed"));
    }

    #[test]
    fn a_path_that_leaves_the_archive_is_refused() {
        for path in ["/etc/passwd", "a/../../b", "./a", ""] {
            let tree = Tree::from([(path.to_owned(), Entry::Directory(0o755))]);
            assert!(pack(&tree).is_err(), "{path}");
        }
    }
}
