//! Words of the resources in the numbers of IP: protocols, prefixes, ports.

use crds::v1alpha1::{Cidr, Flow, PortRange, Protocol};
use ipnet::IpNet;
use serde_json::{Map, Value, json};

/// A value that no admission rule lets through; the field is named by the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a prefix.
    #[error("`{0}` must be a CIDR without host bits, for example '10.0.0.0/8'")]
    Prefix(String),
    /// Not a port or range of ports.
    #[error("`{0}` must be a port or a range of ports such as '16384-32767'")]
    Ports(String),
}

/// The IP protocol number (IANA protocol-numbers); `None` for any.
pub fn protocol_number(protocol: Protocol, number: Option<i32>) -> Option<u8> {
    match protocol {
        Protocol::Any => number.and_then(|number| u8::try_from(number).ok()),
        Protocol::Icmp => Some(1),
        Protocol::Tcp => Some(6),
        Protocol::Udp => Some(17),
        Protocol::Gre => Some(47),
        Protocol::Esp => Some(50),
        Protocol::IcmpV6 => Some(58),
        Protocol::Ospf => Some(89),
    }
}

/// The flow as an entry of `bypass` or `allowClear` in a member's configuration.
#[must_use]
pub fn entry(flow: &Flow) -> Value {
    let mut entry = Map::new();
    entry.insert("name".to_owned(), json!(flow.name));
    if let Some(number) = protocol_number(flow.protocol, flow.protocol_number) {
        entry.insert("protocol".to_owned(), json!(number));
    }
    for (field, network) in [("source", &flow.source), ("destination", &flow.destination)] {
        if let Some(network) = network {
            entry.insert(field.to_owned(), json!(network.0));
        }
    }
    for (field, ports) in [
        ("sourcePorts", &flow.source_ports),
        ("destinationPorts", &flow.destination_ports),
    ] {
        if !ports.is_empty() {
            let ports: Vec<&str> = ports.iter().map(|range| range.0.as_str()).collect();
            entry.insert(field.to_owned(), json!(ports));
        }
    }
    Value::Object(entry)
}

/// A prefix without host bits.
///
/// # Errors
/// [`ValueError::Prefix`].
pub fn prefix(cidr: &Cidr) -> Result<IpNet, ValueError> {
    cidr.0
        .parse::<IpNet>()
        .ok()
        .filter(|net| net.addr() == net.network())
        .ok_or_else(|| ValueError::Prefix(cidr.0.clone()))
}

/// Ranges of ports, both ends included.
///
/// # Errors
/// [`ValueError::Ports`].
pub fn ports(ranges: &[PortRange]) -> Result<Vec<(u16, u16)>, ValueError> {
    ranges
        .iter()
        .map(|range| {
            let (first, last) = range.0.split_once('-').unwrap_or((&range.0, &range.0));
            match (first.parse(), last.parse()) {
                (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
                _ => Err(ValueError::Ports(range.0.clone())),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_port_is_a_range_of_one() {
        let ranges = [
            PortRange("22".to_owned()),
            PortRange("16384-32767".to_owned()),
        ];
        assert_eq!(ports(&ranges), Ok(vec![(22, 22), (16_384, 32_767)]));
    }

    #[test]
    fn a_backward_range_and_host_bits_are_refused_with_the_value() {
        let backward = [PortRange("9-1".to_owned())];
        assert_eq!(ports(&backward), Err(ValueError::Ports("9-1".to_owned())));
        let host = Cidr("10.1.2.3/8".to_owned());
        assert_eq!(
            prefix(&host),
            Err(ValueError::Prefix("10.1.2.3/8".to_owned()))
        );
    }
}
