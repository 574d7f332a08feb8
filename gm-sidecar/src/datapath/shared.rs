//! What the two packet threads and their owner share.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use gm_core::drop_reason::DropCounters;
use gm_core::sad::{Inbound, Installed};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Counters since start; written once per batch of packets.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) sent_packets: AtomicU64,
    pub(super) sent_octets: AtomicU64,
    pub(super) received_packets: AtomicU64,
    pub(super) received_octets: AtomicU64,
}

/// Where copies of multicast packets go in networks that carry no multicast: receivers by the number of their group. A
/// group that is not named sends multicast as multicast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MulticastCopies(pub BTreeMap<u32, Vec<IpAddr>>);

impl MulticastCopies {
    /// Receivers of a group's copies; `None` where multicast goes as multicast.
    pub(super) fn receivers(&self, group_id: u32) -> Option<&[IpAddr]> {
        self.0.get(&group_id).map(Vec::as_slice)
    }
}

/// Shared state of one packet path.
pub(super) struct Shared {
    pub(super) installed: ArcSwap<Installed>,
    pub(super) copies: ArcSwap<MulticastCopies>,
    pub(super) drops: Arc<DropCounters>,
    pub(super) totals: Totals,
    /// The receiving half. Its thread holds the lock for a batch, the owner for the moment of a report.
    pub(super) inbound: Mutex<Inbound>,
    stop: AtomicBool,
    wake: [EventFd; 2],
}

/// Which packet thread.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    Out = 0,
    In = 1,
}

impl Shared {
    pub(super) fn new(installed: Installed, senders: usize) -> nix::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self {
            installed: ArcSwap::from_pointee(installed),
            copies: ArcSwap::default(),
            drops: Arc::new(DropCounters::default()),
            totals: Totals::default(),
            inbound: Mutex::new(Inbound::new(senders)),
            stop: AtomicBool::new(false),
            wake: [
                EventFd::from_value_and_flags(0, flags)?,
                EventFd::from_value_and_flags(0, flags)?,
            ],
        })
    }

    /// What a thread waits on besides its packets.
    pub(super) fn wake(&self, side: Side) -> &EventFd {
        &self.wake[side as usize]
    }

    /// Ends both threads.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        for wake in &self.wake {
            // Only a full counter refuses, and then the thread is awake anyway.
            let _ = wake.write(1);
        }
    }

    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}
