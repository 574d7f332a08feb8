//! The time of one UDP datagram there and back, one at a time.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::datagrams::socket_in;
use super::measure::SMALL;
use super::{FAR, NEAR};
use crate::load::figures::Times;

/// UDP port of the end that answers.
const PORT: u16 = 9901;
/// Round trips before the first that counts.
const WARM_UP: usize = 50;
/// When an answer counts as lost.
const LOST: Duration = Duration::from_millis(200);
/// When no further round trip begins.
const LIMIT: Duration = Duration::from_secs(5);

/// Times of `count` round trips to `to`, or of as many as 5 s allow.
///
/// # Errors
/// When a socket fails, or no answer comes at all.
pub(super) fn measure(to: Ipv4Addr, count: usize) -> Result<Times> {
    let answering = socket_in(FAR.namespace, PORT)?;
    answering.set_read_timeout(Some(Duration::from_millis(100)))?;
    let asking = socket_in(NEAR.namespace, 0)?;
    asking.set_read_timeout(Some(LOST))?;
    asking
        .connect(SocketAddr::from((to, PORT)))
        .with_context(|| format!("connect to {to}"))?;
    let stop = AtomicBool::new(false);
    let times = std::thread::scope(|scope| {
        let answers = scope.spawn(|| answer(&answering, &stop));
        let times = ask(&asking, count);
        stop.store(true, Ordering::Relaxed);
        let answered = answers.join();
        answered.map_err(|_| anyhow!("the answering end panicked"))??;
        times
    })?;
    ensure!(!times.is_empty(), "no datagram came back from {to}");
    Ok(Times::new(times))
}

fn answer(socket: &UdpSocket, stop: &AtomicBool) -> Result<()> {
    let mut datagram = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut datagram) {
            Ok((length, from)) => {
                socket.send_to(&datagram[..length], from)?;
            }
            Err(error) if is_late(&error) => {}
            Err(error) => return Err(error).context("the answering end"),
        }
    }
    Ok(())
}

fn ask(socket: &UdpSocket, count: usize) -> Result<Vec<Duration>> {
    let start = Instant::now();
    let mut times = Vec::with_capacity(count);
    for number in 0..WARM_UP + count {
        if start.elapsed() > LIMIT {
            break;
        }
        let mut datagram = [0; SMALL];
        datagram[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let begun = Instant::now();
        socket.send(&datagram)?;
        if answered(socket, &datagram)? && number >= WARM_UP {
            times.push(begun.elapsed());
        }
    }
    Ok(times)
}

/// Waits for this datagram's answer; one that comes after its time is passed over.
fn answered(socket: &UdpSocket, datagram: &[u8]) -> Result<bool> {
    let mut answer = [0; 2048];
    loop {
        match socket.recv(&mut answer) {
            Ok(length) if answer[..length] == *datagram => return Ok(true),
            Ok(_) => {}
            Err(error) if is_late(&error) => return Ok(false),
            Err(error) => return Err(error).context("the asking end"),
        }
    }
}

fn is_late(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}
