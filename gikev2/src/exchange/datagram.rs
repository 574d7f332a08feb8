//! The non-ESP marker in front of IKE messages on port 4500 (RFC 7296 §2.23, RFC 3948 §2.2).

/// UDP port of IKE and UDP-encapsulated ESP after NAT detection.
pub const NAT_TRAVERSAL_PORT: u16 = 4500;

/// The four zero octets that tell an IKE message from an ESP packet on port 4500.
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// Puts the marker in front of `message` when `local_port` is the NAT traversal port.
pub fn with_marker(local_port: u16, message: Vec<u8>) -> Vec<u8> {
    if local_port != NAT_TRAVERSAL_PORT {
        return message;
    }
    let mut datagram = Vec::with_capacity(message.len().saturating_add(NON_ESP_MARKER.len()));
    datagram.extend_from_slice(&NON_ESP_MARKER);
    datagram.extend_from_slice(&message);
    datagram
}

/// The IKE message inside a datagram that arrived on `local_port`; `None` for ESP, keep-alives and short datagrams.
pub fn without_marker(local_port: u16, datagram: &[u8]) -> Option<&[u8]> {
    if local_port != NAT_TRAVERSAL_PORT {
        return Some(datagram);
    }
    datagram.strip_prefix(&NON_ESP_MARKER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_port_4500_carries_the_marker() {
        assert_eq!(with_marker(848, vec![1, 2]), vec![1, 2]);
        assert_eq!(with_marker(4500, vec![1, 2]), vec![0, 0, 0, 0, 1, 2]);
        assert_eq!(without_marker(848, &[1, 2]), Some(&[1u8, 2][..]));
        assert_eq!(without_marker(4500, &[0, 0, 0, 0, 1, 2]), Some(&[1u8, 2][..]));
    }

    #[test]
    fn esp_and_keep_alives_are_not_ike() {
        assert_eq!(without_marker(4500, &[0xff]), None);
        assert_eq!(without_marker(4500, &[0xc0, 0xff, 0xee, 1, 0, 0]), None);
        assert_eq!(without_marker(4500, &[]), None);
    }
}
