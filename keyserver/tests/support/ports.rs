//! Ports that are a test's own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel takes the ports of outgoing connections, so that none of
/// those can take a port between its choice and the key server that listens.
const RANGE: Range<u16> = 10_000..30_000;

/// Where a port is marked as taken. No key server of a test has this address.
const MARK: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 254);

/// Where the next search begins, so that one test program rarely asks for a port twice.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// Ports that no other test uses, of this program or another, for as long as this exists.
pub(crate) struct Ports {
    marks: Vec<TcpListener>,
}

impl Ports {
    /// Takes none yet.
    pub(crate) fn new() -> Self {
        Self { marks: Vec::new() }
    }

    /// Takes one, free for TCP and UDP on every loopback address.
    pub(crate) fn take(&mut self) -> u16 {
        let start = u16::try_from(std::process::id() % u32::from(RANGE.end - RANGE.start));
        let start = start.expect("below the length of the range");
        for _ in RANGE {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let port = RANGE.start + start.wrapping_add(step) % (RANGE.end - RANGE.start);
            if let Ok(mark) = TcpListener::bind((MARK, port)) {
                self.marks.push(mark);
                return port;
            }
        }
        panic!("every port from {} to {} is taken", RANGE.start, RANGE.end);
    }

    /// Takes `count` and gives them as addresses of the loopback interface.
    pub(crate) fn addresses(&mut self, count: usize) -> Vec<SocketAddr> {
        let own = |_| SocketAddr::from((Ipv4Addr::LOCALHOST, self.take()));
        (0..count).map(own).collect()
    }
}
