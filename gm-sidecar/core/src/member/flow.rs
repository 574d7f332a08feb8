//! What the control side asks of selectors beyond matching a packet: networks for routes and drop
//! rules, the mirrored flow, and a form for people.
//!
//! The types are the packet path's own ([`crate::spd`]), so a rule means the same in the kernel's
//! drop rules, in its routes and in the packet path.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use crate::data_plane::Family;
use crate::spd::{AddressRange, Selector};

/// Every port.
pub const ANY_PORT: RangeInclusive<u16> = 0..=u16::MAX;

impl AddressRange {
    /// The range from `first` to `last`; `None` when the families differ or the order is wrong.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => Some(Self::V4(first, last)),
            (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => Some(Self::V6(first, last)),
            _ => None,
        }
    }

    /// Every address of `family`.
    pub fn any(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST),
            Family::V6 => Self::V6(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from(u128::MAX)),
        }
    }

    /// The addresses of `network`.
    pub fn network(network: IpNet) -> Self {
        match network {
            IpNet::V4(network) => Self::V4(network.network(), network.broadcast()),
            IpNet::V6(network) => Self::V6(network.network(), network.broadcast()),
        }
    }

    /// The family of the range.
    pub fn family(&self) -> Family {
        match self {
            Self::V4(..) => Family::V4,
            Self::V6(..) => Family::V6,
        }
    }

    /// First and last address.
    pub fn first_and_last(&self) -> (IpAddr, IpAddr) {
        match *self {
            Self::V4(first, last) => (first.into(), last.into()),
            Self::V6(first, last) => (first.into(), last.into()),
        }
    }

    /// Whether every address of the family is inside.
    pub fn is_any(&self) -> bool {
        *self == Self::any(self.family())
    }

    /// Whether any multicast address is inside.
    pub fn touches_multicast(&self) -> bool {
        let multicast = match self {
            Self::V4(..) => Self::V4(
                Ipv4Addr::new(224, 0, 0, 0),
                Ipv4Addr::new(239, 255, 255, 255),
            ),
            Self::V6(..) => Self::V6(
                Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0),
                Ipv6Addr::from(u128::MAX),
            ),
        };
        self.overlaps(&multicast)
    }

    /// Whether the two ranges share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::V4(first, last), Self::V4(from, to)) => first <= to && from <= last,
            (Self::V6(first, last), Self::V6(from, to)) => first <= to && from <= last,
            (Self::V4(..), Self::V6(..)) | (Self::V6(..), Self::V4(..)) => false,
        }
    }

    /// The fewest networks that make up exactly this range, in order.
    pub fn networks(&self) -> Vec<IpNet> {
        match *self {
            Self::V4(first, last) => Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect(),
            Self::V6(first, last) => Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect(),
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return formatter.write_str("any");
        }
        let (first, last) = self.first_and_last();
        match self.networks().as_slice() {
            [single] if first == last => write!(formatter, "{}", single.addr()),
            [network] => write!(formatter, "{network}"),
            _ => write!(formatter, "{first}-{last}"),
        }
    }
}

impl Selector {
    /// Every packet from `source` to `destination`.
    pub fn between(source: AddressRange, destination: AddressRange) -> Self {
        Self {
            source,
            destination,
            protocol: None,
            source_ports: ANY_PORT,
            destination_ports: ANY_PORT,
        }
    }

    /// The family of both ranges.
    pub fn family(&self) -> Family {
        self.source.family()
    }

    /// The flow of the answers: source and destination exchanged.
    pub fn mirrored(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            protocol: self.protocol,
            source_ports: self.destination_ports.clone(),
            destination_ports: self.source_ports.clone(),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family() {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        write!(
            formatter,
            "{family} {} -> {}",
            self.source, self.destination
        )?;
        if let Some(protocol) = self.protocol {
            write!(formatter, " protocol {protocol}")?;
        }
        for (name, ports) in [
            ("source", &self.source_ports),
            ("destination", &self.destination_ports),
        ] {
            if *ports != ANY_PORT {
                write!(formatter, " {name} ports {}-{}", ports.start(), ports.end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: &str) -> AddressRange {
        AddressRange::new(
            first.parse().expect("address"),
            last.parse().expect("address"),
        )
        .expect("ordered")
    }

    #[test]
    fn a_range_splits_into_the_fewest_networks() {
        let networks: Vec<String> = range("10.0.0.1", "10.0.0.6")
            .networks()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            networks,
            ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"]
        );
        assert_eq!(AddressRange::any(Family::V6).networks().len(), 1);
    }

    #[test]
    fn families_and_order_are_checked() {
        let (v4, v6): (IpAddr, IpAddr) = (
            "10.0.0.1".parse().expect("address"),
            "::1".parse().expect("address"),
        );
        assert_eq!(AddressRange::new(v4, v6), None);
        assert_eq!(
            AddressRange::new("10.0.0.2".parse().expect("address"), v4),
            None
        );
        assert!(!AddressRange::any(Family::V4).contains(v6));
        assert!(range("10.0.0.0", "224.0.0.0").touches_multicast());
        assert!(!range("10.0.0.0", "223.255.255.255").touches_multicast());
    }

    #[test]
    fn mirroring_exchanges_addresses_and_ports() {
        let mut flow = Selector::between(
            range("10.1.0.0", "10.1.255.255"),
            range("10.2.0.0", "10.2.255.255"),
        );
        flow.protocol = Some(6);
        flow.destination_ports = 22..=22;
        let mirrored = flow.mirrored();
        assert_eq!(
            mirrored.to_string(),
            "IPv4 10.2.0.0/16 -> 10.1.0.0/16 protocol 6 source ports 22-22"
        );
        assert_eq!(mirrored.mirrored(), flow);
    }
}
