//! IP and UDP headers, written by hand so that nothing of the packet path judges itself.

use std::net::IpAddr;

/// ESP's protocol number.
#[allow(dead_code, reason = "not every test has ESP")]
pub(crate) const ESP: u8 = 50;
/// UDP's protocol number.
pub(crate) const UDP: u8 = 17;

/// An IP packet.
///
/// # Panics
/// When source and destination are of two families.
pub(crate) fn packet(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a packet");
    let mut packet = Vec::new();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            packet.extend_from_slice(&[0x45, 0]);
            packet.extend_from_slice(&(length + 20).to_be_bytes());
            packet.extend_from_slice(&[0, 0, 0, 0, 64, protocol, 0, 0]);
            packet.extend_from_slice(&source.octets());
            packet.extend_from_slice(&destination.octets());
            let sum = checksum(&[&packet]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            packet.extend_from_slice(&[0x60, 0, 0, 0]);
            packet.extend_from_slice(&length.to_be_bytes());
            packet.extend_from_slice(&[protocol, 64]);
            packet.extend_from_slice(&source.octets());
            packet.extend_from_slice(&destination.octets());
        }
        _ => panic!("one family"),
    }
    packet.extend_from_slice(payload);
    packet
}

/// An IP packet with a UDP datagram.
pub(crate) fn datagram(
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    payload: &[u8],
) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).expect("a datagram");
    let mut datagram = Vec::new();
    for field in [source.1, destination.1, length, 0] {
        datagram.extend_from_slice(&field.to_be_bytes());
    }
    datagram.extend_from_slice(payload);
    let [from, to] = [source.0, destination.0].map(|address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    });
    let sum = checksum(&[&from, &to, &[0, UDP], &length.to_be_bytes(), &datagram]);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    packet(source.0, destination.0, UDP, &datagram)
}

/// The Internet checksum (RFC 1071); all parts but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let sum: u32 = parts
        .iter()
        .flat_map(|part| part.chunks(2))
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice")
}
