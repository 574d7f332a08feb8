//! Are the programs there that a command needs? `xtask/setup` installs them.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// Fails with one line that names every missing program and the remedy.
pub(crate) fn require(programs: &[&str], remedy: &str) -> Result<()> {
    let missing: Vec<&str> = programs
        .iter()
        .copied()
        .filter(|program| find(program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "not installed: {}; run `{remedy}` first",
        missing.join(", ")
    )
}

/// The program's file on the search path, or in the places of system programs.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// Whether this process may make network namespaces.
pub(crate) fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:"))
            .and_then(|ids| ids.split_whitespace().nth(1))
            == Some("0")
    })
}
