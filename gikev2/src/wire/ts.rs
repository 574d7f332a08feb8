//! Traffic selectors (RFC 7296 §3.13.1), used by GSA policies (RFC 9838 §4.4.2) and, with less
//! on the wire, by the access list.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::{ParseError, WriteError};
use super::reader::Reader;
use super::registry::TrafficSelectorType;
use super::writer::Writer;

/// An inclusive range of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressRange {
    /// IPv4, first and last address.
    V4(Ipv4Addr, Ipv4Addr),
    /// IPv6, first and last address.
    V6(Ipv6Addr, Ipv6Addr),
}

impl AddressRange {
    /// Every IPv4 address.
    pub const ANY_V4: Self = Self::V4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    /// Every IPv6 address.
    pub const ANY_V6: Self = Self::V6(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(u128::MAX));

    /// The range from `start` to `end`, or `None` when their families differ or the end comes first.
    pub fn new(start: IpAddr, end: IpAddr) -> Option<Self> {
        match (start, end) {
            (IpAddr::V4(start), IpAddr::V4(end)) if start <= end => Some(Self::V4(start, end)),
            (IpAddr::V6(start), IpAddr::V6(end)) if start <= end => Some(Self::V6(start, end)),
            _ => None,
        }
    }

    /// The range of one address.
    pub fn single(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address, address),
            IpAddr::V6(address) => Self::V6(address, address),
        }
    }

    /// First address.
    pub fn start(&self) -> IpAddr {
        match self {
            Self::V4(start, _) => IpAddr::V4(*start),
            Self::V6(start, _) => IpAddr::V6(*start),
        }
    }

    /// Last address.
    pub fn end(&self) -> IpAddr {
        match self {
            Self::V4(_, end) => IpAddr::V4(*end),
            Self::V6(_, end) => IpAddr::V6(*end),
        }
    }

    /// Whether the addresses are IPv4.
    pub fn is_ipv4(&self) -> bool {
        matches!(self, Self::V4(..))
    }

    /// Whether the address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(start, end), IpAddr::V4(address)) => (start..=end).contains(&&address),
            (Self::V6(start, end), IpAddr::V6(address)) => (start..=end).contains(&&address),
            _ => false,
        }
    }

    /// Whether every address of `other` is in the range.
    pub fn covers(&self, other: &Self) -> bool {
        self.contains(other.start()) && self.contains(other.end())
    }

    /// Reads start and end address of the family.
    pub(crate) fn parse(
        reader: &mut Reader<'_>,
        ipv4: bool,
        field: &'static str,
    ) -> Result<Self, ParseError> {
        let offset = reader.offset();
        let (start, end) = if ipv4 {
            (
                IpAddr::from(reader.array::<4>(field)?),
                IpAddr::from(reader.array::<4>(field)?),
            )
        } else {
            (
                IpAddr::from(reader.array::<16>(field)?),
                IpAddr::from(reader.array::<16>(field)?),
            )
        };
        Self::new(start, end).ok_or(ParseError::Value {
            field,
            offset,
            expected: "a first address not above the last",
            found: 0,
        })
    }

    /// Writes start and end address.
    pub(crate) fn write(&self, writer: &mut Writer) {
        match self {
            Self::V4(start, end) => {
                writer.bytes(&start.octets());
                writer.bytes(&end.octets());
            }
            Self::V6(start, end) => {
                writer.bytes(&start.octets());
                writer.bytes(&end.octets());
            }
        }
    }
}

/// An inclusive range of ports. For ICMP the 16 bits are type and code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// First port.
    pub start: u16,
    /// Last port.
    pub end: u16,
}

impl PortRange {
    /// Every port, and packets without ports.
    pub const ANY: Self = Self {
        start: 0,
        end: u16::MAX,
    };

    /// Packets whose ports cannot be seen (RFC 7296 §3.13.1, OPAQUE).
    pub const OPAQUE: Self = Self {
        start: u16::MAX,
        end: 0,
    };

    /// The range of one port.
    pub fn single(port: u16) -> Self {
        Self {
            start: port,
            end: port,
        }
    }

    /// Whether the port is in the range.
    pub fn contains(&self, port: u16) -> bool {
        (self.start..=self.end).contains(&port)
    }

    /// Reads first and last port; only OPAQUE may have them in the wrong order.
    pub(crate) fn parse(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, ParseError> {
        let offset = reader.offset();
        let range = Self {
            start: reader.u16(field)?,
            end: reader.u16(field)?,
        };
        if range.start > range.end && range != Self::OPAQUE {
            return Err(ParseError::Value {
                field,
                offset,
                expected: "a first port not above the last",
                found: u64::from(range.start),
            });
        }
        Ok(range)
    }

    /// Writes first and last port.
    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.u16(self.start);
        writer.u16(self.end);
    }
}

/// One traffic selector: addresses, protocol and ports of one side of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrafficSelector {
    /// IP protocol number; 0 is any.
    pub protocol: u8,
    /// Ports.
    pub ports: PortRange,
    /// Addresses.
    pub addresses: AddressRange,
}

impl TrafficSelector {
    /// Any protocol and port to or from the addresses.
    pub fn addresses(addresses: AddressRange) -> Self {
        Self {
            protocol: 0,
            ports: PortRange::ANY,
            addresses,
        }
    }

    /// Reads one selector.
    ///
    /// # Errors
    /// [`ParseError`] for an unknown type, a length that does not belong to the type, or a range whose
    /// start is above its end.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let offset = reader.offset();
        let selector_type = TrafficSelectorType(reader.u8("traffic selector type")?);
        let (ipv4, length) = match selector_type {
            TrafficSelectorType::IPV4_ADDRESS_RANGE => (true, 16),
            TrafficSelectorType::IPV6_ADDRESS_RANGE => (false, 40),
            other => {
                return Err(ParseError::Value {
                    field: "traffic selector type",
                    offset,
                    expected: "7 or 8",
                    found: u64::from(other.0),
                });
            }
        };
        let protocol = reader.u8("traffic selector protocol")?;
        let length_offset = reader.offset();
        let found = usize::from(reader.u16("traffic selector length")?);
        if found != length {
            return Err(ParseError::Length {
                field: "traffic selector",
                offset: length_offset,
                expected: "16 for IPv4 and 40 for IPv6",
                found,
            });
        }
        let ports = PortRange::parse(reader, "traffic selector ports")?;
        let addresses = AddressRange::parse(reader, ipv4, "traffic selector addresses")?;
        Ok(Self {
            protocol,
            ports,
            addresses,
        })
    }

    /// Writes the selector.
    pub fn write(&self, writer: &mut Writer) {
        let (selector_type, length) = if self.addresses.is_ipv4() {
            (TrafficSelectorType::IPV4_ADDRESS_RANGE, 16)
        } else {
            (TrafficSelectorType::IPV6_ADDRESS_RANGE, 40)
        };
        writer.u8(selector_type.0);
        writer.u8(self.protocol);
        writer.u16(length);
        self.ports.write(writer);
        self.addresses.write(writer);
    }
}

/// Most selectors accepted in one payload.
const MOST_SELECTORS: usize = 64;

/// Reads the content of a TSi or TSr payload (RFC 7296 §3.13).
pub(crate) fn parse_payload(reader: &mut Reader<'_>) -> Result<Vec<TrafficSelector>, ParseError> {
    let count = usize::from(reader.u8("number of traffic selectors")?);
    reader.take("traffic selectors reserved", 3)?;
    if count > MOST_SELECTORS {
        return Err(ParseError::TooMany {
            field: "traffic selectors",
            offset: reader.offset(),
            limit: MOST_SELECTORS,
        });
    }
    (0..count).map(|_| TrafficSelector::parse(reader)).collect()
}

/// Writes the content of a TSi or TSr payload.
pub(crate) fn write_payload(
    writer: &mut Writer,
    selectors: &[TrafficSelector],
) -> Result<(), WriteError> {
    let count = super::writer::length_u8("number of traffic selectors", selectors.len())?;
    writer.u8(count);
    writer.bytes(&[0; 3]);
    for selector in selectors {
        selector.write(writer);
    }
    Ok(())
}
