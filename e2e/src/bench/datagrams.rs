//! UDP datagrams at a rate, or as fast as the sender can, and a count of those that arrive.
//!
//! The sender hands over eight datagrams in one call, as a program that cares for speed does, and paces these batches by
//! the clock; the receiver takes up to 64 in one call out of a buffer that holds far more than a burst. Sockets are made
//! by a thread that enters the namespace and ends; they stay there, and so do their datagrams.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use kubectl_getvpn::lab::namespace;
use nix::errno::Errno;
use nix::sys::socket::{
    MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt,
};
use runtime::shutdown::Shutdown;

use super::child::go_on;
use super::search::{Search, Trial};
use super::{FAR, NEAR};

/// UDP port of the receiver.
const PORT: u16 = 9900;
/// Octets of the receiver's buffer.
const RECEIVE_BUFFER: usize = 16 << 20;
/// Octets of the sender's buffer.
const SEND_BUFFER: usize = 4 << 20;
/// Datagrams that the sender hands over at once below [`FAST`], and otherwise.
const BATCH: usize = 8;
/// See [`BATCH`].
const LARGE_BATCH: usize = 32;
/// From this rate on the batches are large.
const FAST: f64 = 400_000.0;
/// Datagrams that the receiver takes at once, and the room for each.
const TAKE: usize = 64;
/// See [`TAKE`].
const ROOM: usize = 2048;
/// The sender sleeps only when there is more time than this, and wakes up this much too early: it spins for the rest.
const SPIN: Duration = Duration::from_micros(100);
/// How often queues are looked at until nothing arrives any more, and how many times at most.
const DRAIN: (Duration, u32) = (Duration::from_millis(40), 20);

/// Sends datagrams of `size` octets to `to` for `time`, at `rate` a second or without pacing.
///
/// # Errors
/// When a namespace cannot be entered or a socket fails.
pub(super) fn send(to: Ipv4Addr, size: usize, time: Duration, rate: Option<f64>) -> Result<Trial> {
    let receiver = Receiver::start()?;
    let socket = socket_in(NEAR.namespace, 0)?;
    setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER).context("send buffer")?;
    socket
        .connect(SocketAddr::from((to, PORT)))
        .with_context(|| format!("connect to {to}"))?;
    let (sent, elapsed) = pace(&socket, size, time, rate)?;
    let received = receiver.drain()?;
    let seconds = elapsed.as_secs_f64();
    Ok(Trial {
        sent: sent as f64 / seconds,
        received: received as f64 / seconds,
    })
}

/// The highest rate without loss, in datagrams a second, by at most `trials` trials of `time` after a flood.
///
/// # Errors
/// When a trial fails or the user wants to end.
pub(super) fn without_loss(
    to: Ipv4Addr,
    size: usize,
    time: Duration,
    trials: u32,
    shutdown: &Shutdown,
) -> Result<f64> {
    let mut search = Search::after(send(to, size, time, None)?, trials);
    while let Some(rate) = search.next() {
        go_on(shutdown)?;
        search.learn(send(to, size, time, Some(rate))?);
    }
    Ok(search.found())
}

/// A UDP socket of a namespace on all its addresses; port 0 means any.
pub(super) fn socket_in(name: &str, port: u16) -> Result<UdpSocket> {
    let bound = namespace::inside(name, || Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))))?;
    bound.with_context(|| format!("UDP port {port} in {name}"))
}

fn pace(
    socket: &UdpSocket,
    size: usize,
    time: Duration,
    rate: Option<f64>,
) -> Result<(u64, Duration)> {
    let batch = match rate {
        Some(rate) if rate < FAST => BATCH,
        _ => LARGE_BATCH,
    };
    let payload = vec![0x5a; size];
    let slices = vec![[IoSlice::new(&payload)]; batch];
    let nowhere = vec![None; batch];
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(batch, None);
    let start = Instant::now();
    let mut sent = 0_u64;
    loop {
        let elapsed = start.elapsed();
        if elapsed >= time {
            return Ok((sent, elapsed));
        }
        if let Some(rate) = rate {
            // When the last datagram of the next batch is due.
            let due = Duration::from_secs_f64((sent + batch as u64) as f64 / rate);
            let early = due.saturating_sub(elapsed);
            if !early.is_zero() {
                if early > SPIN * 2 {
                    std::thread::sleep(early - SPIN);
                }
                continue;
            }
        }
        let socket = socket.as_raw_fd();
        let flags = MsgFlags::empty();
        match sendmmsg(socket, &mut headers, &slices, &nowhere, [], flags) {
            Ok(accepted) => sent += accepted.count() as u64,
            // A full queue, or the ICMP error of an earlier datagram: these were not sent.
            Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED) => {}
            Err(error) => return Err(error).context("send"),
        }
    }
}

/// Counts what arrives at the far end, until it is dropped.
struct Receiver {
    received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Receiver {
    fn start() -> Result<Self> {
        let socket = socket_in(FAR.namespace, PORT)?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).context("receive buffer")?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let received = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (received, stop) = (Arc::clone(&received), Arc::clone(&stop));
            std::thread::spawn(move || count(&socket, &received, &stop))
        };
        Ok(Self {
            received,
            stop,
            thread: Some(thread),
        })
    }

    /// Waits until nothing arrives any more; how many did.
    fn drain(mut self) -> Result<u64> {
        let mut last = self.received.load(Ordering::Relaxed);
        for _ in 0..DRAIN.1 {
            std::thread::sleep(DRAIN.0);
            let now = self.received.load(Ordering::Relaxed);
            if now == last {
                break;
            }
            last = now;
        }
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread
                .join()
                .map_err(|_| anyhow!("the receiver panicked"))??;
        }
        Ok(self.received.load(Ordering::Relaxed))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // The error of a run that failed already.
            let _ = thread.join();
        }
    }
}

fn count(socket: &UdpSocket, received: &AtomicU64, stop: &AtomicBool) -> Result<()> {
    let mut room = Box::new([[0_u8; ROOM]; TAKE]);
    // The kernel writes addresses back into these headers, so they must have room for one.
    let mut headers = MultiHeaders::<SockaddrIn>::preallocate(TAKE, None);
    while !stop.load(Ordering::Relaxed) {
        let mut slices = room.each_mut().map(|room| [IoSliceMut::new(room)]);
        let socket = socket.as_raw_fd();
        let flags = MsgFlags::MSG_WAITFORONE;
        match recvmmsg(socket, &mut headers, &mut slices, flags, None) {
            Ok(taken) => {
                received.fetch_add(taken.count() as u64, Ordering::Relaxed);
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error).context("receive"),
        }
    }
    Ok(())
}
