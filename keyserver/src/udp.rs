//! The sockets members speak to: one per own address and port, so that an answer always leaves
//! from the address the question came to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use gikev2::Transmit;
use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The port of plain IKEv2, answered too where it can be bound.
const IKE_PORT: u16 = 500;
/// Longest datagram read.
const LONGEST: usize = 65_535;
const QUEUE: usize = 1024;
const KERNEL_BUFFER: usize = 1 << 20;

/// A datagram with both its ends.
#[derive(Debug)]
pub struct Datagram {
    /// Own address and port it was sent to.
    pub local: SocketAddr,
    /// Where it came from.
    pub remote: SocketAddr,
    /// Its octets.
    pub octets: Vec<u8>,
}

/// Why members cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    /// A socket cannot be bound.
    #[error(
        "ike: UDP {address}: {cause}; another process uses the port, the address is not of this host, or the permission to bind ports below 1024 is missing"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The operating system's words.
        cause: String,
    },
    /// The host's addresses cannot be listed.
    #[error("ike.addresses: the addresses of this host cannot be listed: {0}")]
    Addresses(String),
}

/// All sockets of a key server.
pub struct Sockets {
    sockets: Vec<(SocketAddr, Arc<UdpSocket>)>,
    received: mpsc::Receiver<Datagram>,
    _readers: JoinSet<()>,
}

impl Sockets {
    /// Binds `port` and `nat_traversal_port` on every address, and port 500 where that is possible.
    ///
    /// An unspecified address stands for all addresses of its family that the host has now.
    ///
    /// # Errors
    /// [`UdpError`].
    pub fn bind(
        addresses: &[IpAddr],
        port: u16,
        nat_traversal_port: u16,
    ) -> Result<Self, UdpError> {
        let mut sockets = Vec::new();
        for address in expand(addresses)? {
            for port in [port, nat_traversal_port] {
                let address = SocketAddr::new(address, port);
                let socket = bind(address).map_err(|error| UdpError::Bind {
                    address,
                    cause: error.to_string(),
                })?;
                sockets.push((address, Arc::new(socket)));
            }
            if port != IKE_PORT {
                let address = SocketAddr::new(address, IKE_PORT);
                match bind(address) {
                    Ok(socket) => sockets.push((address, Arc::new(socket))),
                    Err(error) => {
                        tracing::info!(%address, %error, "port 500 is not served; members use the configured port");
                    }
                }
            }
        }
        let (sender, received) = mpsc::channel(QUEUE);
        let mut readers = JoinSet::new();
        for (local, socket) in &sockets {
            readers.spawn(read(*local, socket.clone(), sender.clone()));
        }
        Ok(Self {
            sockets,
            received,
            _readers: readers,
        })
    }

    /// The addresses members can be spoken to from.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> = self
            .sockets
            .iter()
            .map(|(address, _)| address.ip())
            .collect();
        addresses.dedup();
        addresses
    }

    /// The next datagram. Cancel-safe.
    pub async fn receive(&mut self) -> Datagram {
        match self.received.recv().await {
            Some(datagram) => datagram,
            // The readers end only with the process.
            None => std::future::pending().await,
        }
    }

    /// The next datagram, if one has arrived.
    pub fn try_receive(&mut self) -> Option<Datagram> {
        self.received.try_recv().ok()
    }

    /// Sends a datagram from its local address; `hop_limit` is for multicast.
    ///
    /// Sending never waits: a datagram the kernel has no room for is lost as on any network, and
    /// the protocol repeats it.
    pub fn send(&self, transmit: &Transmit, hop_limit: Option<u8>) {
        let Some((_, socket)) = self
            .sockets
            .iter()
            .find(|(address, _)| *address == transmit.local)
        else {
            tracing::warn!(local = %transmit.local, "no socket with this address; a datagram is dropped");
            return;
        };
        if let Some(hop_limit) = hop_limit
            && let Err(error) = crate::multicast::prepare(socket, transmit.local.ip(), hop_limit)
        {
            tracing::warn!(remote = %transmit.remote, %error, "multicast cannot be set up");
            return;
        }
        // The kernel is asked even when the runtime has not yet seen that the socket is writable.
        let sent =
            SockRef::from(socket.as_ref()).send_to(&transmit.payload, &transmit.remote.into());
        if let Err(error) = sent {
            tracing::debug!(remote = %transmit.remote, %error, "a datagram was not sent");
        }
    }
}

fn expand(addresses: &[IpAddr]) -> Result<Vec<IpAddr>, UdpError> {
    let mut expanded = Vec::new();
    for address in addresses {
        if !address.is_unspecified() {
            expanded.push(*address);
            continue;
        }
        let interfaces = getifaddrs().map_err(|error| UdpError::Addresses(error.to_string()))?;
        for found in interfaces.filter_map(|interface| interface.address) {
            let found = match (found.as_sockaddr_in(), found.as_sockaddr_in6()) {
                (Some(v4), _) => IpAddr::V4(v4.ip()),
                // A link-local address means nothing without its interface.
                (_, Some(v6)) if !v6.ip().is_unicast_link_local() => IpAddr::V6(v6.ip()),
                _ => continue,
            };
            if found.is_ipv4() == address.is_ipv4() {
                expanded.push(found);
            }
        }
    }
    expanded.sort_unstable();
    expanded.dedup();
    Ok(expanded)
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // Room for a storm of registrations; the kernel may grant less.
    let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
    let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

async fn read(local: SocketAddr, socket: Arc<UdpSocket>, received: mpsc::Sender<Datagram>) {
    let mut buffer = vec![0; LONGEST];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, remote)) => {
                let octets = buffer.get(..length).unwrap_or_default().to_vec();
                let datagram = Datagram {
                    local,
                    remote: unmapped(remote),
                    octets,
                };
                // A full queue drops: the protocol repeats, and memory stays bounded.
                match received.try_send(datagram) {
                    Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => {}
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                }
            }
            // An ICMP error about an earlier datagram; the socket goes on.
            Err(error) => tracing::debug!(%local, %error, "receiving"),
        }
    }
}

fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether `address` names a multicast group.
pub fn is_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => Ipv4Addr::is_multicast(&address),
        IpAddr::V6(address) => Ipv6Addr::is_multicast(&address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From here on, ports of these tests: below those that the kernel gives to other sockets.
    const OWN_PORTS: u16 = 31_500;

    #[tokio::test]
    async fn an_answer_leaves_from_the_address_the_question_came_to() {
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
        let [port, nat_traversal_port] = [OWN_PORTS, OWN_PORTS + 1];
        let addresses = ["127.0.0.2", "127.0.0.3"].map(|text| text.parse().expect("address"));
        let mut sockets = Sockets::bind(&addresses, port, nat_traversal_port).expect("bound");
        for address in addresses {
            client
                .send_to(b"question", (address, port))
                .await
                .expect("sent");
            let datagram = sockets.receive().await;
            assert_eq!(datagram.local, SocketAddr::new(address, port));
            let answer = Transmit {
                local: datagram.local,
                remote: datagram.remote,
                payload: b"answer".to_vec(),
            };
            sockets.send(&answer, None);
            let mut buffer = [0; 16];
            let (length, from) = client.recv_from(&mut buffer).await.expect("received");
            assert_eq!((&buffer[..length], from), (&b"answer"[..], datagram.local));
        }
    }

    // GET VPN row 57
    #[tokio::test]
    async fn with_named_addresses_no_other_answers_and_without_all_do() {
        let [
            port,
            nat_traversal_port,
            other_port,
            other_nat_traversal_port,
        ] = [OWN_PORTS + 2, OWN_PORTS + 3, OWN_PORTS + 4, OWN_PORTS + 5];
        let own: IpAddr = "127.0.0.2".parse().expect("address");
        let ask = async |address: IpAddr, port: u16| {
            let client = UdpSocket::bind("0.0.0.0:0").await.expect("bound");
            client.connect((address, port)).await.expect("a route");
            client.send(b"question").await.expect("sent");
            client
        };
        let mut named = Sockets::bind(&[own], port, nat_traversal_port).expect("bound");
        let refused = ask("127.0.0.3".parse().expect("address"), port).await;
        let mut buffer = [0; 16];
        let answer = refused.recv(&mut buffer).await;
        assert!(answer.is_err(), "the host itself says that nobody is there");
        let _asked = ask(own, port).await;
        assert_eq!(named.receive().await.local.ip(), own);
        drop(named);
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let mut all = Sockets::bind(&[any], other_port, other_nat_traversal_port).expect("bound");
        let (address, _) = all.sockets.first().expect("an address of this host");
        let (ip, port) = (address.ip(), address.port());
        let _asked = ask(ip, port).await;
        assert_eq!(all.receive().await.local.ip(), ip);
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let holder = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
        let address = holder.local_addr().expect("bound");
        let Err(error) = Sockets::bind(&[address.ip()], address.port(), 4501) else {
            panic!("the port was taken");
        };
        assert!(
            error.to_string().contains(&format!("UDP {address}")),
            "{error}"
        );
    }
}
