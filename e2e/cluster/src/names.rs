//! Names for the machines' networks, so that `ip netns exec getvpn-cluster-node-1 …` works.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::machine::Machine;
use crate::place::Place;

/// Where `ip netns` looks.
const DIRECTORY: &str = "/run/netns";

/// The name of a machine's network.
#[must_use]
pub fn of(place: &Place, machine: &str) -> String {
    format!("{}-{machine}", place.name())
}

/// Makes sure that no other cluster has the names.
///
/// # Errors
/// When one is taken.
pub(crate) fn check(place: &Place, machines: &[String]) -> Result<()> {
    for machine in machines {
        if path(place, machine).exists() {
            bail!(
                "{} exists: another cluster of this name runs (or `ip netns delete {}`)",
                path(place, machine).display(),
                of(place, machine)
            );
        }
    }
    Ok(())
}

/// Names a machine's network.
///
/// # Errors
/// When the kernel refuses the mount.
pub(crate) fn give(place: &Place, machine: &Machine) -> Result<()> {
    share_directory().with_context(|| format!("cannot prepare {DIRECTORY}"))?;
    let path = path(place, &machine.name);
    File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    mount(
        Some(&machine.network_namespace()),
        &path,
        None::<&Path>,
        MsFlags::MS_BIND,
        None::<&Path>,
    )
    .with_context(|| format!("cannot mount {}", path.display()))
}

/// Makes the directory a shared mount, as the first `ip netns add` does. Done later it would hide our mounts beneath it,
/// where nobody can take them away.
fn share_directory() -> Result<()> {
    fs::create_dir_all(DIRECTORY)?;
    let nothing = None::<&Path>;
    let directory = Path::new(DIRECTORY);
    let share = || {
        let flags = MsFlags::MS_SHARED | MsFlags::MS_REC;
        mount(nothing, directory, nothing, flags, nothing)
    };
    match share() {
        // Not a mount of its own yet.
        Err(Errno::EINVAL) => {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(directory), directory, nothing, flags, nothing)?;
            share()?;
        }
        other => other?,
    }
    Ok(())
}

/// Takes the names of machines away.
///
/// # Errors
/// When a mount stays.
pub(crate) fn take(place: &Place, machines: &[String]) -> Result<()> {
    for machine in machines {
        let path = path(place, machine);
        // What was mounted twice is taken away twice.
        loop {
            match umount2(&path, MntFlags::MNT_DETACH) {
                Ok(()) => {}
                Err(Errno::ENOENT | Errno::EINVAL) => break,
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot unmount {}", path.display()));
                }
            }
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn path(place: &Place, machine: &str) -> PathBuf {
    Path::new(DIRECTORY).join(of(place, machine))
}
