//! Numbered UDP packets from one namespace to another: how many were lost, and when.
//!
//! Sender and receiver are threads of this process that have entered the namespaces, so the packets
//! pass the kernel, the members' data path and the lab's wires exactly like those of any program.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use kubectl_getvpn::lab::namespace;
use socket2::SockRef;

/// Octets that every packet carries; a capture that sees them has seen traffic in clear.
pub const CANARY: &[u8] = b"getvpn-end-to-end-canary";

/// Socket buffers that hold several seconds of traffic, so that the rig itself loses nothing.
const BUFFER: usize = 64 << 20;
/// How often the sender looks at the clock.
const TICK: Duration = Duration::from_millis(2);
/// How long the receiver waits for stragglers after the last packet was sent.
const STRAGGLERS: Duration = Duration::from_secs(3);

/// Where traffic runs, and how much.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Namespace and address of the sender.
    pub from: (String, IpAddr),
    /// Namespace and address of the receiver; a group address for multicast.
    pub to: (String, IpAddr),
    /// UDP port of the receiver.
    pub port: u16,
    /// Packets a second.
    pub rate: u32,
    /// Octets of UDP payload, at least canary and number.
    pub size: usize,
}

/// What became of the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Packets sent.
    pub sent: u64,
    /// Different packets received.
    pub received: u64,
    /// Packets the kernel refused to send, because the member or the guard dropped them locally.
    pub refused: u64,
    /// Packets received more than once.
    pub repeated: u64,
    /// Longest time without a packet at the receiver, between the first and the last one.
    pub longest_gap: Duration,
}

impl Report {
    /// Packets sent and never received.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }
}

/// Traffic that runs until [`Traffic::stop`].
pub struct Traffic {
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
    sender: JoinHandle<io::Result<Sent>>,
    receiver: JoinHandle<io::Result<Received>>,
}

#[derive(Default)]
struct Progress {
    sent: AtomicU64,
    received: AtomicU64,
    finished: AtomicBool,
}

struct Sent {
    sent: u64,
    refused: u64,
}

struct Received {
    seen: Vec<u64>,
    repeated: u64,
    longest_gap: Duration,
}

impl Traffic {
    /// Starts traffic; the receiver listens before the first packet leaves.
    ///
    /// # Errors
    /// When a namespace cannot be entered or an address cannot be bound.
    pub fn start(plan: &Plan) -> Result<Self> {
        let to = SocketAddr::new(plan.to.1, plan.port);
        let receiving = socket_in(&plan.to.0, listen_address(to))?;
        if plan.to.1.is_multicast() {
            join(&receiving, plan.to.1)?;
        }
        // A socket bound to an address of its own sends multicast straight out of the interface that has the address,
        // past all routes (and the guard then drops it): leave the choice to the routes.
        let from = if plan.to.1.is_multicast() {
            unspecified_like(plan.to.1)
        } else {
            plan.from.1
        };
        let sending = socket_in(&plan.from.0, SocketAddr::new(from, 0))?;
        if plan.to.1.is_multicast() {
            SockRef::from(&sending)
                .set_multicast_ttl_v4(16)
                .context("multicast hop limit")?;
        }
        receiving.set_read_timeout(Some(Duration::from_millis(100)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let progress = Arc::new(Progress::default());
        let receiver = {
            let progress = Arc::clone(&progress);
            std::thread::spawn(move || receive(&receiving, &progress))
        };
        let sender = {
            let (stop, progress, plan) = (Arc::clone(&stop), Arc::clone(&progress), plan.clone());
            std::thread::spawn(move || {
                let sent = send(&sending, to, &plan, &stop, &progress);
                progress.finished.store(true, Ordering::Release);
                sent
            })
        };
        Ok(Self {
            stop,
            progress,
            sender,
            receiver,
        })
    }

    /// Packets sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.progress.sent.load(Ordering::Relaxed)
    }

    /// Packets received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.progress.received.load(Ordering::Relaxed)
    }

    /// Stops sending, waits for stragglers and counts.
    ///
    /// # Errors
    /// When a socket failed for another reason than a dropped packet.
    pub fn stop(self) -> Result<Report> {
        self.stop.store(true, Ordering::Release);
        let sent = self
            .sender
            .join()
            .map_err(|_| anyhow!("the sender panicked"))??;
        let received = self
            .receiver
            .join()
            .map_err(|_| anyhow!("the receiver panicked"))??;
        Ok(Report {
            sent: sent.sent,
            refused: sent.refused,
            received: received
                .seen
                .iter()
                .map(|word| u64::from(word.count_ones()))
                .sum(),
            repeated: received.repeated,
            longest_gap: received.longest_gap,
        })
    }
}

/// A socket of a namespace, made by a thread that enters it and ends.
fn socket_in(namespace: &str, address: SocketAddr) -> Result<UdpSocket> {
    let namespace = namespace.to_owned();
    std::thread::spawn(move || -> Result<UdpSocket> {
        namespace::enter(&namespace)?;
        let socket =
            UdpSocket::bind(address).with_context(|| format!("bind {address} in {namespace}"))?;
        let options = SockRef::from(&socket);
        // The plain options are capped by the system; as root the forced ones are not.
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::RcvBufForce, &BUFFER)
            .or_else(|_| {
                options
                    .set_recv_buffer_size(BUFFER)
                    .map_err(|_| nix::errno::Errno::EPERM)
            })
            .context("receive buffer")?;
        Ok(socket)
    })
    .join()
    .map_err(|_| anyhow!("the thread that entered a namespace panicked"))?
}

fn listen_address(to: SocketAddr) -> SocketAddr {
    match to.ip() {
        address if address.is_multicast() => SocketAddr::new(unspecified_like(address), to.port()),
        _ => to,
    }
}

fn unspecified_like(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::from([0, 0, 0, 0]),
        IpAddr::V6(_) => IpAddr::from([0_u16; 8]),
    }
}

fn join(socket: &UdpSocket, group: IpAddr) -> Result<()> {
    match group {
        IpAddr::V4(group) => socket.join_multicast_v4(&group, &std::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(group) => socket.join_multicast_v6(&group, 0),
    }
    .with_context(|| format!("join {group}"))
}

/// Sends what is due at every tick, so that a late wake-up is made up for.
fn send(
    socket: &UdpSocket,
    to: SocketAddr,
    plan: &Plan,
    stop: &AtomicBool,
    progress: &Progress,
) -> io::Result<Sent> {
    let mut packet = vec![0; plan.size.max(CANARY.len() + 8)];
    packet[..CANARY.len()].copy_from_slice(CANARY);
    let start = Instant::now();
    let (mut next, mut refused) = (0_u64, 0_u64);
    while !stop.load(Ordering::Acquire) {
        let due = start.elapsed().as_micros() * u128::from(plan.rate) / 1_000_000;
        while u128::from(next) < due {
            packet[CANARY.len()..CANARY.len() + 8].copy_from_slice(&next.to_be_bytes());
            match socket.send_to(&packet, to) {
                Ok(_) => {}
                // The member's drop rules answer like this; such a packet counts as sent and lost.
                Err(error) if is_refusal(&error) => refused += 1,
                Err(error) => return Err(error),
            }
            next += 1;
        }
        progress.sent.store(next, Ordering::Relaxed);
        std::thread::sleep(TICK);
    }
    Ok(Sent {
        sent: next,
        refused,
    })
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NetworkDown
    ) || error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32)
}

fn receive(socket: &UdpSocket, progress: &Progress) -> io::Result<Received> {
    let mut packet = vec![0; 65_536];
    let mut received = Received {
        seen: Vec::new(),
        repeated: 0,
        longest_gap: Duration::ZERO,
    };
    let mut last: Option<Instant> = None;
    let mut ended: Option<Instant> = None;
    let mut distinct = 0;
    loop {
        match socket.recv(&mut packet) {
            Ok(length) => {
                let now = Instant::now();
                if let Some(last) = last {
                    received.longest_gap = received.longest_gap.max(now - last);
                }
                last = Some(now);
                if let Some(number) = number(&packet[..length]) {
                    if mark(&mut received.seen, number) {
                        distinct += 1;
                        progress.received.store(distinct, Ordering::Relaxed);
                    } else {
                        received.repeated += 1;
                    }
                }
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) => {}
            // An ICMP error of an earlier packet; the next read goes on.
            Err(error) if is_refusal(&error) => {}
            Err(error) => return Err(error),
        }
        if progress.finished.load(Ordering::Acquire) {
            let complete = distinct >= progress.sent.load(Ordering::Relaxed);
            let ended = *ended.get_or_insert_with(Instant::now);
            if complete || ended.elapsed() >= STRAGGLERS {
                return Ok(received);
            }
        }
    }
}

fn number(packet: &[u8]) -> Option<u64> {
    let rest = packet.strip_prefix(CANARY)?;
    Some(u64::from_be_bytes(rest.get(..8)?.try_into().ok()?))
}

/// Marks a number as seen; `false` when it was already.
fn mark(seen: &mut Vec<u64>, number: u64) -> bool {
    let Ok(word) = usize::try_from(number / 64) else {
        return false;
    };
    if word >= seen.len() {
        seen.resize(word + 1, 0);
    }
    let bit = 1 << (number % 64);
    let new = seen[word] & bit == 0;
    seen[word] |= bit;
    new
}
