//! The Security Policy Database: one ordered access list, first match decides.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// Addresses, protocol and ports of one rule. Source and destination are of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// Source addresses.
    pub source: AddressRange,
    /// Destination addresses.
    pub destination: AddressRange,
    /// IP protocol; `None` for any.
    pub protocol: Option<u8>,
    /// Source ports; the full range also matches protocols without ports.
    pub source_ports: RangeInclusive<u16>,
    /// Destination ports, likewise.
    pub destination_ports: RangeInclusive<u16>,
}

/// Addresses from a first to a last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressRange {
    /// IPv4.
    V4(Ipv4Addr, Ipv4Addr),
    /// IPv6.
    V6(Ipv6Addr, Ipv6Addr),
}

/// What happens to a packet that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Not encrypted. Such packets are kept away from the packet path by the kernel's routes; if
    /// one arrives nevertheless it is dropped, never sent in clear.
    Clear,
    /// Sealed with an SA of this association number.
    Protect {
        /// Number of the association.
        association: u16,
    },
}

/// One line of a group's access list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which packets.
    pub selector: Selector,
    /// What happens to them.
    pub action: Action,
}

impl AddressRange {
    /// Whether `address` is of this family and inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(first, last), IpAddr::V4(address)) => (*first..=*last).contains(&address),
            (Self::V6(first, last), IpAddr::V6(address)) => (*first..=*last).contains(&address),
            (Self::V4(..), IpAddr::V6(_)) | (Self::V6(..), IpAddr::V4(_)) => false,
        }
    }
}
