//! One of our protocol ends behind real UDP sockets.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime};

use gikev2::initiator::Initiator;
use gikev2::responder::Responder;
use gikev2::{Entropy, Transmit};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// The operating system's random octets.
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        aws_lc_rs::rand::fill(out).expect("the system has random octets");
    }
}

/// What both ends have in common.
pub(crate) trait End {
    /// What it tells its owner.
    type Event: std::fmt::Debug;
    fn take_in(&mut self, local: SocketAddr, remote: SocketAddr, datagram: &[u8]);
    fn tick(&mut self);
    fn transmit(&mut self) -> Option<Transmit>;
    fn event(&mut self) -> Option<Self::Event>;
}

macro_rules! end {
    ($end:ty, $event:ty) => {
        impl End for $end {
            type Event = $event;
            fn take_in(&mut self, local: SocketAddr, remote: SocketAddr, datagram: &[u8]) {
                self.handle_datagram(
                    Instant::now(),
                    unix_time(),
                    local,
                    remote,
                    datagram,
                    &mut SystemEntropy,
                );
            }
            fn tick(&mut self) {
                self.handle_timeout(Instant::now(), &mut SystemEntropy);
            }
            fn transmit(&mut self) -> Option<Transmit> {
                self.poll_transmit()
            }
            fn event(&mut self) -> Option<$event> {
                self.poll_event()
            }
        }
    };
}

end!(Initiator, gikev2::initiator::Event);
end!(Responder, gikev2::responder::Event);

fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// Carries datagrams between `end` and its sockets until `wanted` breaks off
/// with a value made of something it said.
///
/// # Panics
/// When it does not within the deadline; the message has what it said instead.
pub(crate) fn run_until<E: End, T>(
    end: &mut E,
    sockets: &[UdpSocket],
    mut wanted: impl FnMut(E::Event) -> ControlFlow<T, E::Event>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    for socket in sockets {
        socket
            .set_read_timeout(Some(Duration::from_millis(5)))
            .expect("a timeout");
    }
    let mut buffer = vec![0; 65_536];
    loop {
        end.tick();
        send_all(end, sockets);
        while let Some(event) = end.event() {
            match wanted(event) {
                ControlFlow::Break(value) => {
                    send_all(end, sockets);
                    return value;
                }
                ControlFlow::Continue(event) => said.push(event),
            }
        }
        for socket in sockets {
            match socket.recv_from(&mut buffer) {
                Ok((length, remote)) => {
                    end.take_in(
                        socket.local_addr().expect("bound"),
                        remote,
                        &buffer[..length],
                    );
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                // ICMP port unreachable of a peer that is not up yet.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => panic!("receive: {error}"),
            }
        }
        assert!(
            Instant::now() < deadline,
            "nothing of what was wanted; it said {said:?}"
        );
    }
}

fn send_all<E: End>(end: &mut E, sockets: &[UdpSocket]) {
    while let Some(transmit) = end.transmit() {
        let socket = sockets
            .iter()
            .find(|socket| socket.local_addr().expect("bound") == transmit.local)
            .expect("a socket of ours");
        socket
            .send_to(&transmit.payload, transmit.remote)
            .expect("the cable is up");
    }
}
