//! WireGuard in user space: implementations that are started alike and configured by `wg`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use runtime::shutdown::Shutdown;

use super::child::{inside, run};
use super::daemons::Daemons;
use super::install::Peer;
use super::link::ip;
use super::{ENDS, End};

/// UDP port of both ends.
const PORT: u16 = 51820;
/// MTU of the tunnel, as `wg-quick` sets it over Ethernet.
const MTU: u16 = 1420;
/// How long `wg` may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Brings a tunnel up between both ends.
///
/// # Errors
/// When a program fails.
pub(super) fn up(peer: Peer, program: &Path, shutdown: &Shutdown) -> Result<Daemons> {
    let mut daemons = Daemons::none()?;
    let mut public = Vec::new();
    for (end, _) in ENDS {
        let private = run(
            std::process::Command::new("wg").arg("genkey"),
            LIMIT,
            shutdown,
        )?;
        let file = daemons.write(&key_name(end), &private)?;
        let script = format!("exec wg pubkey <'{}'", file.display());
        let mut command = std::process::Command::new("sh");
        public.push(run(command.args(["-c", &script]), LIMIT, shutdown)?);
    }
    for (end, _) in ENDS {
        let device = device(end);
        daemons.tidy(socket(end));
        let (arguments, environment) = start_line(peer, &device);
        daemons.start(end, program, &arguments, environment)?;
    }
    for ((end, other), public) in ENDS.into_iter().zip(public.iter().rev()) {
        configure(&mut daemons, end, other, public.trim(), shutdown)?;
    }
    Ok(daemons)
}

/// The arguments and variables that keep each implementation in the foreground.
fn start_line(peer: Peer, device: &str) -> (Vec<&str>, &'static [(&'static str, &'static str)]) {
    match peer {
        Peer::Boringtun => (
            vec![
                "--foreground",
                "--threads",
                "2",
                "--disable-drop-privileges",
                "--verbosity",
                "error",
                device,
            ],
            &[],
        ),
        Peer::Gotatun => (
            vec!["--foreground", "--disable-drop-privileges", device],
            &[],
        ),
        Peer::WireguardGo | Peer::Nebula | Peer::Openvpn | Peer::Strongswan => (
            vec!["-f", device],
            &[
                ("LOG_LEVEL", "error"),
                // Where the kernel has a WireGuard of its own, it refuses to run without this.
                ("WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD", "1"),
            ],
        ),
    }
}

fn configure(
    daemons: &mut Daemons,
    end: &End,
    other: &End,
    public: &str,
    shutdown: &Shutdown,
) -> Result<()> {
    let device = device(end);
    let key = daemons.directory().join(key_name(end));
    daemons.wait_for("the WireGuard device", shutdown, || {
        ensure!(socket(end).exists(), "no control socket");
        let mut command = inside(end.namespace, "wg");
        command
            .args(["set", &device, "private-key"])
            .arg(&key)
            .args(["listen-port", &PORT.to_string(), "peer", public])
            .args(["allowed-ips", &format!("{}/32", other.inner)])
            .args(["endpoint", &format!("{}:{PORT}", other.outer)]);
        run(&mut command, LIMIT, shutdown).map(drop)
    })?;
    let (name, inner) = (end.namespace, end.inner);
    for arguments in [
        format!("-n {name} address add {inner}/32 dev {device}"),
        format!("-n {name} link set {device} mtu {MTU} up"),
        format!("-n {name} route add {}/32 dev {device}", other.inner),
    ] {
        ip(&arguments, shutdown).context("the WireGuard device")?;
    }
    Ok(())
}

fn key_name(end: &End) -> String {
    format!("{}.key", end.letter)
}

/// Unlike any name that somebody else would choose: control sockets of all namespaces share one directory.
fn device(end: &End) -> String {
    format!("getvpnbench{}", end.letter)
}

fn socket(end: &End) -> PathBuf {
    PathBuf::from(format!("/var/run/wireguard/{}.sock", device(end)))
}
