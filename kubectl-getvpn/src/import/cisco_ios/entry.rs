//! One line of an access list: which packets, and whether they are permitted or denied.

use std::net::Ipv4Addr;

use ipnet::IpNet;

use super::address;
use super::port::{self, TCP, UDP};

/// What a line of an access list says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Line in the configuration.
    pub(super) line: usize,
    /// The line without what stands in front of `permit` or `deny`.
    pub(super) text: String,
    /// `permit`, otherwise `deny`.
    pub(super) permit: bool,
    /// IP protocol; `None` for any.
    pub(super) protocol: Option<u8>,
    /// Where packets come from.
    pub(super) source: Place,
    /// Where packets go to.
    pub(super) destination: Place,
    /// Conditions that our rules do not have, as written.
    pub(super) conditions: Vec<String>,
    /// A name given by a remark in front or a sequence number.
    pub(super) sequence: Option<u32>,
}

/// One end of a packet's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Prefixes.
    pub(super) nets: Vec<IpNet>,
    /// An object group that holds the prefixes.
    pub(super) object_group: Option<String>,
    /// Ranges of ports, both ends included; empty for any.
    pub(super) ports: Vec<(u16, u16)>,
}

/// Why a line could not be read.
pub(super) type Problem = &'static str;

const ENDS_EARLY: Problem = "the line ends early";
const NO_ADDRESS: Problem = "an address is not understood";
const ODD_MASK: Problem = "the wildcard mask stands for too many separate prefixes";
const NO_PORT: Problem = "a port is not understood";
const EMPTY_PORTS: Problem = "no port fits it, so it never matches";

/// The words of a line that are not read yet.
struct Words<'a> {
    words: &'a [String],
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.first().map(String::as_str)
    }

    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn take(&mut self, keyword: &str) -> bool {
        let found = self
            .peek()
            .is_some_and(|word| word.eq_ignore_ascii_case(keyword));
        if found {
            self.next();
        }
        found
    }
}

/// Reads a line of an extended list, from `permit` or `deny` on.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn extended(
    line: usize,
    sequence: Option<u32>,
    words: &[String],
    ipv6: bool,
) -> Result<Entry, Problem> {
    let text = words.join(" ");
    let mut words = Words { words };
    let permit = action(&mut words)?;
    let word = words.next().ok_or(ENDS_EARLY)?;
    if word.eq_ignore_ascii_case("object-group") {
        return Err("object groups of services are not read");
    }
    let protocol = port::protocol(word, ipv6).ok_or("the protocol is not understood")?;
    let with_ports = matches!(protocol, Some(TCP | UDP));
    let mut source = place(&mut words, ipv6)?;
    if with_ports {
        source.ports = ports(&mut words)?;
    }
    let mut destination = place(&mut words, ipv6)?;
    if with_ports {
        destination.ports = ports(&mut words)?;
    }
    Ok(Entry {
        line,
        text,
        permit,
        protocol,
        source,
        destination,
        conditions: conditions(&mut words),
        sequence,
    })
}

/// Reads a line of a standard list, from `permit` or `deny` on: only a source.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn standard(
    line: usize,
    sequence: Option<u32>,
    words: &[String],
) -> Result<Entry, Problem> {
    let text = words.join(" ");
    let mut words = Words { words };
    let permit = action(&mut words)?;
    let source = place(&mut words, false)?;
    Ok(Entry {
        line,
        text,
        permit,
        protocol: None,
        source,
        destination: Place {
            nets: vec![address::any_ipv4()],
            object_group: None,
            ports: Vec::new(),
        },
        conditions: conditions(&mut words),
        sequence,
    })
}

fn action(words: &mut Words<'_>) -> Result<bool, Problem> {
    if words.take("permit") {
        Ok(true)
    } else if words.take("deny") {
        Ok(false)
    } else {
        Err("expected `permit` or `deny`")
    }
}

fn place(words: &mut Words<'_>, ipv6: bool) -> Result<Place, Problem> {
    let mut object_group = None;
    let word = words.next().ok_or(ENDS_EARLY)?;
    let nets = match word.to_ascii_lowercase().as_str() {
        "any" | "any4" | "any6" if ipv6 => vec![address::any_ipv6()],
        "any" | "any4" => vec![address::any_ipv4()],
        "host" => {
            let address = words.next().ok_or(ENDS_EARLY)?;
            let address: std::net::IpAddr = address.parse().map_err(|_| NO_ADDRESS)?;
            if address.is_ipv6() != ipv6 {
                return Err(NO_ADDRESS);
            }
            vec![address::host(address)]
        }
        "object-group" => {
            object_group = Some(words.next().ok_or(ENDS_EARLY)?.to_owned());
            Vec::new()
        }
        prefix if ipv6 => vec![address::ipv6_prefix(prefix).ok_or(NO_ADDRESS)?],
        address => {
            let address: Ipv4Addr = address.parse().map_err(|_| NO_ADDRESS)?;
            match words.peek().and_then(|mask| mask.parse::<Ipv4Addr>().ok()) {
                Some(mask) => {
                    words.next();
                    address::wildcard(address, mask).ok_or(ODD_MASK)?
                }
                // Standard lists leave the mask of a single address out.
                None => vec![address::host(address.into())],
            }
        }
    };
    Ok(Place {
        nets,
        object_group,
        ports: Vec::new(),
    })
}

/// Reads `eq`, `neq`, `gt`, `lt` or `range` with its ports, if there is one.
fn ports(words: &mut Words<'_>) -> Result<Vec<(u16, u16)>, Problem> {
    let number = |words: &mut Words<'_>| {
        let word = words.next().ok_or(ENDS_EARLY)?;
        port::port(word).ok_or(NO_PORT)
    };
    let ranges = if words.take("eq") {
        let mut ranges = vec![number(words)?];
        while let Some(more) = words.peek().and_then(port::port) {
            // After source ports an address may follow; a number alone is a port.
            words.next();
            ranges.push(more);
        }
        ranges.into_iter().map(|port| (port, port)).collect()
    } else if words.take("range") {
        let (first, last) = (number(words)?, number(words)?);
        vec![(first.min(last), first.max(last))]
    } else if words.take("gt") {
        let first = number(words)?.checked_add(1).ok_or(EMPTY_PORTS)?;
        vec![(first, u16::MAX)]
    } else if words.take("lt") {
        let last = number(words)?.checked_sub(1).ok_or(EMPTY_PORTS)?;
        vec![(0, last)]
    } else if words.take("neq") {
        let port = number(words)?;
        let below = port.checked_sub(1).map(|last| (0, last));
        let above = port.checked_add(1).map(|first| (first, u16::MAX));
        below.into_iter().chain(above).collect()
    } else {
        Vec::new()
    };
    Ok(ranges)
}

/// What is left of a line: `log` means nothing for the traffic, all else narrows it.
fn conditions(words: &mut Words<'_>) -> Vec<String> {
    let mut conditions: Vec<String> = Vec::new();
    while let Some(word) = words.next() {
        if !matches!(word.to_ascii_lowercase().as_str(), "log" | "log-input") {
            conditions.push(word.to_owned());
        }
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Entry, Problem> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        extended(1, None, &words, text.contains("ipv6"))
    }

    #[test]
    fn every_way_to_name_ports_becomes_ranges() {
        for (text, expected) in [
            ("permit tcp any any eq 22", &[(22, 22)][..]),
            (
                "permit tcp any any eq ftp www 443",
                &[(21, 21), (80, 80), (443, 443)],
            ),
            ("permit udp any any range 16384 32767", &[(16_384, 32_767)]),
            ("permit udp any any gt 1023", &[(1_024, 65_535)]),
            ("permit udp any any lt 1024", &[(0, 1_023)]),
            ("permit tcp any any neq 80", &[(0, 79), (81, 65_535)]),
            ("permit tcp any any", &[]),
        ] {
            let entry = read(text).expect(text);
            assert_eq!(entry.destination.ports, expected, "{text}");
        }
        assert_eq!(read("permit tcp any any gt 65535"), Err(EMPTY_PORTS));
    }

    #[test]
    fn source_ports_addresses_and_conditions_are_told_apart() {
        let entry = read("deny tcp 10.0.0.0 0.255.255.255 eq 22 host 10.1.1.1 established log")
            .expect("an entry");
        assert!(!entry.permit);
        assert_eq!(entry.source.ports, [(22, 22)]);
        assert_eq!(
            entry.destination.nets,
            ["10.1.1.1/32".parse().expect("a net")]
        );
        assert_eq!(entry.conditions, ["established"]);
        let entry = read("permit ipv6 2001:db8::/32 any").expect("an entry");
        assert_eq!(entry.destination.nets, [address::any_ipv6()]);
    }
}
