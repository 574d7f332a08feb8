//! The sending thread: TUN to wire.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use gm_core::sad::Outbound;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};

use super::patience::Patience;
use super::shared::{Shared, Side};
use super::sockets::Sockets;
use super::wire::Wire;

/// Octets of one read: virtio header and the largest super-packet.
const READ: usize = 10 + 65_536;
/// Reads before the train leaves in any case, so that a steady stream of small packets is not held back.
const BATCH: usize = 64;

/// What the thread works with.
pub(super) struct Sender {
    pub(super) shared: Arc<Shared>,
    pub(super) tun: Arc<OwnedFd>,
    pub(super) sockets: Arc<Sockets>,
    pub(super) udp_port: u16,
    pub(super) multicast_interface: u32,
}

impl Sender {
    /// Runs until the owner stops the packet path.
    pub(super) fn run(&self) {
        let mut wire = Wire::new(
            &self.shared,
            &self.sockets,
            &self.tun,
            self.udp_port,
            self.multicast_interface,
        );
        let mut outbound = Outbound::new(Arc::clone(&self.shared.drops), self.sockets.spreads());
        let mut buffer = vec![0; READ];
        let mut patience = Patience::new();
        let mut sources = [
            PollFd::new(self.tun.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.shared.wake(Side::Out).as_fd(), PollFlags::POLLIN),
        ];
        while !self.shared.stopping() {
            // An interrupted wait is a wait that ended.
            let _ = patience.wait(&mut sources);
            while self.batch(&mut outbound, &mut wire, &mut buffer) {}
        }
    }

    /// Reads until the TUN is empty or the batch is full, then sends what is left; `false` when nothing waits.
    fn batch(&self, outbound: &mut Outbound, wire: &mut Wire<'_>, buffer: &mut [u8]) -> bool {
        let installed = self.shared.installed.load();
        let now = Instant::now();
        let mut more = true;
        for _ in 0..BATCH {
            match nix::unistd::read(&self.tun, buffer) {
                Ok(length) => {
                    if let Some(read) = buffer.get_mut(..length) {
                        outbound.handle(&installed, now, read, wire);
                    }
                }
                Err(Errno::EINTR) => {}
                // EAGAIN: nothing waits. Anything else: the device is down or going away; wait for a change.
                Err(_) => {
                    more = false;
                    break;
                }
            }
        }
        outbound.flush(now, wire);
        let (packets, octets) = outbound.take_totals();
        if packets > 0 {
            self.shared
                .totals
                .sent_packets
                .fetch_add(packets, Ordering::Relaxed);
            self.shared
                .totals
                .sent_octets
                .fetch_add(octets, Ordering::Relaxed);
        }
        more && !self.shared.stopping()
    }
}
