//! From the TUN to the wire: policy, SA, segments, seal.
//!
//! Packets are sealed where they will be sent from: in trains ([`super::train`]), which leave when
//! they are full and when the caller says that nothing more waits ([`Outbound::flush`]).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::train::{Train, Trains};
use super::{Installed, InstalledSa, PathMtu};
use crate::data_plane::{Encapsulation, Family};
use crate::drop_reason::{DropCounters, DropReason};
use crate::esp::seal::Sealer;
use crate::ip::flow::{Flow, number};
use crate::ip::fragment::Fragments;
use crate::ip::header::{Fragment, Header};
use crate::ip::segment::{Segments, complete_checksum};
use crate::ip::virtio::{self, Segmentation, VirtioHeader};
use crate::ip::{icmp, segment_size};
use crate::spd::{FlowCache, Verdict};

/// IPv6 packets up to this size always pass (RFC 8200 §5), whatever the path and our headers leave.
const IPV6_ALWAYS: usize = 1280;
/// Answers to senders of too large packets, at most so many in [`ANSWER_PERIOD`].
const ANSWERS: u32 = 100;
const ANSWER_PERIOD: Duration = Duration::from_secs(1);
/// Octets of the largest IP packet.
const LARGEST_PACKET: usize = 65_535;

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
    /// Number of the group whose SA it is: says to whom copies of multicast go.
    pub group_id: u32,
    /// DSCP and ECN, copied from the inner packet (RFC 6040 §4.1, normal mode).
    pub traffic_class: u8,
    /// Time to live or hop limit, copied from the inner packet.
    pub hop_limit: u8,
    /// Which of the source ports: the same for all packets of an inner flow.
    pub spread: u32,
    /// The outer packet is too large for its path and travels in fragments: only IPv6 packets
    /// that no sender can make smaller.
    pub in_fragments: bool,
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

/// The sending half of the packet path; owned by one thread.
pub struct Outbound {
    trains: Trains,
    verdicts: FlowCache<Verdict>,
    spreads: u32,
    ledger: Ledger,
    answer: Box<[u8; icmp::MAX_LENGTH]>,
    answers: (Option<Instant>, u32),
    datagram: Box<[u8]>,
}

/// What the sending of trains leaves behind.
struct Ledger {
    drops: Arc<DropCounters>,
    paths: PathMtu,
    sent_packets: u64,
    sent_octets: u64,
}

/// What one packet from the TUN, or the packets it stands for, have in common.
struct Sealing<'a> {
    sa: &'a InstalledSa,
    sealer: Sealer,
    route: Route,
    /// Octets of the largest inner packet that fits the path.
    largest: usize,
}

impl Outbound {
    /// A sending half that counts its drops in `drops` and spreads flows over `spreads` source
    /// ports.
    pub fn new(drops: Arc<DropCounters>, spreads: u32) -> Self {
        Self {
            trains: Trains::new(),
            verdicts: FlowCache::new(),
            spreads: spreads.max(1),
            ledger: Ledger {
                drops,
                paths: PathMtu::default(),
                sent_packets: 0,
                sent_octets: 0,
            },
            answer: Box::new([0; icmp::MAX_LENGTH]),
            answers: (None, 0),
            datagram: vec![0; LARGEST_PACKET].into_boxed_slice(),
        }
    }

    /// Packets sent since the last call, and octets of their inner packets.
    pub fn take_totals(&mut self) -> (u64, u64) {
        (
            std::mem::take(&mut self.ledger.sent_packets),
            std::mem::take(&mut self.ledger.sent_octets),
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
                self.ledger.drops.add(reason, 1);
                Outcome::Dropped(reason)
            }
        }
    }

    /// Sends what is collected.
    pub fn flush(&mut self, now: Instant, carrier: &mut dyn Carrier) {
        self.trains
            .leave(|train| self.ledger.send(train, now, carrier));
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
        let sealing = self.judge(installed, now, &header)?;
        if virtio.segmentation == Segmentation::None {
            complete_checksum(packet, &virtio).map_err(|_| malformed)?;
            segment_size::clamp(packet, &header, sealing.largest);
            return self.lone(&sealing, now, packet, &header, carrier);
        }
        let segments =
            Segments::new(packet, &header, &virtio, sealing.largest).map_err(|_| malformed)?;
        if segments.length(0) <= sealing.largest {
            return self.push(
                &sealing,
                now,
                carrier,
                segments.count(),
                |at| segments.length(at),
                |at, out| {
                    segments.write(at, out);
                },
            );
        }
        // Datagrams that do not fit the path: each is handled by itself.
        let mut datagram = std::mem::take(&mut self.datagram);
        let sealed = (0..segments.count()).try_fold(0, |sum, at| {
            let datagram = datagram.get_mut(..segments.length(at)).ok_or(malformed)?;
            segments.write(at, datagram);
            let header = Header::parse(datagram).map_err(|_| malformed)?;
            Ok(sum + self.lone(&sealing, now, datagram, &header, carrier)?)
        });
        self.datagram = datagram;
        sealed
    }

    /// Asks policy and SAs what is to be done with a packet.
    fn judge<'a>(
        &mut self,
        installed: &'a Installed,
        now: Instant,
        header: &Header,
    ) -> Result<Sealing<'a>, DropReason> {
        let mut flow = Flow::of(header);
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
        let (sender, _) = sa
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
        if header.fragment != Fragment::Whole {
            // All fragments of a packet go the same way, and only the first shows ports.
            flow.ports = (0, 0);
        }
        let link = installed.link_mtu();
        let outer = self
            .ledger
            .paths
            .get(flow.destination, now)
            .map_or(link, |path| path.min(link));
        Ok(Sealing {
            largest: sa
                .layout()
                .largest_inner(usize::from(outer), header.family, sa.encapsulation),
            sealer: Sealer {
                spi: sa.spi,
                salt: sa.salt,
                iv: sa.iv,
                sender: *sender,
                family: header.family,
                pseudotime,
            },
            route: Route {
                family: header.family,
                source: header.source,
                destination: header.destination,
                encapsulation: sa.encapsulation,
                group_id: installed.group_id(group),
                traffic_class: header.traffic_class,
                hop_limit: header.hop_limit,
                spread: (flow.hash() >> 32) as u32 % self.spreads,
                in_fragments: false,
            },
            sa,
        })
    }

    /// Seals one packet: whole, in fragments, or not at all.
    fn lone(
        &mut self,
        sealing: &Sealing<'_>,
        now: Instant,
        packet: &[u8],
        header: &Header,
        carrier: &mut dyn Carrier,
    ) -> Result<usize, DropReason> {
        if packet.len() <= sealing.largest {
            return self.push(
                sealing,
                now,
                carrier,
                1,
                |_| packet.len(),
                |_, out| out.copy_from_slice(packet),
            );
        }
        if header.family == Family::V6 && packet.len() <= IPV6_ALWAYS {
            let route = Route {
                in_fragments: true,
                ..sealing.route
            };
            let sealing = Sealing { route, ..*sealing };
            return self.push(
                &sealing,
                now,
                carrier,
                1,
                |_| packet.len(),
                |_, out| out.copy_from_slice(packet),
            );
        }
        if header.dont_fragment {
            self.answer_too_big(packet, header, sealing.largest, now, carrier);
            return Err(DropReason::TooBig);
        }
        // Before sealing, so that every fragment is authenticated by itself (RFC 4301 §8.2).
        let fragments =
            Fragments::new(packet, header, sealing.largest).map_err(|_| DropReason::TooBig)?;
        self.push(
            sealing,
            now,
            carrier,
            fragments.count(),
            |at| fragments.length(at),
            |at, out| {
                fragments.write(at, out);
            },
        )
    }

    /// Seals `count` packets: `length` says their sizes, `write` puts them down.
    #[inline]
    fn push(
        &mut self,
        sealing: &Sealing<'_>,
        now: Instant,
        carrier: &mut dyn Carrier,
        count: usize,
        length: impl Fn(usize) -> usize,
        write: impl Fn(usize, &mut [u8]),
    ) -> Result<usize, DropReason> {
        let (_, counter) = sealing
            .sa
            .sender
            .as_ref()
            .ok_or(DropReason::NoSecurityAssociation)?;
        let counters = counter
            .reserve(count)
            .map_err(|_| DropReason::CounterExhausted)?;
        let layout = sealing.sealer.layout();
        let mut octets = 0;
        for (at, counter) in counters.enumerate() {
            let inner = length(at);
            let sealed = layout.sealed_length(inner);
            let train = self.trains.board(&sealing.route, sealed, |train| {
                self.ledger.send(train, now, carrier)
            });
            let slot = train.slot(sealed, inner);
            write(at, &mut slot[layout.inner_offset()..][..inner]);
            sealing.sealer.seal(&*sealing.sa.aead, counter, inner, slot);
            octets += inner as u64;
        }
        sealing.sa.counters.add_sent(count as u64, octets);
        Ok(count)
    }

    fn answer_too_big(
        &mut self,
        packet: &[u8],
        header: &Header,
        largest: usize,
        now: Instant,
        carrier: &mut dyn Carrier,
    ) {
        let (since, count) = &mut self.answers;
        if since.is_none_or(|since| now.saturating_duration_since(since) >= ANSWER_PERIOD) {
            (*since, *count) = (Some(now), 0);
        }
        *count += 1;
        let largest = if header.family == Family::V6 {
            largest.max(IPV6_ALWAYS)
        } else {
            largest
        };
        if *count <= ANSWERS
            && let Some(length) = icmp::too_big(packet, header, largest, &mut self.answer)
        {
            carrier.reply(&self.answer[..length]);
        }
    }
}

impl Ledger {
    fn send(&mut self, train: &mut Train, now: Instant, carrier: &mut dyn Carrier) {
        let Some(route) = train.route() else { return };
        match carrier.send(route, train.octets(), train.segment()) {
            Sent::Yes => {
                self.sent_packets += train.count();
                self.sent_octets += train.inner_octets();
            }
            Sent::Refused => self.drops.add(DropReason::SendFailed, train.count()),
            Sent::TooBig(octets) => {
                self.drops.add(DropReason::TooBig, train.count());
                self.paths.learn(number(route.destination), octets, now);
            }
        }
    }
}
