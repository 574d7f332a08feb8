//! The sockets for IKE messages: registration, unicast rekeys and multicast rekeys.
//!
//! Everything that arrives, on whichever socket, goes into one queue. Every socket carries our
//! mark, so that its packets pass the drop rules and take the ordinary routes.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use gikev2::Transmit;
use gikev2::exchange::datagram::{NAT_TRAVERSAL_PORT, with_marker};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::datapath::{IkeDatagram, IkeSender};

/// Datagrams that wait to be handled; beyond that the kernel's buffers take over.
const QUEUE: usize = 256;

/// What is tried when the kernel refuses a port.
const BIND: &str = "bind the registration port";

/// Largest UDP payload.
const LARGEST: usize = 65_535;

/// A datagram that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Where: our port, and our address if it is known.
    pub local: SocketAddr,
    /// From whom.
    pub remote: SocketAddr,
    /// The payload, with non-ESP marker if it came to port 4500.
    pub payload: Vec<u8>,
}

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IkeError {
    /// The port belongs to another process.
    #[error(
        "ike.port: UDP port {0} is in use by another process; end it, or set `ike: {{ port: 0 }}` \
         to use any free port"
    )]
    PortInUse(u16),
    /// Not enough privileges.
    #[error(
        "ike: the kernel refused to {action} for lack of privileges; run as root or with the \
         capabilities CAP_NET_ADMIN and CAP_NET_BIND_SERVICE"
    )]
    Forbidden {
        /// What was tried.
        action: &'static str,
    },
    /// The kernel refused.
    #[error("ike: cannot {action}")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// Its answer.
        source: io::Error,
    },
}

/// The IKE sockets of a member.
pub struct IkeSockets {
    v4: Option<Arc<UdpSocket>>,
    v6: Option<Arc<UdpSocket>>,
    port: u16,
    mark: u32,
    /// Sends from the ESP port; absent until the packet path is up.
    nat_traversal: Option<IkeSender>,
    groups: BTreeMap<SocketAddr, GroupMembership>,
    sender: mpsc::Sender<Arrival>,
    receiver: mpsc::Receiver<Arrival>,
}

/// Membership of a multicast rekey group.
enum GroupMembership {
    /// Joined on the socket of the same port.
    Shared,
    /// A socket of its own.
    Own(JoinHandle<()>),
}

impl Drop for GroupMembership {
    fn drop(&mut self) {
        if let Self::Own(task) = self {
            task.abort();
        }
    }
}

impl IkeSockets {
    /// Binds `port` (0 for any) for every family that `key_servers` need. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`IkeError`], naming the port and what to do.
    pub fn bind(port: u16, mark: u32, key_servers: &[SocketAddr]) -> Result<Self, IkeError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut sockets = Self {
            v4: None,
            v6: None,
            port,
            mark,
            nat_traversal: None,
            groups: BTreeMap::new(),
            sender,
            receiver,
        };
        sockets.reach(key_servers)?;
        Ok(sockets)
    }

    /// Binds what is not bound yet and `key_servers` need.
    ///
    /// # Errors
    /// [`IkeError`], naming the port and what to do.
    pub fn reach(&mut self, key_servers: &[SocketAddr]) -> Result<(), IkeError> {
        if self.v4.is_none() && key_servers.iter().any(SocketAddr::is_ipv4) {
            self.v4 = Some(self.bind_any(Ipv4Addr::UNSPECIFIED.into())?);
        }
        if self.v6.is_none() && key_servers.iter().any(SocketAddr::is_ipv6) {
            self.v6 = Some(self.bind_any(Ipv6Addr::UNSPECIFIED.into())?);
        }
        Ok(())
    }

    /// Our ports, where unicast rekeys arrive.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = [&self.v4, &self.v6]
            .into_iter()
            .flatten()
            .filter_map(|socket| Some(socket.local_addr().ok()?.port()))
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Binds the configured port, or any where that one is not for us: without CAP_NET_BIND_SERVICE the kernel keeps
    /// ports below `ip_unprivileged_port_start`, and a key server answers to whatever port we ask from.
    fn bind_any(&self, address: IpAddr) -> Result<Arc<UdpSocket>, IkeError> {
        match self.listen(SocketAddr::new(address, self.port)) {
            Err(IkeError::Forbidden { action }) if action == BIND && self.port != 0 => {
                tracing::info!(
                    port = self.port,
                    "the registration port is reserved here; using any free port"
                );
                self.listen(SocketAddr::new(address, 0))
            }
            other => other,
        }
    }

    /// Our port towards `remote`.
    pub fn local_port(&self, remote: SocketAddr) -> u16 {
        self.socket_to(remote)
            .and_then(|socket| socket.local_addr().ok())
            .map_or(self.port, |address| address.port())
    }

    /// The next datagram that arrived. Cancel-safe.
    pub async fn receive(&mut self) -> Arrival {
        match self.receiver.recv().await {
            Some(arrival) => arrival,
            // We hold a sender ourselves, so the queue never closes.
            None => std::future::pending().await,
        }
    }

    /// Shares the packet path's port 4500: takes IKE messages that arrive there, and sends through `through`.
    pub fn share_esp_port(
        &mut self,
        mut datagrams: mpsc::Receiver<IkeDatagram>,
        through: IkeSender,
    ) {
        self.nat_traversal = Some(through);
        let sender = self.sender.clone();
        tokio::spawn(async move {
            while let Some(datagram) = datagrams.recv().await {
                let (local, remote) = (datagram.destination, datagram.source);
                let arrival = Arrival {
                    local,
                    remote,
                    payload: with_marker(local, remote, datagram.message),
                };
                if sender.send(arrival).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Sends a datagram from the socket that its local port names.
    ///
    /// # Errors
    /// The kernel's answer; the protocol repeats what matters.
    pub async fn send(&self, transmit: &Transmit) -> io::Result<()> {
        if transmit.local.port() == NAT_TRAVERSAL_PORT && self.port != NAT_TRAVERSAL_PORT {
            let sender = self.nat_traversal.as_ref();
            let sender = sender.ok_or(io::ErrorKind::NotConnected)?;
            return sender.send(transmit.local.ip(), transmit.remote, &transmit.payload);
        }
        match self.socket_to(transmit.remote) {
            Some(socket) => socket
                .send_to(&transmit.payload, transmit.remote)
                .await
                .map(drop),
            None => Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }

    /// Joins the multicast groups on which rekeys arrive, on the interfaces with these indices, and
    /// leaves those not named.
    pub fn set_rekey_groups(&mut self, wanted: &[SocketAddr], interfaces: &[u32]) {
        let gone: Vec<SocketAddr> = self
            .groups
            .keys()
            .filter(|group| !wanted.contains(group))
            .copied()
            .collect();
        for group in gone {
            if let Some(GroupMembership::Shared) = self.groups.remove(&group) {
                self.with_shared(group, interfaces, leave);
            }
        }
        for &group in wanted {
            if self.groups.contains_key(&group) {
                continue;
            }
            match self.join_group(group, interfaces) {
                Ok(membership) => {
                    tracing::info!(%group, "listening for multicast rekeys");
                    self.groups.insert(group, membership);
                }
                Err(error) => {
                    tracing::warn!(%group, %error, "multicast rekeys cannot be received");
                }
            }
        }
    }

    fn join_group(&self, group: SocketAddr, interfaces: &[u32]) -> io::Result<GroupMembership> {
        if group.port() == self.local_port(group) && self.socket_to(group).is_some() {
            self.with_shared(group, interfaces, join);
            return Ok(GroupMembership::Shared);
        }
        let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&group.into())?;
        for &interface in interfaces {
            join(&socket, group.ip(), interface)?;
        }
        let socket = Arc::new(UdpSocket::from_std(socket.into())?);
        Ok(GroupMembership::Own(self.read(socket, group)))
    }

    fn with_shared(
        &self,
        group: SocketAddr,
        interfaces: &[u32],
        act: fn(&Socket, IpAddr, u32) -> io::Result<()>,
    ) {
        let Some(socket) = self.socket_to(group) else {
            return;
        };
        let Ok(socket) = rustix::io::dup(socket) else {
            return;
        };
        let socket = Socket::from(socket);
        for &interface in interfaces {
            if let Err(error) = act(&socket, group.ip(), interface) {
                tracing::debug!(%group, interface, %error, "multicast membership unchanged");
            }
        }
    }

    fn socket_to(&self, remote: SocketAddr) -> Option<&Arc<UdpSocket>> {
        if remote.is_ipv4() {
            self.v4.as_ref()
        } else {
            self.v6.as_ref()
        }
    }

    fn listen(&self, address: SocketAddr) -> Result<Arc<UdpSocket>, IkeError> {
        let explain = |action| {
            move |source: io::Error| match source.kind() {
                io::ErrorKind::AddrInUse => IkeError::PortInUse(address.port()),
                io::ErrorKind::PermissionDenied => IkeError::Forbidden { action },
                _ => IkeError::Socket { action, source },
            }
        };
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )
        .map_err(explain("open a socket"))?;
        if address.is_ipv6() {
            socket
                .set_only_v6(true)
                .map_err(explain("limit a socket to IPv6"))?;
        }
        socket
            .set_mark(self.mark)
            .map_err(explain("mark a socket"))?;
        socket
            .set_nonblocking(true)
            .map_err(explain("prepare a socket"))?;
        socket.bind(&address.into()).map_err(explain(BIND))?;
        let socket = UdpSocket::from_std(socket.into()).map_err(explain("watch a socket"))?;
        let socket = Arc::new(socket);
        let local = socket
            .local_addr()
            .map_err(explain("show a socket's address"))?;
        drop(self.read(Arc::clone(&socket), local));
        Ok(socket)
    }

    /// Reads a socket into the queue until it is aborted.
    fn read(&self, socket: Arc<UdpSocket>, local: SocketAddr) -> JoinHandle<()> {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; LARGEST];
            loop {
                match socket.recv_from(&mut buffer).await {
                    Ok((length, remote)) => {
                        let payload = buffer.get(..length).unwrap_or_default().to_vec();
                        let arrival = Arrival {
                            local,
                            remote: SocketAddr::new(remote.ip().to_canonical(), remote.port()),
                            payload,
                        };
                        if sender.send(arrival).await.is_err() {
                            return;
                        }
                    }
                    // An ICMP error of something sent earlier; the protocol's timers know better.
                    Err(error) => tracing::debug!(%local, %error, "socket error"),
                }
            }
        })
    }
}

fn join(socket: &Socket, group: IpAddr, interface: u32) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => {
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface))
        }
        IpAddr::V6(group) => socket.join_multicast_v6(&group, interface),
    }
}

fn leave(socket: &Socket, group: IpAddr, interface: u32) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => {
            socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface))
        }
        IpAddr::V6(group) => socket.leave_multicast_v6(&group, interface),
    }
}
