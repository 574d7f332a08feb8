//! Two network namespaces with a cable between them, removed when the test is over.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// Our end's address.
pub(crate) const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));
/// The other end's address.
pub(crate) const THEIRS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));

/// Whether namespaces can be made. Without root the test is skipped with a message, or fails when `CI` is set.
pub(crate) fn available() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "network namespaces need root"
    );
    let _ = writeln!(std::io::stderr(), "skipped: network namespaces need root");
    false
}

/// The two namespaces.
pub(crate) struct Cable {
    ours: String,
    theirs: String,
}

impl Cable {
    /// Makes both and lays the cable.
    pub(crate) fn lay() -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "interop-{}-{}",
            std::process::id(),
            SERIAL.fetch_add(1, Ordering::Relaxed)
        );
        let cable = Self {
            ours: format!("{name}-a"),
            theirs: format!("{name}-b"),
        };
        let Self { ours, theirs } = &cable;
        ip(&format!("netns add {ours}"));
        ip(&format!("netns add {theirs}"));
        ip(&format!(
            "-n {ours} link add wire type veth peer name wire netns {theirs}"
        ));
        for (namespace, address) in [(ours, OURS), (theirs, THEIRS)] {
            ip(&format!("-n {namespace} address add {address}/24 dev wire"));
            ip(&format!("-n {namespace} link set lo up"));
            ip(&format!("-n {namespace} link set wire up"));
        }
        cable
    }

    /// Name of the other end's namespace.
    pub(crate) fn theirs(&self) -> &str {
        &self.theirs
    }

    /// A UDP socket at our end.
    pub(crate) fn socket(&self, port: u16) -> UdpSocket {
        let file = File::open(format!("/run/netns/{}", self.ours)).expect("the namespace is there");
        // Only that thread enters the namespace; the socket stays in it.
        std::thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter");
            UdpSocket::bind(SocketAddr::new(OURS, port)).expect("nobody else is in the namespace")
        })
        .join()
        .expect("a socket")
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for namespace in [&self.ours, &self.theirs] {
            let _ = Command::new("ip")
                .args(["netns", "delete", namespace])
                .status();
        }
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .expect("ip is installed");
    assert!(status.success(), "ip {arguments}: {status}");
}
