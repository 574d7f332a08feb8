//! The key by which policy and train are chosen.

use super::header::{Fragment, Header};
use crate::data_plane::Family;
use std::net::IpAddr;

/// What tells one flow from another. Addresses are 128-bit numbers; `family` keeps the two
/// versions apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Source address.
    pub source: u128,
    /// Destination address.
    pub destination: u128,
    /// Source and destination port, 0 where there are none.
    pub ports: (u16, u16),
    /// Whether `ports` are really in the packet.
    pub has_ports: bool,
    /// Whether this is a fragment without its upper-layer header.
    pub later_fragment: bool,
    /// Protocol of the upper layer.
    pub protocol: u8,
    /// IP version.
    pub family: Family,
}

/// An address as a number.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

impl Flow {
    /// The flow a packet with this header belongs to.
    #[inline]
    pub fn of(header: &Header) -> Self {
        Self {
            source: number(header.source),
            destination: number(header.destination),
            ports: header.ports.unwrap_or_default(),
            has_ports: header.ports.is_some(),
            later_fragment: header.fragment == Fragment::Later,
            protocol: header.protocol,
            family: header.family,
        }
    }

    /// A well-mixed number, the same for equal flows; for caches and spreading, not for security.
    #[inline]
    pub fn hash(&self) -> u64 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut state = 0u64;
        let mut mix = |value: u64| state = (state ^ value).wrapping_mul(ODD).rotate_left(29);
        mix(self.source as u64);
        mix((self.source >> 64) as u64);
        mix(self.destination as u64);
        mix((self.destination >> 64) as u64);
        mix(u64::from(self.ports.0) << 32
            | u64::from(self.ports.1) << 16
            | u64::from(self.protocol) << 8
            | u64::from(self.has_ports) << 1
            | u64::from(self.later_fragment));
        (state ^ (state >> 32)).wrapping_mul(ODD)
    }
}
