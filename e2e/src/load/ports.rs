//! Ports that nobody else of the tests takes.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use anyhow::{Result, bail};

/// Below the range from which the kernel takes the ports of outgoing connections.
const RANGE: Range<u16> = 10_000..30_000;
/// Where a port is marked as taken, by the key servers' own tests as well. No key server has this address.
const MARK: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 254);

/// Ports that are ours for as long as this exists.
#[derive(Default)]
pub(super) struct Ports {
    marks: Vec<TcpListener>,
    next: Option<u16>,
}

impl Ports {
    /// Takes one, free for TCP and UDP on every loopback address.
    ///
    /// # Errors
    /// When every port of the range is taken.
    pub(super) fn take(&mut self) -> Result<u16> {
        let length = u32::from(RANGE.end - RANGE.start);
        let start = u16::try_from(std::process::id().wrapping_mul(97) % length)?;
        for step in self.next.unwrap_or_default()..u16::try_from(length)? {
            let port = RANGE.start + (start + step) % (RANGE.end - RANGE.start);
            if let Ok(mark) = TcpListener::bind((MARK, port)) {
                self.marks.push(mark);
                self.next = Some(step + 1);
                return Ok(port);
            }
        }
        bail!("every port from {} to {} is taken", RANGE.start, RANGE.end)
    }
}
