//! Checks, before anything is made, that this machine can carry a lab.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::command::Program;
use super::error::LabError;

/// Device that makes TUN interfaces.
const TUN_DEVICE: &str = "/dev/net/tun";

/// Variable that names the directory with the product's programs.
const PROGRAM_DIRECTORY_VARIABLE: &str = "GETVPN_BIN_DIR";

/// System programs that a lab runs, with the Debian package of each.
const PROGRAMS: [(&str, &str); 4] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("setsid", "util-linux"),
    ("ping", "iputils-ping"),
];

/// The product's programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The key server.
    pub key_server: PathBuf,
    /// The group member.
    pub member: PathBuf,
    /// This program, which also is the core's multicast router.
    pub plugin: PathBuf,
}

/// Checks rights, device and programs.
///
/// # Errors
/// [`LabError::Environment`] with one line that says what is missing.
pub fn check() -> Result<Programs, LabError> {
    check_root()?;
    if let Err(error) = OpenOptions::new().read(true).write(true).open(TUN_DEVICE) {
        return Err(LabError::Environment(format!(
            "the lab needs {TUN_DEVICE}, which cannot be opened ({error}): load the kernel module with `modprobe tun`, or give the container the device"
        )));
    }
    for (program, package) in PROGRAMS {
        if Program::find(program).is_none() {
            return Err(LabError::Environment(format!(
                "the lab needs the program `{program}`: install it with `apt-get install {package}`"
            )));
        }
    }
    Ok(Programs {
        key_server: product_program("keyserver")?,
        member: product_program("gm-sidecar")?,
        plugin: product_program("kubectl-getvpn")?,
    })
}

/// Checks only that the caller may touch network namespaces.
///
/// # Errors
/// [`LabError::Environment`] when not root.
pub fn check_root() -> Result<(), LabError> {
    if geteuid().is_root() {
        return Ok(());
    }
    Err(LabError::Environment(
        "the lab needs root, because it makes network namespaces: run it with `sudo`".to_owned(),
    ))
}

/// Finds a program of the product: in `GETVPN_BIN_DIR`, or beside the running one.
fn product_program(name: &str) -> Result<PathBuf, LabError> {
    let directories: Vec<PathBuf> = match std::env::var_os(PROGRAM_DIRECTORY_VARIABLE) {
        Some(directory) => vec![PathBuf::from(directory)],
        None => beside_running_program(),
    };
    directories
        .iter()
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            let looked = directories
                .iter()
                .map(|directory| directory.display().to_string())
                .collect::<Vec<_>>()
                .join(" and ");
            LabError::Environment(format!(
                "the program `{name}` is not in {looked}: build it with `cargo build --workspace`, or set {PROGRAM_DIRECTORY_VARIABLE}"
            ))
        })
}

/// The running program's directory, and for a test program the one above `deps`.
fn beside_running_program() -> Vec<PathBuf> {
    let Ok(running) = std::env::current_exe() else {
        return Vec::new();
    };
    let directory = running.parent().map(Path::to_path_buf);
    let above = directory
        .as_deref()
        .filter(|directory| directory.ends_with("deps"))
        .and_then(Path::parent)
        .map(Path::to_path_buf);
    directory.into_iter().chain(above).collect()
}
