//! Keeps key material out of core dumps, debuggers and swap.

use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};

/// What the kernel granted of the requested protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardening {
    /// No core dump is written and no unprivileged process may attach.
    pub undumpable: bool,
    /// All pages stay out of swap. Needs a sufficient `memlock` limit.
    pub memory_locked: bool,
}

/// Forbids core dumps and attaching, forbids new privileges, and locks memory where allowed.
///
/// Memory locking is best effort: a container without the limit still runs, and the caller should
/// log what was not granted.
pub fn apply() -> Hardening {
    let undumpable = prctl::set_dumpable(false).is_ok()
        & setrlimit(Resource::RLIMIT_CORE, 0, 0).is_ok()
        & prctl::set_no_new_privs().is_ok();
    let memory_locked = mlockall(MlockAllFlags::MCL_CURRENT).is_ok();
    Hardening {
        undumpable,
        memory_locked,
    }
}
