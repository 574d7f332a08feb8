//! What the packet path is told at start.

use std::io;

/// Settings that hold for the life of the process.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the TUN device to create.
    pub tun_name: String,
    /// Octets of the largest packet the outer interface carries; the TUN's MTU is derived from it
    /// and, on every install, from what the installed SAs need.
    pub link_mtu: u16,
    /// Mark on every socket (`SO_MARK`): routing sends marked packets past the TUN. 0 for none.
    pub mark: u32,
    /// The UDP port of ESP in UDP.
    pub udp_port: u16,
    /// Whether to open UDP sockets.
    pub udp: bool,
    /// Whether to open raw ESP (protocol 50) sockets where the process may; [`super::Handle::carries`] tells.
    pub raw: bool,
    /// Further UDP source ports over which inner flows are spread, 0 to send from `udp_port` only.
    pub extra_source_ports: u8,
    /// Interface index for outgoing multicast; 0 leaves it to the routes.
    pub multicast_interface: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tun_name: "getvpn0".to_owned(),
            link_mtu: 1500,
            mark: 0,
            udp_port: 4500,
            udp: true,
            raw: false,
            extra_source_ports: 3,
            multicast_interface: 0,
        }
    }
}

/// Why the packet path could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The TUN device was refused.
    #[error("cannot create TUN device {name:?}")]
    Tun {
        /// Its name.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A socket was refused.
    #[error("cannot open the {what} socket")]
    Socket {
        /// Which one.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Neither UDP nor raw ESP was asked for, or no address family is available.
    #[error("no ESP socket is configured or available")]
    NoCarrier,
    /// A thread could not be started.
    #[error("cannot start the {what} packet thread")]
    Thread {
        /// Which one.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}
