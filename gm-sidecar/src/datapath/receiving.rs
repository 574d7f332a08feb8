//! The receiving thread: wire to TUN.
//!
//! What waits on a socket is received side by side into one buffer, opened there, and written to
//! the TUN from there: neighbours of a flow can be joined whether they came as one train or apart.

use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use gm_core::DropReason;
use gm_core::data_plane::{Encapsulation, Family};
use gm_core::ip::coalesce::Accepts;
use gm_core::ip::header::Header;
use gm_core::sad::{Inbound, Installed, Outer};
use nix::poll::{PollFd, PollFlags};
use tokio::sync::mpsc;

use super::delivery::deliver;
use super::handle::{IkeDatagram, UnknownSpi};
use super::patience::Patience;
use super::shared::{Shared, Side};
use super::sockets::Sockets;
use super::sys::{self, Received};

/// Octets of one receive: the largest datagram, or as many as the kernel joins.
const RECEIVE: usize = 65_536;
/// Octets of smaller datagrams gathered before they are delivered. A full train leaves no room for
/// another, so that the buffer stays in the processor's cache.
const GATHER: usize = 49_152;
/// Packets gathered at most, but for the last train.
const MOST_PACKETS: usize = 256;
/// Deliveries before the thread looks at its other sockets.
const BATCH: usize = 32;
/// Reports of unknown SPIs are spoofable, so they are rare.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// The port that ESP and IKE share (RFC 3948).
const ESP_PORT: u16 = 4500;
/// Before an IKE message on that port (RFC 3948 §2.2).
const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// What the thread works with.
pub(super) struct Receiver {
    pub(super) shared: Arc<Shared>,
    pub(super) tun: Arc<OwnedFd>,
    pub(super) accepts: Accepts,
    pub(super) sockets: Arc<Sockets>,
    pub(super) unknown_spi: mpsc::Sender<UnknownSpi>,
    pub(super) ike: mpsc::Sender<IkeDatagram>,
}

/// What the thread works in; allocated once.
struct Room {
    buffer: Vec<u8>,
    /// Places of inner packets in `buffer`.
    inner: Vec<Range<usize>>,
}

/// What one batch works with.
struct Batch<'a> {
    installed: &'a Installed,
    inbound: &'a mut Inbound,
    now: Instant,
    packets: u64,
    octets: u64,
    last_report: &'a mut Option<Instant>,
}

impl Receiver {
    /// Runs until the owner stops the packet path.
    pub(super) fn run(&self) {
        let mut room = Room {
            buffer: vec![0; RECEIVE + GATHER],
            inner: Vec::with_capacity(2 * MOST_PACKETS),
        };
        let mut last_report = None;
        let mut generation = 0;
        let mut sources: Vec<PollFd<'_>> = self
            .sockets
            .receivers()
            .map(|(socket, ..)| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
            .collect();
        sources.push(PollFd::new(
            self.shared.wake(Side::In).as_fd(),
            PollFlags::POLLIN,
        ));
        let mut patience = Patience::new();
        while !self.shared.stopping() {
            // An interrupted wait tells of nothing that waits, and is repeated.
            if patience.wait(&mut sources).is_ok() {
                self.batch(&sources, &mut room, &mut last_report, &mut generation);
            }
        }
    }

    /// Receives from every socket on which something waits until it is empty or has had its share.
    fn batch(
        &self,
        sources: &[PollFd<'_>],
        room: &mut Room,
        last_report: &mut Option<Instant>,
        generation: &mut u64,
    ) {
        let installed = self.shared.installed.load();
        let mut inbound = self
            .shared
            .inbound
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *generation != installed.generation() {
            *generation = installed.generation();
            inbound.retain(&installed);
        }
        let mut batch = Batch {
            installed: &installed,
            inbound: &mut inbound,
            now: Instant::now(),
            packets: 0,
            octets: 0,
            last_report,
        };
        for ((socket, family, encapsulation), source) in self.sockets.receivers().zip(sources) {
            // A pending error counts as well: receiving takes it off the socket.
            if source.any() == Some(false) {
                continue;
            }
            let mut share = BATCH;
            while share > 0
                && self.gather(&mut batch, room, socket.as_raw_fd(), family, encapsulation)
            {
                share -= 1;
            }
        }
        if batch.packets > 0 {
            self.shared
                .totals
                .received_packets
                .fetch_add(batch.packets, Ordering::Relaxed);
            self.shared
                .totals
                .received_octets
                .fetch_add(batch.octets, Ordering::Relaxed);
        }
    }

    /// Receives until the socket is empty or the room is full, and delivers; `false` when it is empty.
    fn gather(
        &self,
        batch: &mut Batch<'_>,
        room: &mut Room,
        socket: RawFd,
        family: Family,
        encapsulation: Encapsulation,
    ) -> bool {
        room.inner.clear();
        let mut used = 0;
        let mut more = true;
        while used <= GATHER && room.inner.len() < MOST_PACKETS {
            let Some(free) = room.buffer.get_mut(used..) else {
                break;
            };
            match sys::receive(socket, free) {
                Ok(received) => {
                    self.datagram(batch, family, encapsulation, &received, used, room);
                    used += received.length.next_multiple_of(8);
                }
                // Nothing waits; or an error of an earlier packet was reported here and is gone now.
                Err(_) => {
                    more = false;
                    break;
                }
            }
        }
        let delivered = deliver(&self.tun, self.accepts, &room.buffer, &room.inner);
        batch.packets += delivered.packets;
        batch.octets += delivered.octets;
        if delivered.refused > 0 {
            self.shared
                .drops
                .add(DropReason::TunWriteFailed, delivered.refused);
        }
        more
    }

    /// Opens the packets of one datagram or train, received at `start`.
    fn datagram(
        &self,
        batch: &mut Batch<'_>,
        family: Family,
        encapsulation: Encapsulation,
        received: &Received,
        start: usize,
        room: &mut Room,
    ) {
        if received.truncated {
            self.shared.drops.add(DropReason::ReceiveTruncated, 1);
            return;
        }
        let mut outer = Outer {
            source: received.source.ip(),
            destination: received.destination,
            traffic_class: received.traffic_class,
            encapsulation,
        };
        let end = start + received.length;
        let mut at = start;
        if encapsulation == Encapsulation::Raw && family == Family::V4 {
            // The kernel hands over the IPv4 header as well.
            let Some(Ok(header)) = room.buffer.get(start..end).map(Header::parse) else {
                self.shared.drops.add(DropReason::EspMalformed, 1);
                return;
            };
            outer.destination = header.destination;
            outer.traffic_class = header.traffic_class;
            at += header.header_length;
        }
        while at < end {
            let next = (at + received.segment).min(end);
            if let Some(place) = self.packet(batch, &outer, received, at..next, &mut room.buffer) {
                room.inner.push(place);
            }
            at = next;
        }
    }

    /// Opens one packet; where its inner packet lies when it may pass.
    fn packet(
        &self,
        batch: &mut Batch<'_>,
        outer: &Outer,
        received: &Received,
        place: Range<usize>,
        buffer: &mut [u8],
    ) -> Option<Range<usize>> {
        let start = place.start;
        let packet = buffer.get_mut(place)?;
        if outer.encapsulation == Encapsulation::Udp {
            if let Some(message) = packet.strip_prefix(&NON_ESP_MARKER) {
                self.hand_over(outer, received, message);
                return None;
            }
            // A NAT keepalive (RFC 3948 §2.3) is no packet at all.
            if packet == [0xff] {
                return None;
            }
        }
        match batch
            .inbound
            .handle(batch.installed, batch.now, outer, packet)
        {
            Ok(inner) => Some(start + inner.start..start + inner.end),
            Err(refused) => {
                self.shared.drops.add(refused.reason, 1);
                if let (DropReason::UnknownSpi, Some(spi)) = (refused.reason, refused.spi) {
                    let due = batch
                        .last_report
                        .is_none_or(|last| batch.now - last >= REPORT_EVERY);
                    if due {
                        *batch.last_report = Some(batch.now);
                        let event = UnknownSpi {
                            spi,
                            source: outer.source,
                            destination: outer.destination,
                        };
                        // An owner that does not read has its reasons; the next report comes in a second.
                        let _ = self.unknown_spi.try_send(event);
                    }
                }
                None
            }
        }
    }

    fn hand_over(&self, outer: &Outer, received: &Received, message: &[u8]) {
        let datagram = IkeDatagram {
            source: received.source,
            destination: SocketAddr::new(outer.destination, ESP_PORT),
            message: message.to_vec(),
        };
        if self.ike.try_send(datagram).is_err() {
            self.shared.drops.add(DropReason::IkeDatagram, 1);
        }
    }
}
