//! The non-ESP marker in front of IKE messages on port 4500 (RFC 7296 §2.23, RFC 3948 §2.2).

use std::net::SocketAddr;

/// UDP port of IKE and UDP-encapsulated ESP after NAT detection.
pub const NAT_TRAVERSAL_PORT: u16 = 4500;

pub use crate::wire::header::NON_ESP_MARKER;

/// Whether IKE messages between these two carry the marker: when either speaks from port 4500.
fn carries_marker(local: SocketAddr, remote: SocketAddr) -> bool {
    local.port() == NAT_TRAVERSAL_PORT || remote.port() == NAT_TRAVERSAL_PORT
}

/// Puts the marker in front of `message` when it travels from or to port 4500.
pub fn with_marker(local: SocketAddr, remote: SocketAddr, message: Vec<u8>) -> Vec<u8> {
    if !carries_marker(local, remote) {
        return message;
    }
    let mut datagram = Vec::with_capacity(message.len().saturating_add(NON_ESP_MARKER.len()));
    datagram.extend_from_slice(&NON_ESP_MARKER);
    datagram.extend_from_slice(&message);
    datagram
}

/// The IKE message inside a datagram; `None` for ESP, keep-alives and short datagrams on port 4500.
pub fn without_marker(local: SocketAddr, remote: SocketAddr, datagram: &[u8]) -> Option<&[u8]> {
    if !carries_marker(local, remote) {
        return Some(datagram);
    }
    let stripped = datagram.strip_prefix(&NON_ESP_MARKER);
    if local.port() == NAT_TRAVERSAL_PORT {
        return stripped;
    }
    // A NAT may have chosen 4500 as the source port of a peer that speaks to our other port without marker.
    Some(stripped.unwrap_or(datagram))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn only_port_4500_carries_the_marker() {
        assert_eq!(
            with_marker(address(848), address(848), vec![1, 2]),
            vec![1, 2]
        );
        assert_eq!(
            with_marker(address(4500), address(31_000), vec![1]),
            vec![0, 0, 0, 0, 1]
        );
        assert_eq!(
            with_marker(address(31_000), address(4500), vec![1]),
            vec![0, 0, 0, 0, 1]
        );
        assert_eq!(
            without_marker(address(848), address(848), &[1, 2]),
            Some(&[1u8, 2][..])
        );
        assert_eq!(
            without_marker(address(4500), address(9), &[0, 0, 0, 0, 1]),
            Some(&[1u8][..])
        );
    }

    #[test]
    fn esp_and_keep_alives_are_not_ike() {
        let (local, remote) = (address(4500), address(31_000));
        assert_eq!(without_marker(local, remote, &[0xff]), None);
        assert_eq!(
            without_marker(local, remote, &[0xc0, 0xff, 0xee, 1, 0, 0]),
            None
        );
        assert_eq!(without_marker(local, remote, &[]), None);
    }
}
