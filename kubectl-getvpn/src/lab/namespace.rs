//! Network namespaces by name: create, list, enter, delete, and find what runs inside.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};

use super::command::Program;
use super::error::LabError;
use super::name::{LabName, NAMESPACE_ROOT};

/// Creates all of these namespaces, in one call of `ip`.
///
/// # Errors
/// When `ip` refuses, for example because a namespace of that name exists.
pub fn create(namespaces: &[String]) -> Result<(), LabError> {
    let lines: Vec<String> = namespaces
        .iter()
        .map(|namespace| format!("netns add {namespace}"))
        .collect();
    Program::ip_batch(None, &lines)
}

/// Deletes one namespace; one that does not exist is no error.
///
/// # Errors
/// When `ip` refuses and the namespace is still there.
pub fn delete(namespace: &str) -> Result<(), LabError> {
    if !path(namespace).exists() {
        return Ok(());
    }
    match Program::run("ip", &["netns", "delete", namespace]) {
        Err(error) if path(namespace).exists() => Err(error),
        _ => Ok(()),
    }
}

/// The names of all namespaces of one lab that exist now, sorted.
#[must_use]
pub fn list(lab: &LabName) -> Vec<String> {
    let mut found: Vec<String> = all().filter(|name| lab.owns_namespace(name)).collect();
    found.sort();
    found
}

/// The labs that have a namespace now, sorted.
#[must_use]
pub fn labs() -> Vec<LabName> {
    let mut found: Vec<LabName> = all()
        .filter_map(|name| LabName::of_namespace(&name))
        .collect();
    found.sort();
    found.dedup();
    found
}

fn all() -> impl Iterator<Item = String> {
    fs::read_dir(NAMESPACE_ROOT)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

fn path(namespace: &str) -> PathBuf {
    Path::new(NAMESPACE_ROOT).join(namespace)
}

/// Moves the calling thread into a namespace, for the rest of its life.
///
/// Only for threads that were made for this; sockets that the thread opens from now on belong to
/// the namespace, also after the thread is gone.
///
/// # Errors
/// When the namespace does not exist or the process may not enter it.
pub fn enter(namespace: &str) -> Result<(), LabError> {
    let path = path(namespace);
    let file = File::open(&path).map_err(LabError::file("open", &path))?;
    setns(file, CloneFlags::CLONE_NEWNET)
        .map_err(LabError::system(format!("enter the namespace {namespace}")))
}

/// Runs `work` on a new thread inside the namespace and waits for its result.
///
/// # Errors
/// When the namespace cannot be entered, or what `work` returned.
pub fn inside<T, F>(namespace: &str, work: F) -> Result<T, LabError>
where
    T: Send,
    F: FnOnce() -> Result<T, LabError> + Send,
{
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(namespace)?;
            work()
        });
        match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// The kernel's indices of these interfaces of a namespace, in the same order.
///
/// # Errors
/// When the namespace or an interface does not exist.
pub fn interface_indices(namespace: &str, names: &[String]) -> Result<Vec<usize>, LabError> {
    inside(namespace, || {
        let index = |name: &String| {
            nix::net::if_::if_nametoindex(name.as_str())
                .map_err(LabError::system(format!("find the interface {name}")))
        };
        let indices: Vec<u32> = names.iter().map(index).collect::<Result<_, _>>()?;
        Ok(indices
            .into_iter()
            .filter_map(|index| usize::try_from(index).ok())
            .collect())
    })
}

/// Ids of all processes whose main thread is in one of these namespaces.
///
/// A namespace of a lab is made by the lab and nothing of anybody else runs in it.
#[must_use]
pub fn processes(namespaces: &[String]) -> Vec<i32> {
    let inodes: Vec<u64> = namespaces
        .iter()
        .filter_map(|name| Some(fs::metadata(path(name)).ok()?.ino()))
        .collect();
    let own = std::process::id();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| u32::try_from(*pid).is_ok_and(|pid| pid != own))
        .filter(|pid| {
            fs::metadata(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|namespace| inodes.contains(&namespace.ino()))
        })
        .collect()
}
