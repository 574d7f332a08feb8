//! Writing inner packets to the TUN, joined where the kernel takes that.

use std::io::IoSlice;
use std::ops::Range;
use std::os::fd::OwnedFd;

use gm_core::ip::coalesce::{self, Accepts, MAX_SEGMENTS};
use nix::errno::Errno;
use nix::sys::uio::writev;

/// What became of packets for the TUN.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Delivered {
    /// Packets taken.
    pub(super) packets: u64,
    /// Their octets.
    pub(super) octets: u64,
    /// Packets refused.
    pub(super) refused: u64,
}

/// Writes the packets at `places` of `buffer`, in their order.
pub(super) fn deliver(
    tun: &OwnedFd,
    accepts: Accepts,
    buffer: &[u8],
    places: &[Range<usize>],
) -> Delivered {
    let mut delivered = Delivered::default();
    let mut rest = places;
    while !rest.is_empty() {
        let run = coalesce::next_run(buffer, rest, accepts);
        let (now, later) = rest.split_at(run.packets.clamp(1, rest.len()));
        rest = later;
        let mut parts = [IoSlice::new(&[]); MAX_SEGMENTS + 1];
        parts[0] = IoSlice::new(run.head());
        for (part, place) in parts.iter_mut().skip(1).zip(now) {
            *part = IoSlice::new(
                buffer
                    .get(place.start + run.skip..place.end)
                    .unwrap_or_default(),
            );
        }
        match writev(tun, &parts[..=now.len()]) {
            Ok(_) => {
                delivered.packets += now.len() as u64;
                delivered.octets += now.iter().map(|place| place.len() as u64).sum::<u64>();
            }
            // The kernel does not like this super-packet: its parts it may.
            Err(Errno::EINVAL) if now.len() > 1 => {
                let apart = deliver(tun, Accepts::default(), buffer, now);
                delivered.packets += apart.packets;
                delivered.octets += apart.octets;
                delivered.refused += apart.refused;
            }
            Err(_) => delivered.refused += now.len() as u64,
        }
    }
    delivered
}
