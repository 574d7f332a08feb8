//! The ESP sockets: UDP port 4500 and IP protocol 50, for both IP versions.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use gm_core::data_plane::{Encapsulation, Family};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::config::{Config, StartError};
use super::sys;

/// Octets of the kernel's buffers: a receiver that sleeps must not lose what arrives meanwhile.
const RECEIVE_BUFFER: usize = 8 << 20;
const SEND_BUFFER: usize = 4 << 20;
/// Hop limit of IKE messages, as the kernel's own.
const IKE_HOP_LIMIT: u8 = 64;
/// IP protocol number of ESP.
const ESP: i32 = 50;

/// All sockets of a packet path.
pub(super) struct Sockets {
    /// UDP by version; the first of each receives and is bound to the ESP port, the others only send.
    udp: [Vec<Socket>; 2],
    raw: [Option<Socket>; 2],
    mark: u32,
}

fn index(family: Family) -> usize {
    match family {
        Family::V4 => 0,
        Family::V6 => 1,
    }
}

impl Sockets {
    /// Opens what the configuration asks for. A machine without IPv6 has no IPv6 sockets.
    pub(super) fn open(config: &Config) -> Result<Self, StartError> {
        let mut sockets = Self {
            udp: [Vec::new(), Vec::new()],
            raw: [None, None],
            mark: config.mark,
        };
        for family in [Family::V4, Family::V6] {
            let optional = family == Family::V6;
            if config.udp {
                let ports = std::iter::once(config.udp_port)
                    .chain(std::iter::repeat_n(0, config.extra_source_ports.into()));
                for port in ports {
                    match udp(config, family, port) {
                        Ok(socket) => sockets.udp[index(family)].push(socket),
                        Err(error) if optional && is_absent(&error) => break,
                        Err(source) => {
                            return Err(StartError::Socket {
                                what: "UDP port 4500",
                                source,
                            });
                        }
                    }
                }
            }
            if config.raw {
                match raw(config, family) {
                    Ok(socket) => sockets.raw[index(family)] = Some(socket),
                    Err(error) if optional && is_absent(&error) => {}
                    // Without CAP_NET_RAW there is no raw ESP; ESP in UDP needs no such privilege.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                    Err(source) => {
                        return Err(StartError::Socket {
                            what: "raw ESP",
                            source,
                        });
                    }
                }
            }
        }
        if sockets.udp.iter().all(Vec::is_empty) && sockets.raw.iter().all(Option::is_none) {
            return Err(StartError::NoCarrier);
        }
        Ok(sockets)
    }

    /// How many source ports flows are spread over.
    pub(super) fn spreads(&self) -> u32 {
        let most = self.udp.iter().map(Vec::len).max().unwrap_or(0);
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// The socket for a train. Where one version has fewer source ports, its first serves the rest.
    pub(super) fn sender(
        &self,
        family: Family,
        encapsulation: Encapsulation,
        spread: u32,
    ) -> Option<&Socket> {
        match encapsulation {
            Encapsulation::Raw => self.raw[index(family)].as_ref(),
            Encapsulation::Udp => {
                let sockets = &self.udp[index(family)];
                usize::try_from(spread)
                    .ok()
                    .and_then(|at| sockets.get(at))
                    .or(sockets.first())
            }
        }
    }

    /// Whether packets of this form can be sent and received at all.
    pub(super) fn carries(&self, encapsulation: Encapsulation) -> bool {
        match encapsulation {
            Encapsulation::Udp => self.udp.iter().any(|sockets| !sockets.is_empty()),
            Encapsulation::Raw => self.raw.iter().any(Option::is_some),
        }
    }

    /// Sends an IKE message, with its non-ESP marker, from the ESP port (RFC 3948 §2.2). The port is ours already; a
    /// second socket on it would take ESP packets away.
    pub(super) fn send_ike(
        &self,
        local: IpAddr,
        remote: SocketAddr,
        message: &[u8],
    ) -> io::Result<()> {
        let family = match remote {
            SocketAddr::V4(_) => Family::V4,
            SocketAddr::V6(_) => Family::V6,
        };
        let socket = self.udp[index(family)]
            .first()
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))?;
        let marks = sys::Marks {
            source: local,
            traffic_class: 0,
            hop_limit: IKE_HOP_LIMIT,
            segment: None,
            interface: 0,
        };
        sys::send(socket.as_raw_fd(), remote, &marks, message)
    }

    /// Every socket that receives.
    pub(super) fn receivers(&self) -> impl Iterator<Item = (&Socket, Family, Encapsulation)> {
        [Family::V4, Family::V6].into_iter().flat_map(|family| {
            let udp = self.udp[index(family)]
                .first()
                .map(|socket| (socket, family, Encapsulation::Udp));
            let raw = self.raw[index(family)]
                .as_ref()
                .map(|socket| (socket, family, Encapsulation::Raw));
            udp.into_iter().chain(raw)
        })
    }

    /// What the path to a destination carries, as the kernel learned from ICMP.
    pub(super) fn path_mtu(&self, destination: IpAddr) -> io::Result<u16> {
        let socket = Socket::new(
            Domain::for_address(SocketAddr::new(destination, 1)),
            Type::DGRAM,
            None,
        )?;
        mark(&socket, self.mark)?;
        socket.connect(&SocketAddr::new(destination, 4500).into())?;
        sys::path_mtu(socket.as_raw_fd(), destination.is_ipv6())
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL | libc::EPROTONOSUPPORT)
    )
}

fn mark(socket: &Socket, mark: u32) -> io::Result<()> {
    if mark == 0 {
        Ok(())
    } else {
        socket.set_mark(mark)
    }
}

fn udp(config: &Config, family: Family, port: u16) -> io::Result<Socket> {
    let domain = domain(family);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    prepare(&socket, config, family)?;
    let address: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    if family == Family::V6 {
        // Raw sockets are of one version anyway, and refuse the option.
        socket.set_only_v6(true)?;
    }
    if port != 0 {
        // Older kernels do not join datagrams on receipt; each then comes alone.
        let _ = sys::set_option(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, 1);
    }
    socket.bind(&SocketAddr::new(address, port).into())?;
    Ok(socket)
}

fn raw(config: &Config, family: Family) -> io::Result<Socket> {
    let socket = Socket::new(domain(family), Type::RAW, Some(Protocol::from(ESP)))?;
    prepare(&socket, config, family)?;
    Ok(socket)
}

fn domain(family: Family) -> Domain {
    match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    }
}

fn prepare(socket: &Socket, config: &Config, family: Family) -> io::Result<()> {
    mark(socket, config.mark)?;
    let fd = socket.as_fd();
    // Beyond the system's limit only with CAP_NET_ADMIN, which a member has; otherwise as much as allowed.
    if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    if setsockopt(&fd, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
        socket.set_send_buffer_size(SEND_BUFFER)?;
    }
    let raw = socket.as_raw_fd();
    let options: &[(libc::c_int, libc::c_int, libc::c_int)] = match family {
        Family::V4 => &[
            (libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
            (libc::IPPROTO_IP, libc::IP_RECVTOS, 1),
            (
                libc::IPPROTO_IP,
                libc::IP_MTU_DISCOVER,
                libc::IP_PMTUDISC_DO,
            ),
            (libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP, 0),
        ],
        Family::V6 => &[
            (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1),
            (
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                libc::IPV6_PMTUDISC_DO,
            ),
            (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, 0),
        ],
    };
    for (level, option, value) in options {
        sys::set_option(raw, *level, *option, *value)?;
    }
    // A gateway sends with its hosts' addresses; a host member does not need it, so a refusal is no failure.
    let _ = match family {
        Family::V4 => sys::set_option(raw, libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1),
        Family::V6 => sys::set_option(raw, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 1),
    };
    Ok(())
}
