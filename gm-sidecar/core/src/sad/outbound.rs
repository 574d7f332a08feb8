//! From the TUN to the wire: policy, SA, segments, seal.
//!
//! Packets that go the same way one after the other are sealed side by side into one *train*, which
//! leaves with one system call. A train is sent when the next packet does not fit it, and when the
//! caller says that nothing more waits ([`Outbound::flush`]).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{Installed, InstalledSa, PathMtu};
use crate::data_plane::{Encapsulation, Family};
use crate::drop_reason::{DropCounters, DropReason};
use crate::esp::seal::Sealer;
use crate::ip::flow::{Flow, number};
use crate::ip::fragment::Fragments;
use crate::ip::header::Header;
use crate::ip::icmp;
use crate::ip::segment::{Segments, complete_checksum};
use crate::ip::segment_size;
use crate::ip::virtio::{self, Segmentation, VirtioHeader};
use crate::spd::{FlowCache, Verdict};

/// Packets of one train at most: what the kernel takes as one segmented datagram.
pub const MOST_SEGMENTS: usize = 64;
/// Octets of one train at most: a UDP datagram over IPv4 with room for its headers.
const MOST_OCTETS: usize = 65_000;

/// Where the packets of a train go, and what their outer headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// IP version, inside and outside.
    pub family: Family,
    /// Outer source: that of the inner packet.
    pub source: IpAddr,
    /// Outer destination: that of the inner packet.
    pub destination: IpAddr,
    /// Form on the wire.
    pub encapsulation: Encapsulation,
    /// DSCP and ECN, copied from the inner packet (RFC 6040 §4.1, normal mode).
    pub traffic_class: u8,
    /// Time to live or hop limit, copied from the inner packet.
    pub hop_limit: u8,
    /// Hash of the inner flow, to choose the UDP source port by.
    pub flow_hash: u64,
}

/// What became of a train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has it.
    Yes,
    /// The kernel refused it.
    Refused,
    /// The path carries outer packets of at most this many octets.
    TooBig(u16),
}

/// What the caller does with finished packets.
pub trait Carrier {
    /// Sends ESP packets that lie one after the other in `train`: each of `segment` octets, the last one perhaps
    /// shorter.
    fn send(&mut self, route: &Route, train: &[u8], segment: usize) -> Sent;

    /// Gives an IP packet back to the TUN: an ICMP error about a packet that came from there.
    fn reply(&mut self, packet: &[u8]);
}

/// What became of a packet from the TUN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Sealed into this many packets.
    Sealed(usize),
    /// Dropped and counted.
    Dropped(DropReason),
}

/// Packets being collected.
struct Train {
    octets: Box<[u8]>,
    length: usize,
    /// Octets of each packet but perhaps the last.
    segment: usize,
    count: usize,
    /// A shorter packet ended the train.
    closed: bool,
    route: Option<Route>,
    inner_octets: u64,
}

/// The sending half of the packet path; owned by one thread.
pub struct Outbound {
    train: Train,
    verdicts: FlowCache<Verdict>,
    paths: PathMtu,
    drops: Arc<DropCounters>,
    sent_packets: u64,
    sent_octets: u64,
    answer: Box<[u8; icmp::MAX_LENGTH]>,
}

impl Outbound {
    /// A sending half that counts its drops in `drops`.
    pub fn new(drops: Arc<DropCounters>) -> Self {
        Self {
            train: Train {
                octets: vec![0; MOST_OCTETS].into_boxed_slice(),
                length: 0,
                segment: 0,
                count: 0,
                closed: false,
                route: None,
                inner_octets: 0,
            },
            verdicts: FlowCache::new(),
            paths: PathMtu::default(),
            drops,
            sent_packets: 0,
            sent_octets: 0,
            answer: Box::new([0; icmp::MAX_LENGTH]),
        }
    }

    /// Packets sent since the last call, and octets of their inner packets.
    pub fn take_totals(&mut self) -> (u64, u64) {
        (
            std::mem::take(&mut self.sent_packets),
            std::mem::take(&mut self.sent_octets),
        )
    }

    /// Takes what one read of the TUN gave: virtio header and packet. The packet is changed in place.
    #[inline]
    pub fn handle(
        &mut self,
        installed: &Installed,
        now: Instant,
        read: &mut [u8],
        carrier: &mut dyn Carrier,
    ) -> Outcome {
        match self.seal(installed, now, read, carrier) {
            Ok(packets) => Outcome::Sealed(packets),
            Err(reason) => {
                self.drops.add(reason, 1);
                Outcome::Dropped(reason)
            }
        }
    }

    /// Sends what is collected.
    pub fn flush(&mut self, now: Instant, carrier: &mut dyn Carrier) {
        let train = &mut self.train;
        let Some(route) = train.route.take() else {
            return;
        };
        let packets = train.count as u64;
        match carrier.send(&route, &train.octets[..train.length], train.segment) {
            Sent::Yes => {
                self.sent_packets += packets;
                self.sent_octets += train.inner_octets;
            }
            Sent::Refused => self.drops.add(DropReason::SendFailed, packets),
            Sent::TooBig(octets) => {
                self.drops.add(DropReason::TooBig, packets);
                self.paths.learn(number(route.destination), octets, now);
            }
        }
        train.length = 0;
        train.count = 0;
        train.closed = false;
        train.inner_octets = 0;
    }

    fn seal(
        &mut self,
        installed: &Installed,
        now: Instant,
        read: &mut [u8],
        carrier: &mut dyn Carrier,
    ) -> Result<usize, DropReason> {
        let malformed = DropReason::OutboundMalformed;
        let (head, packet) = read
            .split_first_chunk_mut::<{ virtio::LENGTH }>()
            .ok_or(malformed)?;
        let virtio = VirtioHeader::parse(head).ok_or(malformed)?;
        let header = Header::parse(packet).map_err(|_| malformed)?;
        if header.total_length != packet.len() {
            return Err(malformed);
        }
        let flow = Flow::of(&header);
        let verdict = self.verdicts.get_or(installed.generation(), &flow, || {
            installed.access_list().lookup(&flow)
        });
        let (group, association) = match verdict {
            Verdict::Protect { group, association } => (group, association),
            Verdict::Clear => return Err(DropReason::PolicyClear),
            Verdict::NoRule => return Err(DropReason::NoPolicy),
        };
        if !installed.may_send(group) {
            return Err(DropReason::ReceiveOnly);
        }
        let sa = installed
            .sealing(group, association, header.family, now)
            .ok_or(DropReason::NoSecurityAssociation)?;
        let (sender, counter) = sa
            .sender
            .as_ref()
            .ok_or(DropReason::NoSecurityAssociation)?;
        let pseudotime = match sa.anti_replay.time_window {
            Some(_) => Some(
                installed
                    .pseudotime(group, now)
                    .ok_or(DropReason::NoPseudotime)?,
            ),
            None => None,
        };
        let sealer = Sealer {
            spi: sa.spi,
            salt: sa.salt,
            iv: sa.iv,
            sender: *sender,
            family: header.family,
            pseudotime,
        };
        let route = Route {
            family: header.family,
            source: header.source,
            destination: header.destination,
            encapsulation: sa.encapsulation,
            traffic_class: header.traffic_class,
            hop_limit: header.hop_limit,
            flow_hash: flow.hash(),
        };
        let link = self
            .paths
            .get(flow.destination, now)
            .map_or(installed.link_mtu(), |path| path.min(installed.link_mtu()));
        let largest =
            sealer
                .layout()
                .largest_inner(usize::from(link), header.family, sa.encapsulation);
        let exhausted = |_| DropReason::CounterExhausted;

        if virtio.segmentation != Segmentation::None {
            let segments =
                Segments::new(packet, &header, &virtio, largest).map_err(|_| malformed)?;
            if segments.length(0) > largest {
                return Err(self.refuse_too_big(packet, &header, largest, carrier));
            }
            let counters = counter.reserve(segments.count()).map_err(exhausted)?;
            for (at, counter) in counters.enumerate() {
                let length = segments.length(at);
                self.push(&route, &sealer, sa, counter, length, now, carrier, |out| {
                    segments.write(at, out)
                });
            }
            return Ok(segments.count());
        }
        complete_checksum(packet, &virtio).map_err(|_| malformed)?;
        segment_size::clamp(packet, &header, largest);
        if packet.len() <= largest {
            let counter = counter.reserve(1).map_err(exhausted)?.start;
            self.push(
                &route,
                &sealer,
                sa,
                counter,
                packet.len(),
                now,
                carrier,
                |out| out.copy_from_slice(packet),
            );
            return Ok(1);
        }
        if header.dont_fragment {
            return Err(self.refuse_too_big(packet, &header, largest, carrier));
        }
        // RFC 4301 §8.2: a gateway fragments before it encrypts, so that every fragment is authenticated on its own.
        let fragments = Fragments::new(packet, &header, largest).map_err(|_| malformed)?;
        let counters = counter.reserve(fragments.count()).map_err(exhausted)?;
        for (at, counter) in counters.enumerate() {
            let length = fragments.length(at);
            self.push(&route, &sealer, sa, counter, length, now, carrier, |out| {
                fragments.write(at, out)
            });
        }
        Ok(fragments.count())
    }

    fn refuse_too_big(
        &mut self,
        packet: &[u8],
        header: &Header,
        largest: usize,
        carrier: &mut dyn Carrier,
    ) -> DropReason {
        if let Some(length) = icmp::too_big(packet, header, largest, &mut self.answer) {
            carrier.reply(&self.answer[..length]);
        }
        DropReason::TooBig
    }

    /// Seals one inner packet at the end of the train, after making room for it.
    #[allow(clippy::too_many_arguments)]
    #[inline]
    fn push(
        &mut self,
        route: &Route,
        sealer: &Sealer,
        sa: &InstalledSa,
        counter: u64,
        inner: usize,
        now: Instant,
        carrier: &mut dyn Carrier,
        write: impl FnOnce(&mut [u8]),
    ) {
        let layout = sealer.layout();
        let length = layout.sealed_length(inner);
        if !self.train.takes(route, length) {
            self.flush(now, carrier);
        }
        let train = &mut self.train;
        let slot = &mut train.octets[train.length..train.length + length];
        write(&mut slot[layout.inner_offset()..][..inner]);
        sealer.seal(&*sa.aead, counter, inner, slot);
        if train.count == 0 {
            train.route = Some(*route);
            train.segment = length;
        }
        train.closed = length < train.segment;
        train.length += length;
        train.count += 1;
        train.inner_octets += inner as u64;
        sa.counters.add_sent(1, inner as u64);
    }
}

impl Train {
    /// Whether a packet of `length` octets can follow.
    fn takes(&self, route: &Route, length: usize) -> bool {
        match &self.route {
            None => true,
            Some(current) => {
                current == route
                    && !self.closed
                    && length <= self.segment
                    && self.count < MOST_SEGMENTS
                    && self.length + length <= self.octets.len()
            }
        }
    }
}
