//! The receiving thread: wire to TUN.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use gm_core::DropReason;
use gm_core::data_plane::{Encapsulation, Family};
use gm_core::ip::coalesce::{self, Accepts, MAX_SEGMENTS};
use gm_core::ip::header::Header;
use gm_core::sad::{Inbound, Installed, Outer};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::uio::writev;
use tokio::sync::mpsc;

use super::handle::{IkeDatagram, UnknownSpi};
use super::shared::{Shared, Side};
use super::sockets::Sockets;
use super::sys::{self, Received};

/// Octets of one receive: the largest datagram, or as many as the kernel joins.
const RECEIVE: usize = 65_536;
/// Receives before the thread looks at its other sockets.
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
        let mut buffer = vec![0; RECEIVE];
        let mut accepts = self.accepts;
        let mut last_report = None;
        let mut generation = 0;
        while !self.shared.stopping() {
            self.wait();
            let mut more = true;
            while more && !self.shared.stopping() {
                more = self.batch(&mut buffer, &mut accepts, &mut last_report, &mut generation);
            }
        }
    }

    fn wait(&self) {
        let mut sources: Vec<PollFd<'_>> = self
            .sockets
            .receivers()
            .map(|(socket, ..)| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
            .collect();
        sources.push(PollFd::new(
            self.shared.wake(Side::In).as_fd(),
            PollFlags::POLLIN,
        ));
        // An interrupted wait is a wait that ended.
        let _ = poll(&mut sources, PollTimeout::NONE);
    }

    /// Receives from every socket until it is empty or has had its share; `false` when nothing waits.
    fn batch(
        &self,
        buffer: &mut [u8],
        accepts: &mut Accepts,
        last_report: &mut Option<Instant>,
        generation: &mut u64,
    ) -> bool {
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
        let mut more = false;
        for (socket, family, encapsulation) in self.sockets.receivers() {
            let mut share = BATCH;
            while share > 0 {
                share -= 1;
                match sys::receive(socket.as_raw_fd(), buffer) {
                    Ok(received) => {
                        self.datagram(&mut batch, accepts, family, encapsulation, received, buffer)
                    }
                    // A full share means that more may wait; an error that nothing does, or that an ICMP error of an
                    // earlier packet was reported here and is gone now.
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(_) => {}
                }
            }
            more |= share == 0;
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
        more
    }

    fn datagram(
        &self,
        batch: &mut Batch<'_>,
        accepts: &mut Accepts,
        family: Family,
        encapsulation: Encapsulation,
        received: Received,
        buffer: &mut [u8],
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
        let mut start = 0;
        if encapsulation == Encapsulation::Raw && family == Family::V4 {
            // The kernel hands over the IPv4 header as well.
            let Some(Ok(header)) = buffer.get(..received.length).map(Header::parse) else {
                self.shared.drops.add(DropReason::EspMalformed, 1);
                return;
            };
            outer.destination = header.destination;
            outer.traffic_class = header.traffic_class;
            start = header.header_length;
        }
        let segment = if start == 0 {
            received.segment
        } else {
            received.length
        };
        let mut inner: [Range<usize>; MAX_SEGMENTS] = std::array::from_fn(|_| 0..0);
        let mut count = 0;
        while start < received.length {
            let end = (start + segment).min(received.length);
            if let Some(place) = self.packet(batch, &outer, &received, start..end, buffer) {
                inner[count] = place;
                count += 1;
            }
            start = end;
            if count == MAX_SEGMENTS {
                self.deliver(batch, accepts, &inner, buffer);
                count = 0;
            }
        }
        self.deliver(batch, accepts, &inner[..count], buffer);
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

    /// Writes inner packets to the TUN, joined where the kernel takes that.
    fn deliver(
        &self,
        batch: &mut Batch<'_>,
        accepts: &mut Accepts,
        packets: &[Range<usize>],
        buffer: &[u8],
    ) {
        let mut rest = packets;
        while !rest.is_empty() {
            let run = coalesce::next_run(buffer, rest, *accepts);
            let (now, later) = rest.split_at(run.packets.clamp(1, rest.len()));
            rest = later;
            let mut parts = [IoSlice::new(&[]); MAX_SEGMENTS + 1];
            parts[0] = IoSlice::new(run.head());
            let mut octets = 0;
            for (part, place) in parts.iter_mut().skip(1).zip(now) {
                let payload = buffer
                    .get(place.start + run.skip..place.end)
                    .unwrap_or_default();
                *part = IoSlice::new(payload);
                octets += place.len() as u64;
            }
            match writev(&self.tun, &parts[..=now.len()]) {
                Ok(_) => {
                    batch.packets += now.len() as u64;
                    batch.octets += octets;
                }
                // The kernel does not take this kind of super-packet after all.
                Err(Errno::EINVAL) if now.len() > 1 => {
                    *accepts = Accepts::default();
                    self.deliver(batch, accepts, now, buffer);
                }
                Err(_) => self
                    .shared
                    .drops
                    .add(DropReason::TunWriteFailed, now.len() as u64),
            }
        }
    }
}
