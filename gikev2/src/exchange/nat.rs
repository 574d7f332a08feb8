//! NAT detection (RFC 7296 §2.23): does the peer see the addresses we see?
//!
//! SHA-1 is what the RFC prescribes here; nothing rests on its strength, because whoever can change the addresses can
//! also change the hashes.

use std::net::{IpAddr, SocketAddr};

use crate::crypto::digest::sha1;
use crate::wire::{IkeSpi, Notify, NotifyType, Payload};

/// The data of a NAT_DETECTION notification.
fn digest(initiator: IkeSpi, responder: IkeSpi, address: SocketAddr) -> [u8; 20] {
    let port = address.port().to_be_bytes();
    match address.ip().to_canonical() {
        IpAddr::V4(address) => sha1(&[&initiator.0, &responder.0, &address.octets(), &port]),
        IpAddr::V6(address) => sha1(&[&initiator.0, &responder.0, &address.octets(), &port]),
    }
}

/// The two notifications to send in IKE_SA_INIT from `local` to `remote`.
pub(crate) fn notifications(
    initiator: IkeSpi,
    responder: IkeSpi,
    local: SocketAddr,
    remote: SocketAddr,
) -> [Payload; 2] {
    let notify = |notify_type, address| {
        Payload::Notify(Notify::new(
            notify_type,
            &digest(initiator, responder, address),
        ))
    };
    [
        notify(NotifyType::NAT_DETECTION_SOURCE_IP, local),
        notify(NotifyType::NAT_DETECTION_DESTINATION_IP, remote),
    ]
}

/// What NAT detection found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The peer is behind a NAT.
    pub(crate) peer: bool,
    /// We are behind a NAT.
    pub(crate) ourselves: bool,
}

impl Found {
    /// Whether there is a NAT anywhere on the way.
    pub(crate) fn any(self) -> bool {
        self.peer || self.ourselves
    }
}

/// Compares the notifications of a received IKE_SA_INIT message with the addresses it arrived with. A peer that sent
/// none does no NAT detection, and nothing is found.
pub(crate) fn detect(
    initiator: IkeSpi,
    responder: IkeSpi,
    local: SocketAddr,
    remote: SocketAddr,
    notifies: &[Notify],
) -> Found {
    let matches = |notify_type, address| {
        let expected = digest(initiator, responder, address);
        let mut seen = notifies
            .iter()
            .filter(|notify| notify.notify_type == notify_type)
            .peekable();
        seen.peek().is_none() || seen.any(|notify| notify.data == expected)
    };
    Found {
        peer: !matches(NotifyType::NAT_DETECTION_SOURCE_IP, remote),
        ourselves: !matches(NotifyType::NAT_DETECTION_DESTINATION_IP, local),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIATOR: IkeSpi = IkeSpi([1, 2, 3, 4, 5, 6, 7, 8]);

    #[test]
    fn the_hash_is_that_of_the_reference_value() {
        let address = SocketAddr::from(([192, 0, 2, 21], 500));
        let expected = hex::decode("5341d416222960f3d8bc1a5da6589eddd861136f").expect("hex");
        assert_eq!(digest(INITIATOR, IkeSpi::ZERO, address).to_vec(), expected);
    }

    #[test]
    fn a_changed_source_means_the_peer_is_behind_a_nat_and_a_changed_destination_means_we_are() {
        let member = SocketAddr::from(([192, 0, 2, 21], 848));
        let translated = SocketAddr::from(([203, 0, 113, 1], 40_000));
        let server = SocketAddr::from(([198, 51, 100, 1], 848));
        let notifies: Vec<Notify> = notifications(INITIATOR, IkeSpi::ZERO, member, server)
            .into_iter()
            .filter_map(|payload| match payload {
                Payload::Notify(notify) => Some(notify),
                _ => None,
            })
            .collect();
        let seen = |local, remote| detect(INITIATOR, IkeSpi::ZERO, local, remote, &notifies);
        assert_eq!(
            seen(server, member),
            Found {
                peer: false,
                ourselves: false
            }
        );
        assert_eq!(
            seen(server, translated),
            Found {
                peer: true,
                ourselves: false
            }
        );
        assert_eq!(
            seen(translated, member),
            Found {
                peer: false,
                ourselves: true
            }
        );
        assert!(!detect(INITIATOR, IkeSpi::ZERO, server, member, &[]).any());
    }
}
