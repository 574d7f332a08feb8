//! Access lists written out: one rule for each pair of prefixes, and what rules have to do with each other.

use ipnet::IpNet;

use super::device::{AccessList, Device};
use super::entry::{Entry, Place};
use super::note::{Notes, Weight};

/// Most rules that one list becomes.
const MOST_RULES: usize = 512;
/// Most ranges of ports in one rule of ours.
const MOST_RANGES: usize = 16;
/// How deep object groups may hold each other.
const DEEPEST_GROUP: usize = 8;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Line in the configuration.
    pub(super) line: usize,
    /// The entry it comes from.
    pub(super) text: String,
    /// Number of the entry in its list, when it has one.
    pub(super) sequence: Option<u32>,
    /// `permit`, otherwise `deny`.
    pub(super) permit: bool,
    /// Whether the entry had a condition that was dropped, so that the rule fits more than the entry.
    pub(super) widened: bool,
    /// IP protocol; `None` for any.
    pub(super) protocol: Option<u8>,
    /// Where packets come from.
    pub(super) source: IpNet,
    /// Where packets go to.
    pub(super) destination: IpNet,
    /// Ranges of source ports; empty for any.
    pub(super) source_ports: Vec<(u16, u16)>,
    /// Ranges of destination ports; empty for any.
    pub(super) destination_ports: Vec<(u16, u16)>,
}

impl Rule {
    /// Whether the way back is the same rule.
    pub(super) fn is_symmetric(&self) -> bool {
        self.source == self.destination && self.source_ports == self.destination_ports
    }

    /// Whether nobody answers.
    pub(super) fn is_multicast(&self) -> bool {
        self.destination.network().is_multicast()
    }

    /// Whether `other` is the way back, with the same action.
    pub(super) fn is_mirror_of(&self, other: &Self) -> bool {
        self.permit == other.permit
            && self.protocol == other.protocol
            && self.source == other.destination
            && self.destination == other.source
            && self.source_ports == other.destination_ports
            && self.destination_ports == other.source_ports
    }

    /// Whether it fits the same packets as `other`.
    pub(super) fn fits_same(&self, other: &Self) -> bool {
        self.covers(other) && other.covers(self)
    }

    /// Whether every packet that fits `inner` fits this one.
    pub(super) fn covers(&self, inner: &Self) -> bool {
        self.protocol.is_none_or(|it| inner.protocol == Some(it))
            && self.source.contains(&inner.source)
            && self.destination.contains(&inner.destination)
            && covers_ports(&self.source_ports, &inner.source_ports)
            && covers_ports(&self.destination_ports, &inner.destination_ports)
    }

    /// Whether some packet fits both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let protocols = match (self.protocol, other.protocol) {
            (Some(one), Some(two)) => one == two,
            _ => true,
        };
        protocols
            && overlap(self.source, other.source)
            && overlap(self.destination, other.destination)
            && overlap_ports(&self.source_ports, &other.source_ports)
            && overlap_ports(&self.destination_ports, &other.destination_ports)
    }
}

fn overlap(one: IpNet, two: IpNet) -> bool {
    one.contains(&two) || two.contains(&one)
}

fn covers_ports(outer: &[(u16, u16)], inner: &[(u16, u16)]) -> bool {
    let within = |&(low, high): &(u16, u16)| {
        outer
            .iter()
            .any(|&(lowest, highest)| lowest <= low && high <= highest)
    };
    outer.is_empty() || (!inner.is_empty() && inner.iter().all(within))
}

fn overlap_ports(one: &[(u16, u16)], two: &[(u16, u16)]) -> bool {
    one.is_empty()
        || two.is_empty()
        || one
            .iter()
            .any(|(low, high)| two.iter().any(|(first, last)| low <= last && first <= high))
}

/// What a `permit` that cannot be carried over exactly means, by the role of its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A key server's list: `permit` encrypts, `deny` leaves in clear.
    Group,
    /// A member's own or its fail-close list: `permit` holds back, `deny` leaves in clear.
    Member,
}

/// The rules of a list. What our rules cannot say makes fewer packets go in clear: a condition on a `permit` is dropped,
/// a `deny` with a condition is left out, and each has a note.
pub(super) fn expand(
    device: &Device,
    list: &AccessList,
    role: Role,
    notes: &mut Notes,
) -> Vec<Rule> {
    for (line, permit, problem) in &list.unread {
        let effect = match (permit, role) {
            (true, Role::Group) => "; what it encrypted is not encrypted by the result",
            (true, Role::Member) => "; what it held back is not held back by the result",
            (false, _) => "; what it left in clear is not left in clear by the result",
        };
        notes.add(
            device.source,
            *line,
            Weight::Lost,
            format!("{problem}{effect}"),
        );
    }
    let mut rules = Vec::new();
    for entry in &list.entries {
        expand_entry(device, entry, role, notes, &mut rules);
        if rules.len() > MOST_RULES {
            let message = format!(
                "the list becomes more than {MOST_RULES} rules; this entry and those after it are left out: summarise prefixes"
            );
            notes.add(device.source, entry.line, Weight::Lost, message);
            rules.truncate(MOST_RULES);
            break;
        }
    }
    rules
}

fn expand_entry(
    device: &Device,
    entry: &Entry,
    role: Role,
    notes: &mut Notes,
    rules: &mut Vec<Rule>,
) {
    let text = &entry.text;
    if !entry.conditions.is_empty() {
        let condition = entry.conditions.join(" ");
        let (weight, message) = match (entry.permit, role) {
            (true, Role::Group) => (
                Weight::Changed,
                format!(
                    "`{text}`: rules have no condition `{condition}`; all packets are encrypted that fit the rest"
                ),
            ),
            (true, Role::Member) => (
                Weight::Changed,
                format!(
                    "`{text}`: there is no condition `{condition}`; the entry holds back all packets that fit the rest"
                ),
            ),
            (false, _) => (
                Weight::Lost,
                format!(
                    "`{text}`: there is no condition `{condition}`; the entry is left out, so that nothing more goes in clear"
                ),
            ),
        };
        notes.add(device.source, entry.line, weight, message);
        if !entry.permit {
            return;
        }
    }
    let mut nets = |place: &Place| {
        let found = nets_of(device, place);
        if let Err(problem) = &found {
            let message = format!("`{text}`: {problem}; the entry is left out");
            notes.add(device.source, entry.line, Weight::Lost, message);
        }
        found.ok()
    };
    let (Some(sources), Some(destinations)) = (nets(&entry.source), nets(&entry.destination))
    else {
        return;
    };
    for source in &sources {
        for destination in &destinations {
            for source_ports in chunks(&entry.source.ports) {
                for destination_ports in chunks(&entry.destination.ports) {
                    rules.push(Rule {
                        line: entry.line,
                        text: text.clone(),
                        sequence: entry.sequence,
                        permit: entry.permit,
                        widened: !entry.conditions.is_empty(),
                        protocol: entry.protocol,
                        source: *source,
                        destination: *destination,
                        source_ports: source_ports.to_vec(),
                        destination_ports: destination_ports.to_vec(),
                    });
                    if rules.len() > MOST_RULES {
                        return;
                    }
                }
            }
        }
    }
}

/// Ranges in portions that fit one rule; no range at all is one portion.
fn chunks(ranges: &[(u16, u16)]) -> Vec<&[(u16, u16)]> {
    if ranges.is_empty() {
        vec![ranges]
    } else {
        ranges.chunks(MOST_RANGES).collect()
    }
}

fn nets_of(device: &Device, place: &Place) -> Result<Vec<IpNet>, String> {
    let mut nets = place.nets.clone();
    if let Some(name) = &place.object_group {
        collect(device, name, DEEPEST_GROUP, &mut nets)?;
        if nets.is_empty() {
            return Err(format!("the object group `{name}` is empty"));
        }
    }
    Ok(nets)
}

fn collect(device: &Device, name: &str, depth: usize, nets: &mut Vec<IpNet>) -> Result<(), String> {
    let Some(deeper) = depth.checked_sub(1) else {
        return Err(format!("the object group `{name}` holds itself"));
    };
    let group = device
        .object_groups
        .get(name)
        .ok_or_else(|| format!("there is no object group of networks `{name}`"))?;
    if let Some((line, problem)) = group.unread.first() {
        return Err(format!(
            "line {line} of the object group `{name}`: {problem}"
        ));
    }
    for net in &group.nets {
        if !nets.contains(net) {
            nets.push(*net);
        }
    }
    if nets.len() > MOST_RULES {
        return Err(format!("the object group `{name}` is too large"));
    }
    for member in &group.groups {
        collect(device, member, deeper, nets)?;
    }
    Ok(())
}
