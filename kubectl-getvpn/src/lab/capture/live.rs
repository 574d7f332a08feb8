//! Reads all packets that enter the core, on a thread of its own, until told to stop.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

use super::offload;
use crate::lab::error::LabError;
use crate::lab::namespace;
use crate::lab::socket_option;

/// `ETH_P_ALL` in network byte order: every protocol.
const ALL_PROTOCOLS: i32 = 0x0003_u16.to_be() as i32;
/// `PACKET_OUTGOING`: the core sends it on; it was seen when it came in.
const OUTGOING: u8 = 4;
/// `PACKET_VNET_HDR`: put the offload header before each frame.
const PACKET_VNET_HDR: i32 = 15;
/// `PACKET_STATISTICS`: packets seen and dropped.
const PACKET_STATISTICS: i32 = 6;
/// Packets wait here while the judge works; the kernel counts those that find no room.
const RECEIVE_BUFFER_OCTETS: i32 = 256 << 20;
/// Largest packet of segmentation offload, with its headers.
const LARGEST_FRAME: usize = (64 << 10) + 512;

/// A captured packet.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Time since 1970-01-01 UTC.
    pub time: Duration,
    /// The kernel's index of the interface it came in on.
    pub interface: usize,
    /// The Ethernet frame.
    pub bytes: &'a [u8],
}

/// A capture under way; the judge `J` sees each packet.
pub struct LiveCapture<J> {
    thread: JoinHandle<Result<(J, u64), LabError>>,
    stop: PipeWriter,
}

impl<J: Send + 'static> LiveCapture<J> {
    /// Starts to capture in a namespace; returns once packets are being kept.
    ///
    /// `judge` is called on the capture's thread with each packet.
    ///
    /// # Errors
    /// When the namespace cannot be entered or packets may not be captured.
    pub fn start(
        namespace: &str,
        judge: J,
        each: impl FnMut(&mut J, &Frame<'_>) -> Result<(), LabError> + Send + 'static,
    ) -> Result<Self, LabError> {
        let (stopped, stop) = std::io::pipe().map_err(LabError::system("make a pipe"))?;
        let (ready, started) = mpsc::channel();
        let namespace = namespace.to_owned();
        let thread = std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || {
                let socket = match namespace::enter(&namespace).and_then(|()| open()) {
                    Ok(socket) => {
                        let _ = ready.send(());
                        socket
                    }
                    Err(error) => return Err(error),
                };
                capture(&socket, &stopped, judge, each)
            })
            .map_err(LabError::system("start the capture"))?;
        if started.recv().is_err() {
            return Err(join(thread)
                .err()
                .unwrap_or_else(|| LabError::Environment("the capture did not start".to_owned())));
        }
        Ok(Self { thread, stop })
    }

    /// Ends the capture after what has arrived until now; returns the judge and the number of
    /// packets that the kernel had no room for.
    ///
    /// # Errors
    /// What went wrong during the capture.
    pub fn finish(self) -> Result<(J, u64), LabError> {
        drop(self.stop);
        join(self.thread)
    }

    /// Whether the capture ended by itself (by an error of the judge).
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

fn join<T>(thread: JoinHandle<Result<T, LabError>>) -> Result<T, LabError> {
    match thread.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn open() -> Result<Socket, LabError> {
    let open = || -> std::io::Result<Socket> {
        let socket = Socket::new(
            Domain::PACKET,
            Type::RAW,
            Some(Protocol::from(ALL_PROTOCOLS)),
        )?;
        let size = RECEIVE_BUFFER_OCTETS.to_ne_bytes();
        socket_option::set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &size)?;
        let on = 1_i32.to_ne_bytes();
        socket_option::set(&socket, libc::SOL_PACKET, PACKET_VNET_HDR, &on)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    open().map_err(LabError::system("capture packets"))
}

fn capture<J>(
    socket: &Socket,
    stopped: &PipeReader,
    mut judge: J,
    mut each: impl FnMut(&mut J, &Frame<'_>) -> Result<(), LabError>,
) -> Result<(J, u64), LabError> {
    let mut buffer = vec![0_u8; LARGEST_FRAME];
    loop {
        let mut descriptors = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN | PollFlags::POLLHUP),
        ];
        poll(&mut descriptors, PollTimeout::NONE).map_err(LabError::system("wait for packets"))?;
        let stop = descriptors[1].any().unwrap_or(true);
        drain(socket, &mut buffer, &mut judge, &mut each)?;
        if stop {
            return Ok((judge, dropped(socket)));
        }
    }
}

fn drain<J>(
    socket: &Socket,
    buffer: &mut [u8],
    judge: &mut J,
    each: &mut impl FnMut(&mut J, &Frame<'_>) -> Result<(), LabError>,
) -> Result<(), LabError> {
    loop {
        let (length, from) = match recvfrom::<LinkAddr>(socket.as_raw_fd(), buffer) {
            Ok(received) => received,
            Err(Errno::EAGAIN) => return Ok(()),
            // A packet whose offload cannot be described, or an interface that went away.
            Err(Errno::EINVAL | Errno::ENETDOWN | Errno::EINTR) => continue,
            Err(error) => return Err(LabError::system("read a captured packet")(error)),
        };
        let Some(from) = from.filter(|from| from.pkttype() != OUTGOING) else {
            continue;
        };
        let time = runtime::clock::since_epoch();
        let interface = from.ifindex();
        let captured = buffer.get(..length).unwrap_or_default();
        let mut result = Ok(());
        offload::split(captured, |bytes| {
            if result.is_ok() {
                let frame = Frame {
                    time,
                    interface,
                    bytes,
                };
                result = each(judge, &frame);
            }
        });
        result?;
    }
}

/// The kernel's count of packets that found the buffer full.
fn dropped(socket: &Socket) -> u64 {
    // struct tpacket_stats { unsigned int tp_packets, tp_drops; }
    let statistics: [u8; 8] =
        socket_option::get(socket, libc::SOL_PACKET, PACKET_STATISTICS).unwrap_or_default();
    let [_, _, _, _, drops @ ..] = statistics;
    u64::from(u32::from_ne_bytes(drops))
}
