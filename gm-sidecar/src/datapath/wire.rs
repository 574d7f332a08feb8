//! What the sending thread does with finished trains, and with answers for the TUN.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use gm_core::data_plane::Encapsulation;
use gm_core::ip::virtio;
use gm_core::sad::{Carrier, Route, Sent};

use super::shared::Shared;
use super::sockets::Sockets;
use super::sys::{self, Marks};

/// Hop limit of copies of multicast. That of the inner packet says how far multicast routers carry it, often one hop;
/// a copy goes to its receiver, wherever that is.
const COPY_HOP_LIMIT: u8 = 64;

/// The way out.
pub(super) struct Wire<'a> {
    shared: &'a Shared,
    sockets: &'a Sockets,
    tun: &'a OwnedFd,
    udp_port: u16,
    multicast_interface: u32,
    /// Whether the kernel cuts trains for us; withdrawn when the egress device cannot.
    segmentation: Cell<bool>,
}

impl<'a> Wire<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        sockets: &'a Sockets,
        tun: &'a OwnedFd,
        udp_port: u16,
        multicast_interface: u32,
    ) -> Self {
        Self {
            shared,
            sockets,
            tun,
            udp_port,
            multicast_interface,
            segmentation: Cell::new(true),
        }
    }

    fn try_send(&self, route: &Route, train: &[u8], segment: usize) -> io::Result<()> {
        let socket = self
            .sockets
            .sender(route.family, route.encapsulation, route.spread)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))?
            .as_raw_fd();
        let multicast = route.destination.is_multicast();
        let marks = Marks {
            source: route.source,
            traffic_class: route.traffic_class,
            hop_limit: route.hop_limit,
            segment: None,
            interface: if multicast {
                self.multicast_interface
            } else {
                0
            },
        };
        let port = match route.encapsulation {
            Encapsulation::Udp => self.udp_port,
            Encapsulation::Raw => 0,
        };
        let to = SocketAddr::new(route.destination, port);
        if route.in_fragments {
            return self.send_in_fragments(socket, to, &marks, train);
        }
        if train.len() <= segment {
            return sys::send(socket, to, &marks, train);
        }
        // Between network namespaces a train travels whole, and Linux's multicast forwarding silently drops a packet that
        // is longer than the next link's MTU without regard to how it will be cut.
        let whole = route.encapsulation == Encapsulation::Udp && !multicast;
        if !whole || !self.segmentation.get() {
            return sys::send_each(socket, to, &marks, train, segment);
        }
        let in_segments = Marks {
            segment: u16::try_from(segment).ok(),
            ..marks
        };
        match sys::send(socket, to, &in_segments, train) {
            // The egress device has no checksum offload, or the kernel no UDP_SEGMENT.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EIO | libc::EOPNOTSUPP)) => {
                self.segmentation.set(false);
                sys::send_each(socket, to, &marks, train, segment)
            }
            sent => sent,
        }
    }

    /// Lets the kernel cut one outer packet; only for IPv6 packets of the size that always passes.
    fn send_in_fragments(
        &self,
        socket: i32,
        to: SocketAddr,
        marks: &Marks,
        packet: &[u8],
    ) -> io::Result<()> {
        let discover =
            |how| sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, how);
        discover(libc::IPV6_PMTUDISC_WANT)?;
        let sent = sys::send(socket, to, marks, packet);
        discover(libc::IPV6_PMTUDISC_DO)?;
        sent
    }
}

impl Wire<'_> {
    /// Sends a train to one destination.
    fn carry(&self, route: &Route, train: &[u8], segment: usize) -> Sent {
        match self.try_send(route, train, segment) {
            Ok(()) => Sent::Yes,
            Err(error) if says_too_big(&error, train.len() > segment) => self
                .sockets
                .path_mtu(route.destination)
                .map_or(Sent::Refused, Sent::TooBig),
            Err(_) => Sent::Refused,
        }
    }

    /// Sends a copy of a multicast train to each receiver of its IP version. What is sealed once may be sent often: the
    /// copies are the same packet, and each receiver takes it once.
    fn carry_copies(&self, route: &Route, train: &[u8], segment: usize, to: &[IpAddr]) -> Sent {
        let mut outcome = Sent::Yes;
        for destination in to {
            if destination.is_ipv4() != route.destination.is_ipv4() || *destination == route.source
            {
                continue;
            }
            let copy = Route {
                destination: *destination,
                hop_limit: COPY_HOP_LIMIT,
                ..*route
            };
            outcome = worse(outcome, self.carry(&copy, train, segment));
        }
        outcome
    }
}

/// What is reported of several copies: the smallest path, which the sender must fit, else that one was refused.
fn worse(one: Sent, other: Sent) -> Sent {
    match (one, other) {
        (Sent::TooBig(one), Sent::TooBig(other)) => Sent::TooBig(one.min(other)),
        (Sent::TooBig(mtu), _) | (_, Sent::TooBig(mtu)) => Sent::TooBig(mtu),
        (Sent::Refused, _) | (_, Sent::Refused) => Sent::Refused,
        (Sent::Yes, Sent::Yes) => Sent::Yes,
    }
}

impl Carrier for Wire<'_> {
    fn send(&mut self, route: &Route, train: &[u8], segment: usize) -> Sent {
        if route.destination.is_multicast() {
            let copies = self.shared.copies.load();
            if let Some(receivers) = copies.receivers(route.group_id) {
                return self.carry_copies(route, train, segment, receivers);
            }
        }
        self.carry(route, train, segment)
    }

    fn reply(&mut self, packet: &[u8]) {
        // An ICMP error that is lost is asked for again by the next packet that is too big.
        let _ = nix::sys::uio::writev(
            self.tun,
            &[IoSlice::new(&[0; virtio::LENGTH]), IoSlice::new(packet)],
        );
    }
}

/// Kernels before 6.14 answer a train of too large datagrams with `EINVAL`.
fn says_too_big(error: &io::Error, train: bool) -> bool {
    match error.raw_os_error() {
        Some(libc::EMSGSIZE) => true,
        Some(libc::EINVAL) => train,
        _ => false,
    }
}
