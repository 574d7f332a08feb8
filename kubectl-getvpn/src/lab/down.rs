//! Ends a lab and removes everything it made, found by its name alone.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::error::LabError;
use super::name::{LabName, STATE_ROOT};
use super::namespace;
use super::process;
use super::state::Lab;

/// How long killed processes may take to disappear.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Rounds of looking for processes, for those started while others were killed.
const ROUNDS: usize = 10;

/// Names of all labs of which anything is left.
#[must_use]
pub fn remaining() -> Vec<LabName> {
    let mut names = Lab::names();
    names.extend(namespace::labs());
    names.sort();
    names.dedup();
    names
}

/// Kills the lab's processes, deletes its namespaces (and with them devices, rules and routes)
/// and its directory. A lab that is not up, or only in part, is no error.
///
/// Returns whether there was anything to remove.
///
/// # Errors
/// When something could not be removed; a second call goes on from there.
pub fn down(name: &LabName) -> Result<bool, LabError> {
    let namespaces = namespace::list(name);
    let existed = !namespaces.is_empty() || name.directory().exists();
    if let Ok(lab) = Lab::open(name) {
        let recorded = lab.nodes.iter().filter_map(|node| node.process);
        for record in recorded.chain(lab.multicast_router) {
            record.signal(nix::sys::signal::Signal::SIGKILL)?;
            record.wait_gone(END_LIMIT)?;
        }
    }
    // A command that `up` had started and left behind may add namespaces while others are removed.
    let mut found = namespaces;
    for _ in 0..ROUNDS {
        if found.is_empty() {
            break;
        }
        remove_namespaces(&found)?;
        found = namespace::list(name);
    }
    remove_directory(&name.directory())?;
    // Other labs may live beside this one.
    let _ = fs::remove_dir(STATE_ROOT);
    Ok(existed)
}

fn remove_namespaces(namespaces: &[String]) -> Result<(), LabError> {
    for _ in 0..ROUNDS {
        let running = namespace::processes(namespaces);
        if running.is_empty() {
            break;
        }
        process::kill_all(&running, END_LIMIT)?;
    }
    for namespace in namespaces {
        namespace::delete(namespace)?;
    }
    Ok(())
}

fn remove_directory(path: &Path) -> Result<(), LabError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LabError::file("remove", path)(error))
        }
        _ => Ok(()),
    }
}
