//! From the wire to the TUN: SA, replay, open, selectors.

use std::net::IpAddr;
use std::ops::Range;
use std::time::Instant;

use super::{Installed, InstalledSa, ReplayTable, Spi};
use crate::data_plane::{Encapsulation, Family};
use crate::drop_reason::DropReason;
use crate::esp::delay;
use crate::esp::open::{Envelope, open};
use crate::ip::congestion;
use crate::ip::flow::{Flow, number};
use crate::ip::header::Header;
use crate::spd::{FlowCache, Verdict};

/// What is known of a packet from its outer headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outer {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// How it came.
    pub encapsulation: Encapsulation,
}

impl Outer {
    fn family(&self) -> Family {
        match self.destination {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }
}

/// A packet that may not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: DropReason,
    /// The SPI it had, when it was long enough to have one.
    pub spi: Option<Spi>,
}

/// The receiving half of the packet path; owned by one thread.
pub struct Inbound {
    replay: ReplayTable,
    verdicts: FlowCache<(u16, Verdict)>,
    /// Whether multicast may come in a packet addressed to us alone.
    copies: bool,
}

impl Inbound {
    /// A receiving half that remembers at most `senders` replay windows.
    pub fn new(senders: usize) -> Self {
        Self {
            replay: ReplayTable::new(senders),
            verdicts: FlowCache::new(),
            copies: false,
        }
    }

    /// Whether a multicast packet may come in an ESP packet with a unicast destination: a copy that its sender made
    /// because the network carries no multicast. Without it such packets are dropped, since the outer destination
    /// differs from the inner one (RFC 5374 §3.1, address preservation).
    pub fn accept_copies(&mut self, copies: bool) {
        self.copies = copies;
    }

    /// The replay windows.
    pub fn replay(&self) -> &ReplayTable {
        &self.replay
    }

    /// Forgets the replay windows of SAs that are not installed any more. Keys never come back under an old SPI, so
    /// nothing forgotten can be repeated.
    pub fn retain(&mut self, installed: &Installed) {
        self.replay.retain(|spi| !installed.by_spi(spi).is_empty());
    }

    /// Opens one ESP packet in place and answers where in it the inner packet lies.
    ///
    /// # Errors
    /// [`Refused`]; the caller counts it.
    #[inline]
    pub fn handle(
        &mut self,
        installed: &Installed,
        now: Instant,
        outer: &Outer,
        packet: &mut [u8],
    ) -> Result<Range<usize>, Refused> {
        let Some(envelope) = Envelope::parse(packet) else {
            return Err(Refused {
                reason: DropReason::EspMalformed,
                spi: None,
            });
        };
        self.open(installed, now, outer, &envelope, packet)
            .map_err(|reason| Refused {
                reason,
                spi: Some(envelope.spi),
            })
    }

    fn open(
        &mut self,
        installed: &Installed,
        now: Instant,
        outer: &Outer,
        envelope: &Envelope,
        packet: &mut [u8],
    ) -> Result<Range<usize>, DropReason> {
        let sa = choose(installed, outer, envelope.spi)?;
        if !sa.opens_at(now) {
            return Err(DropReason::SecurityAssociationExpired);
        }
        if sa.encapsulation != outer.encapsulation {
            return Err(DropReason::WrongEncapsulation);
        }
        let (sender, counter) = sa.iv.read(envelope.iv);
        if sa.sender.as_ref().is_some_and(|(own, _)| *own == sender) {
            return Err(DropReason::OwnPacket);
        }
        if sa.anti_replay.sender_window && !self.replay.check(sa.spi, sender, counter) {
            return Err(DropReason::Replayed);
        }
        let window = sa.anti_replay.time_window;
        let opened = open(
            &*sa.aead,
            sa.salt,
            envelope,
            sa.family,
            window.is_some(),
            packet,
        )?;
        if let Some(window) = window {
            let sent = opened.pseudotime.ok_or(DropReason::DelayHeader)?;
            let ours = installed
                .pseudotime(sa.group, now)
                .ok_or(DropReason::NoPseudotime)?;
            if !delay::inside_window(sent, ours, window) {
                return Err(DropReason::OutsideTimeWindow);
            }
        }
        // Only now is the counter authentic.
        if sa.anti_replay.sender_window && !self.replay.accept(sa.spi, sender, counter) {
            return Err(DropReason::Replayed);
        }
        let inner = packet
            .get_mut(opened.inner.clone())
            .ok_or(DropReason::InnerMalformed)?;
        let header = Header::parse(inner).map_err(|_| DropReason::InnerMalformed)?;
        if header.family != sa.family {
            return Err(DropReason::InnerMalformed);
        }
        let copy = self.copies && header.destination.is_multicast();
        if header.source != outer.source || (header.destination != outer.destination && !copy) {
            return Err(DropReason::AddressMismatch);
        }
        self.check_selectors(installed, sa, &Flow::of(&header))?;
        let field = congestion::combine(header.traffic_class, outer.traffic_class)
            .ok_or(DropReason::IllegalCongestionMark)?;
        if field != header.traffic_class & 0b11 {
            congestion::set(inner, field);
        }
        sa.counters.add_received(1, header.total_length as u64);
        // What follows the inner packet is traffic flow confidentiality padding (RFC 4303 §2.7).
        Ok(opened.inner.start..opened.inner.start + header.total_length)
    }

    /// The sender's list must have put the packet on this SA (RFC 4301 §5.2 step 4).
    fn check_selectors(
        &mut self,
        installed: &Installed,
        sa: &InstalledSa,
        flow: &Flow,
    ) -> Result<(), DropReason> {
        let search = || installed.access_list().lookup_in_group(flow, sa.group);
        let (group, cached) = self
            .verdicts
            .get_or(installed.generation(), flow, || (sa.group, search()));
        let verdict = if group == sa.group { cached } else { search() };
        match verdict {
            Verdict::Protect { association, .. } if association == sa.association => Ok(()),
            _ => Err(DropReason::SelectorMismatch),
        }
    }
}

/// The SA of an SPI. Groups choose their SPIs apart from each other: when two collide, the outer addresses, which
/// are the inner ones, say whose packet it is.
fn choose<'i>(
    installed: &'i Installed,
    outer: &Outer,
    spi: Spi,
) -> Result<&'i InstalledSa, DropReason> {
    let family = outer.family();
    let candidates = installed.by_spi(spi);
    match candidates {
        [] => Err(DropReason::UnknownSpi),
        [only] if only.family == family => Ok(only),
        [_] => Err(DropReason::UnknownSpi),
        several => {
            let (source, destination) = (number(outer.source), number(outer.destination));
            several
                .iter()
                .find(|sa| {
                    sa.family == family
                        && installed
                            .access_list()
                            .covers(family, source, destination, sa.group)
                })
                .ok_or(DropReason::UnknownSpi)
        }
    }
}
