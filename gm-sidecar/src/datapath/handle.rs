//! The owner's grip on a running packet path.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use gm_core::data_plane::Encapsulation;
pub use gm_core::sad::InstallError;
use gm_core::sad::{Installed, Registry, SenderId, Spi};
use gm_core::{DataPlane, DropReason};
use tokio::sync::mpsc;

use super::aead::Provider;
use super::receiving::Receiver;
use super::sending::Sender;
use super::shared::{MulticastCopies, Shared};
use super::sockets::Sockets;
use super::{Config, StartError, sys};

/// Replay windows kept at most; some 600 octets each.
const MOST_SENDERS: usize = 65_536;
/// Packets that wait in the device. The kernel's own 500 are less than what arrives while the sending thread waits for
/// its turn on a busy processor, a few milliseconds.
const QUEUE: u16 = 4096;
/// IKE messages that wait for the owner.
const IKE_QUEUE: usize = 256;

/// A running packet path; dropping it stops the threads and removes the device.
pub struct Handle {
    shared: Arc<Shared>,
    provider: Provider,
    registry: Mutex<Registry>,
    generation: AtomicU64,
    threads: Vec<JoinHandle<()>>,
    sockets: Arc<Sockets>,
    tun_name: String,
    tun_index: u32,
    tun_mtu: AtomicU16,
    link_mtu: u16,
    unknown_spi: Mutex<Option<mpsc::Receiver<UnknownSpi>>>,
    ike: Mutex<Option<mpsc::Receiver<IkeDatagram>>>,
}

/// ESP arrived with an SPI that no installed SA has: perhaps a rekey was missed. Unauthenticated,
/// so at most one a second is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownSpi {
    /// The SPI.
    pub spi: Spi,
    /// Outer source.
    pub source: IpAddr,
    /// Outer destination.
    pub destination: IpAddr,
}

/// An IKE message that arrived on the ESP port (RFC 3948 §2.2), without its non-ESP marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IkeDatagram {
    /// Where it came from.
    pub source: SocketAddr,
    /// Where it was sent to.
    pub destination: SocketAddr,
    /// The IKE message.
    pub message: Vec<u8>,
}

/// Sends IKE messages from the ESP port.
#[derive(Clone)]
pub struct IkeSender(Arc<Sockets>);

impl IkeSender {
    /// Sends `message`, which has its non-ESP marker, from our address `local` to `remote`.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn send(&self, local: IpAddr, remote: SocketAddr, message: &[u8]) -> std::io::Result<()> {
        self.0.send_ike(local, remote, message)
    }
}

/// Totals since start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountersSnapshot {
    /// Packets sealed and given to the kernel.
    pub sent_packets: u64,
    /// Octets of the inner packets among them.
    pub sent_octets: u64,
    /// Packets opened and given to the TUN.
    pub received_packets: u64,
    /// Octets of the inner packets among them.
    pub received_octets: u64,
    /// Every reason with its count, in declaration order.
    pub drops: Vec<(DropReason, u64)>,
}

/// Totals of one SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaStatistics {
    /// The SA.
    pub spi: Spi,
    /// Packets sealed with it.
    pub sent_packets: u64,
    /// Inner octets sealed with it.
    pub sent_octets: u64,
    /// Packets opened with it.
    pub received_packets: u64,
    /// Inner octets opened with it.
    pub received_octets: u64,
    /// IVs left to our Sender-ID; `None` when we do not seal with it.
    pub counter_left: Option<u64>,
}

/// What a receiver knows of one sender on one SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderStatistics {
    /// The SA.
    pub spi: Spi,
    /// The sender.
    pub sender_id: SenderId,
    /// Highest counter seen.
    pub highest_counter: u64,
    /// Packets accepted.
    pub accepted_packets: u64,
    /// Packets refused as repeated or too far back.
    pub replayed_packets: u64,
}

impl Handle {
    pub(super) fn start(config: Config) -> Result<Self, StartError> {
        let tun_error = |source| StartError::Tun {
            name: config.tun_name.clone(),
            source,
        };
        let (tun, accepts) = sys::open_tun(&config.tun_name).map_err(tun_error)?;
        let tun_index = nix::net::if_::if_nametoindex(config.tun_name.as_str())
            .map_err(|error| tun_error(error.into()))?;
        let tun = Arc::new(tun);
        let sockets = Arc::new(Sockets::open(&config)?);
        if let Some((socket, ..)) = sockets.receivers().next() {
            let socket = socket.as_raw_fd();
            sys::set_queue_length(socket, &config.tun_name, QUEUE).map_err(tun_error)?;
            sys::bring_up(socket, &config.tun_name).map_err(tun_error)?;
        }
        let provider = Provider::choose();
        tracing::info!(library = provider.backend().name(), "packet cipher chosen");
        let nothing = Installed::empty(config.link_mtu);
        let thread_error = |what| move |source: std::io::Error| StartError::Thread { what, source };
        let shared = Shared::new(nothing, MOST_SENDERS)
            .map_err(|error| thread_error("sending")(error.into()))?;
        let shared = Arc::new(shared);
        let (unknown_sender, unknown_receiver) = mpsc::channel(16);
        let (ike_sender, ike_receiver) = mpsc::channel(IKE_QUEUE);
        let mut handle = Self {
            shared: Arc::clone(&shared),
            provider,
            registry: Mutex::new(Registry::default()),
            generation: AtomicU64::new(0),
            threads: Vec::new(),
            sockets: Arc::clone(&sockets),
            tun_name: config.tun_name.clone(),
            tun_index,
            tun_mtu: AtomicU16::new(0),
            link_mtu: config.link_mtu,
            unknown_spi: Mutex::new(Some(unknown_receiver)),
            ike: Mutex::new(Some(ike_receiver)),
        };
        handle.follow_mtu();
        let receiver = Receiver {
            shared: Arc::clone(&shared),
            tun: Arc::clone(&tun),
            accepts,
            sockets: Arc::clone(&sockets),
            unknown_spi: unknown_sender,
            ike: ike_sender,
        };
        let sender = Sender {
            shared,
            tun,
            sockets,
            udp_port: config.udp_port,
            multicast_interface: config.multicast_interface,
        };
        handle
            .threads
            .push(spawn("getvpn-out", move || sender.run()).map_err(thread_error("sending"))?);
        handle
            .threads
            .push(spawn("getvpn-in", move || receiver.run()).map_err(thread_error("receiving"))?);
        Ok(handle)
    }

    /// Puts `data_plane` in force, whole. The TUN's MTU follows what its SAs need.
    ///
    /// # Errors
    /// When it contradicts itself; the one installed before stays in force.
    pub fn install(&self, data_plane: DataPlane) -> Result<(), InstallError> {
        // The registry's lock also keeps two installs in order.
        let mut registry = guard(&self.registry);
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        let installed = Installed::new(
            &data_plane,
            generation,
            self.link_mtu,
            &mut registry,
            &self.provider,
        )?;
        self.generation.store(generation, Ordering::Relaxed);
        self.shared.installed.store(Arc::new(installed));
        self.follow_mtu();
        Ok(())
    }

    /// Says where copies of multicast go, and whether copies of others are accepted: in the groups that are named.
    pub fn copy_multicast(&self, copies: MulticastCopies) {
        guard(&self.shared.inbound).accept_copies(!copies.0.is_empty());
        self.shared.copies.store(Arc::new(copies));
    }

    /// Gives the device the MTU that the installed SAs leave.
    fn follow_mtu(&self) {
        let mtu = self.shared.installed.load().inner_mtu();
        if mtu == self.tun_mtu.load(Ordering::Relaxed) {
            return;
        }
        let Some((socket, ..)) = self.sockets.receivers().next() else {
            return;
        };
        match sys::set_mtu(socket.as_raw_fd(), &self.tun_name, mtu) {
            Ok(()) => self.tun_mtu.store(mtu, Ordering::Relaxed),
            Err(error) => tracing::warn!(device = self.tun_name, mtu, %error, "cannot set the MTU"),
        }
    }

    /// Totals since start.
    pub fn counters(&self) -> CountersSnapshot {
        let totals = &self.shared.totals;
        CountersSnapshot {
            sent_packets: totals.sent_packets.load(Ordering::Relaxed),
            sent_octets: totals.sent_octets.load(Ordering::Relaxed),
            received_packets: totals.received_packets.load(Ordering::Relaxed),
            received_octets: totals.received_octets.load(Ordering::Relaxed),
            drops: self.shared.drops.iter().collect(),
        }
    }

    /// Totals of every SA installed now.
    pub fn sa_statistics(&self) -> Vec<SaStatistics> {
        let installed = self.shared.installed.load();
        installed
            .associations()
            .iter()
            .map(|sa| SaStatistics {
                spi: sa.spi,
                sent_packets: sa.counters.sent_packets.load(Ordering::Relaxed),
                sent_octets: sa.counters.sent_octets.load(Ordering::Relaxed),
                received_packets: sa.counters.received_packets.load(Ordering::Relaxed),
                received_octets: sa.counters.received_octets.load(Ordering::Relaxed),
                counter_left: sa.sender.as_ref().map(|(_, counter)| counter.left()),
            })
            .collect()
    }

    /// What the receive side knows of each sender; holds the receiving thread up for a moment, so not for hot paths.
    pub fn sender_statistics(&self) -> Vec<SenderStatistics> {
        let inbound = guard(&self.shared.inbound);
        inbound
            .replay()
            .iter()
            .map(|(spi, sender_id, window)| SenderStatistics {
                spi,
                sender_id,
                highest_counter: window.highest(),
                accepted_packets: window.accepted(),
                replayed_packets: window.replayed(),
            })
            .collect()
    }

    /// Reports of unknown SPIs, at most one a second; `None` when already taken.
    pub fn unknown_spi_events(&self) -> Option<mpsc::Receiver<UnknownSpi>> {
        guard(&self.unknown_spi).take()
    }

    /// IKE messages that arrive on the ESP port; `None` when already taken. Until taken they wait, a few of them.
    pub fn ike_datagrams(&self) -> Option<mpsc::Receiver<IkeDatagram>> {
        guard(&self.ike).take()
    }

    /// Sends IKE messages from the ESP port, which belongs to the packet path.
    pub fn ike_sender(&self) -> IkeSender {
        IkeSender(Arc::clone(&self.sockets))
    }

    /// Whether ESP in this form can be sent and received: raw ESP needs the capability CAP_NET_RAW.
    pub fn carries(&self, encapsulation: Encapsulation) -> bool {
        self.sockets.carries(encapsulation)
    }

    /// The device's name.
    pub fn tun_name(&self) -> &str {
        &self.tun_name
    }

    /// The device's interface index.
    pub fn tun_index(&self) -> u32 {
        self.tun_index
    }

    /// The device's MTU.
    pub fn tun_mtu(&self) -> u16 {
        self.tun_mtu.load(Ordering::Relaxed)
    }

    /// Stops both threads and removes the device; returns when they are gone.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a packet thread panicked");
            }
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// A panic elsewhere must not take the packet path with it.
fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
