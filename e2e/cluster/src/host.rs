//! What a cluster needs of the machine it runs on, and all that it makes there outside of its own
//! directory and namespaces: control groups.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use crate::command::find;
use crate::place::Place;

/// Where Debian puts the network plugins.
pub(crate) const NETWORK_PLUGINS: &str = "/usr/lib/cni";
/// Programs that are not ours and not built here.
const PROGRAMS: [&str; 13] = [
    "cc",
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "etcd",
    "ip",
    "mount",
    "nft",
    "nsenter",
    "openssl",
    "runc",
    "setsid",
    "unshare",
];

/// Whether a cluster can run here.
///
/// # Errors
/// Everything that is missing, each with its remedy, in one message.
pub(crate) fn check(place: &Place) -> Result<()> {
    let mut faults = Vec::new();
    if !geteuid().is_root() {
        faults.push("not root: the cluster makes namespaces, mounts and control groups".to_owned());
    }
    let missing: Vec<&str> = PROGRAMS
        .into_iter()
        .filter(|program| find(program).is_none())
        .collect();
    if !missing.is_empty() {
        faults.push(format!(
            "not installed: {}; run `xtask/setup --tests`",
            missing.join(", ")
        ));
    }
    let plugins: Vec<&str> = ["bridge", "host-local", "loopback"]
        .into_iter()
        .filter(|plugin| !Path::new(NETWORK_PLUGINS).join(plugin).is_file())
        .collect();
    if !plugins.is_empty() {
        faults.push(format!(
            "no network plugins {} in {NETWORK_PLUGINS}; run `xtask/setup --tests`",
            plugins.join(", ")
        ));
    }
    if !Path::new("/dev/net/tun").exists() {
        faults.push("/dev/net/tun does not exist: group members need it (modprobe tun)".to_owned());
    }
    if !Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists() {
        faults.push(
            "the kernel's br_netfilter is missing: Services would not work between pods of one node (modprobe br_netfilter)"
                .to_owned(),
        );
    }
    if controllers().is_empty() {
        faults.push("no control groups are mounted under /sys/fs/cgroup".to_owned());
    }
    if place.state == Path::new("/") || place.state.parent().is_none() {
        faults
            .push("GETVPN_CLUSTER_DIR may not be the root directory: `down` removes it".to_owned());
    }
    if faults.is_empty() {
        Ok(())
    } else {
        bail!("a cluster cannot run here:\n  {}", faults.join("\n  "))
    }
}

/// Whether the port of the API server is free.
///
/// # Errors
/// When somebody listens on it.
pub(crate) fn check_port(port: u16) -> Result<()> {
    TcpListener::bind(("127.0.0.1", port))
        .map(drop)
        .with_context(|| {
            format!("port {port} of 127.0.0.1 is taken: set GETVPN_CLUSTER_PORT to a free one")
        })
}

/// Whether the kernel has one control group hierarchy for everything (version 2).
pub(crate) fn unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// The control group of a node, as the kubelet names it.
pub(crate) fn group(place: &Place, node: &str) -> String {
    format!("/{}/{node}", place.name())
}

/// Makes the control group of a node in every hierarchy.
///
/// # Errors
/// When a directory cannot be made.
pub(crate) fn make_group(place: &Place, node: &str) -> Result<()> {
    for root in controllers() {
        let mut path = root.clone();
        for part in [place.name().as_str(), node] {
            path = path.join(part);
            match fs::create_dir(&path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| format!("cannot make {}", path.display()));
                }
                _ => {}
            }
            // A new group of version 1 may use no processor and no memory node until it is told.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let (Some(parent), true) = (path.parent(), path.join(file).exists()) {
                    let text = fs::read_to_string(parent.join(file)).unwrap_or_default();
                    if !unified() {
                        fs::write(path.join(file), text.trim())
                            .with_context(|| format!("cannot write {file}"))?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Removes every control group of the cluster.
///
/// # Errors
/// When one is still in use.
pub(crate) fn remove_groups(place: &Place) -> Result<()> {
    for root in controllers() {
        remove_tree(&root.join(place.name()))?;
    }
    Ok(())
}

/// Whether any control group of the cluster exists.
pub(crate) fn groups_left(place: &Place) -> Vec<PathBuf> {
    controllers()
        .into_iter()
        .map(|root| root.join(place.name()))
        .filter(|path| path.exists())
        .collect()
}

fn remove_tree(group: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(group) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    // The kernel frees a group a moment after its last process is gone.
    for _ in 0..200 {
        match fs::remove_dir(group) {
            Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            done => {
                return done.with_context(|| format!("cannot remove {}", group.display()));
            }
        }
    }
    bail!("{} is still in use", group.display())
}

/// Roots of the hierarchies: one per controller in version 1, one in version 2.
fn controllers() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mut roots: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (path, kind) = (fields.next()?, fields.next()?);
            (matches!(kind, "cgroup" | "cgroup2") && path.starts_with("/sys/fs/cgroup"))
                .then(|| PathBuf::from(path))
        })
        .collect();
    roots.sort();
    roots.dedup();
    roots
}
