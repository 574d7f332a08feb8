//! The Security Policy Database: one ordered access list, first match decides.
//!
//! The list is what the member's own exclusions and the rules of its groups give when written one
//! after the other. A packet no rule matches is dropped. A fragment that does not show its ports
//! is taken to match a rule to encrypt and not to match a rule to leave clear, whatever ports the
//! rules name, so that doubt never ends in clear text (RFC 4301 §7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use crate::data_plane::Family;
use crate::ip::flow::{Flow, number};

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
        let (family, first, last) = self.bounds();
        let of = match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        };
        family == of && (first..=last).contains(&number(address))
    }

    fn bounds(&self) -> (Family, u128, u128) {
        match *self {
            Self::V4(first, last) => (Family::V4, number(first.into()), number(last.into())),
            Self::V6(first, last) => (Family::V6, number(first.into()), number(last.into())),
        }
    }
}

/// What the list says about a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// No rule matches.
    NoRule,
    /// Stays clear.
    Clear,
    /// Sealed.
    Protect {
        /// Index of the group whose rule matched.
        group: u16,
        /// Number of the association.
        association: u16,
    },
}

/// The access list in the form that is searched.
#[derive(Debug, Default)]
pub struct AccessList {
    v4: Vec<Line>,
    v6: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    source: RangeInclusive<u128>,
    destination: RangeInclusive<u128>,
    protocol: Option<u8>,
    ports: Option<(RangeInclusive<u16>, RangeInclusive<u16>)>,
    /// `None` for the member's own exclusions.
    group: Option<u16>,
    action: Action,
}

impl Line {
    fn matches(&self, flow: &Flow) -> bool {
        self.source.contains(&flow.source)
            && self.destination.contains(&flow.destination)
            && self
                .protocol
                .is_none_or(|protocol| protocol == flow.protocol)
            && match &self.ports {
                None => true,
                Some(_) if flow.later_fragment => self.action != Action::Clear,
                Some((source, destination)) => {
                    flow.has_ports
                        && source.contains(&flow.ports.0)
                        && destination.contains(&flow.ports.1)
                }
            }
    }

    fn verdict(&self) -> Verdict {
        match (self.action, self.group) {
            (Action::Protect { association }, Some(group)) => {
                Verdict::Protect { group, association }
            }
            (Action::Protect { .. }, None) | (Action::Clear, _) => Verdict::Clear,
        }
    }
}

impl AccessList {
    /// Writes the lists one after the other: the member's own exclusions, then each group's rules.
    /// Rules whose source and destination are of different families match nothing and are left out.
    pub fn new<'a>(
        bypass: impl IntoIterator<Item = &'a Selector>,
        groups: impl IntoIterator<Item = &'a [Rule]>,
    ) -> Self {
        let mut list = Self::default();
        for selector in bypass {
            list.push(selector, None, Action::Clear);
        }
        for (group, rules) in groups.into_iter().enumerate() {
            for rule in rules {
                list.push(&rule.selector, u16::try_from(group).ok(), rule.action);
            }
        }
        list
    }

    fn push(&mut self, selector: &Selector, group: Option<u16>, action: Action) {
        let (family, from, to) = selector.source.bounds();
        let (other, first, last) = selector.destination.bounds();
        if family != other {
            return;
        }
        let all = |ports: &RangeInclusive<u16>| *ports == (0..=u16::MAX);
        let ports =
            (!all(&selector.source_ports) || !all(&selector.destination_ports)).then(|| {
                (
                    selector.source_ports.clone(),
                    selector.destination_ports.clone(),
                )
            });
        let line = Line {
            source: from..=to,
            destination: first..=last,
            protocol: selector.protocol,
            ports,
            group,
            action,
        };
        match family {
            Family::V4 => self.v4.push(line),
            Family::V6 => self.v6.push(line),
        }
    }

    fn lines(&self, family: Family) -> &[Line] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// What the whole list says about an outgoing flow.
    pub fn lookup(&self, flow: &Flow) -> Verdict {
        self.lines(flow.family)
            .iter()
            .find(|line| line.matches(flow))
            .map_or(Verdict::NoRule, Line::verdict)
    }

    /// What one group's rules alone say: an incoming packet is judged by its sender's list, which
    /// has the group's rules but not our exclusions.
    pub fn lookup_in_group(&self, flow: &Flow, group: u16) -> Verdict {
        self.lines(flow.family)
            .iter()
            .find(|line| line.group == Some(group) && line.matches(flow))
            .map_or(Verdict::NoRule, Line::verdict)
    }

    /// Whether any rule of `group` to encrypt covers these addresses, ports left aside.
    pub fn covers(&self, family: Family, source: u128, destination: u128, group: u16) -> bool {
        self.lines(family).iter().any(|line| {
            line.group == Some(group)
                && line.action != Action::Clear
                && line.source.contains(&source)
                && line.destination.contains(&destination)
        })
    }
}

/// Remembers what the list said about recent flows: the search costs the same for 1 rule or 1000.
///
/// One place per hash, newer flows displace older ones, nothing is allocated after creation.
#[derive(Debug)]
pub struct FlowCache<T> {
    entries: Box<[Option<(Flow, T)>]>,
    generation: u64,
}

impl<T: Copy> FlowCache<T> {
    /// Places in the cache; a power of two.
    const ENTRIES: usize = 1024;

    /// An empty cache.
    pub fn new() -> Self {
        Self {
            entries: (0..Self::ENTRIES).map(|_| None).collect(),
            generation: 0,
        }
    }

    /// What is remembered about `flow` for this generation of the policy, or what `search` says.
    #[inline]
    pub fn get_or(&mut self, generation: u64, flow: &Flow, search: impl FnOnce() -> T) -> T {
        if self.generation != generation {
            self.entries.fill_with(|| None);
            self.generation = generation;
        }
        let at = (flow.hash() >> 32) as usize % Self::ENTRIES;
        match self.entries.get_mut(at) {
            Some(Some((known, value))) if known == flow => *value,
            Some(entry) => entry.insert((*flow, search())).1,
            None => search(),
        }
    }
}

impl<T: Copy> Default for FlowCache<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
