//! The two namespaces and the veth pair between them.

use std::fs::{File, OpenOptions};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kubectl_getvpn::lab::namespace;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runtime::shutdown::Shutdown;

use super::child::run;
use super::{ENDS, FAR, NEAR, WIRE};

/// Only one benchmark at a time may use the namespaces.
const LOCK: &str = "/run/getvpn-bench.lock";
/// How long `ip` may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long what was left behind may take to end.
const GOODBYE: Duration = Duration::from_secs(5);

/// The right to use the namespaces, until it is dropped.
pub(super) struct Turn(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl Turn {
    /// Takes it, and removes what a benchmark that was killed has left behind.
    ///
    /// # Errors
    /// When another benchmark has it.
    pub(super) fn take() -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(LOCK)
            .context(LOCK)?;
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
            bail!("another benchmark runs on this machine ({LOCK} is locked)");
        };
        sweep();
        Ok(Self(lock))
    }
}

/// The namespaces with their link; removed when it is dropped.
pub(super) struct Link;

impl Link {
    /// Makes both namespaces and joins them: MTU 1500, the offloads as the kernel sets them.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub(super) fn lay(shutdown: &Shutdown) -> Result<Self> {
        let link = Self;
        let names = ENDS.map(|(end, _)| end.namespace.to_owned());
        namespace::create(&names)?;
        ip(
            &format!(
                "-n {} link add {WIRE} type veth peer name {WIRE} netns {}",
                NEAR.namespace, FAR.namespace
            ),
            shutdown,
        )?;
        for (end, _) in ENDS {
            let name = end.namespace;
            ip(&format!("-n {name} link set lo up"), shutdown)?;
            ip(
                &format!("-n {name} address add {}/24 dev {WIRE}", end.outer),
                shutdown,
            )?;
            ip(&format!("-n {name} link set {WIRE} mtu 1500 up"), shutdown)?;
        }
        Ok(link)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        sweep();
    }
}

/// Runs `ip` with the words of `arguments`.
///
/// # Errors
/// When it refuses.
pub(super) fn ip(arguments: &str, shutdown: &Shutdown) -> Result<()> {
    let mut command = std::process::Command::new("ip");
    run(command.args(arguments.split(' ')), LIMIT, shutdown).map(drop)
}

/// Removes the namespaces and ends what still runs in them. They are made for the benchmark, and whoever calls this
/// holds the [`Turn`]: nothing of anybody else runs there.
fn sweep() {
    let mut names = ENDS.map(|(end, _)| end.namespace.to_owned()).to_vec();
    names.push(format!("{}-ks", NEAR.namespace));
    let left = namespace::processes(&names);
    for id in &left {
        let _ = kill(Pid::from_raw(*id), Signal::SIGTERM);
    }
    let deadline = Instant::now() + GOODBYE;
    let mut left = left;
    while !left.is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        left = namespace::processes(&names);
    }
    for id in left {
        let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
    }
    for name in &names {
        if let Err(error) = namespace::delete(name) {
            eprintln!("the namespace {name} could not be removed: {error}");
        }
    }
}
