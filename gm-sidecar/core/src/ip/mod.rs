//! IP packets as the packet path needs to read and change them.
//!
//! Everything here works on borrowed octets, allocates nothing, and treats its input as hostile.

pub mod checksum;
pub mod coalesce;
pub mod congestion;
pub mod flow;
pub mod fragment;
pub mod header;
pub mod icmp;
pub mod segment;
pub mod segment_size;
pub mod virtio;

/// IP protocol numbers the packet path knows by name.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// IPv4 in a tunnel.
    pub const IPV4: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in a tunnel.
    pub const IPV6: u8 = 41;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// No next header; in ESP a dummy packet.
    pub const NO_NEXT_HEADER: u8 = 59;
    /// Reserved for experiments (RFC 3692); carries IP-D3P in our ESP.
    pub const EXPERIMENT: u8 = 253;
}
