//! Keeps the way through an address translator open (RFC 3948 §4), so that unicast rekeys find us
//! also when we have sent nothing for long.
//!
//! The next rekey may come from any key server of the group, so every one of them gets a packet.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gikev2::Transmit;
use gikev2::exchange::datagram::NAT_TRAVERSAL_PORT;

use super::Membership;

/// Between two packets; translators forget after 30 s at the earliest (RFC 3948 §4, RFC 4787 §4.3).
const INTERVAL: Duration = Duration::from_secs(20);

/// The whole payload.
const PAYLOAD: [u8; 1] = [0xff];

/// Our side of a way through a translator.
pub(super) struct KeepAlive {
    local: SocketAddr,
    pub(super) due: Instant,
}

impl Membership {
    /// Takes note of the addresses of the IKE SA that registered us: on port 4500 there is a
    /// translator in between.
    pub(super) fn note_path(&mut self, now: Instant, local: SocketAddr) {
        self.keep_alive = (local.port() == NAT_TRAVERSAL_PORT).then(|| KeepAlive {
            local,
            due: now + INTERVAL,
        });
    }

    /// Sends what is due at `now`.
    pub(super) fn keep_path_open(&mut self, now: Instant) {
        let Some(keep_alive) = &mut self.keep_alive else {
            return;
        };
        if now < keep_alive.due {
            return;
        }
        keep_alive.due = now + INTERVAL;
        let local = keep_alive.local;
        for key_server in &self.settings.key_servers {
            if key_server.is_ipv4() == local.is_ipv4() {
                self.transmits.push_back(Transmit {
                    local,
                    remote: SocketAddr::new(key_server.ip(), NAT_TRAVERSAL_PORT),
                    payload: PAYLOAD.to_vec(),
                });
            }
        }
    }
}
