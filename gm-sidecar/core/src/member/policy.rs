//! The policy half of a GSA payload, as this member uses it: rules, direction, delays.

use std::time::Duration;

use gikev2::wire::{
    AccessAction, AccessEntry, AddressRange as WireRange, DataSaPolicy, Direction as WireDirection,
    GroupSecurityAssociation, PortRange, SaPolicy, TrafficSelector,
};

use crate::data_plane::Direction;
use crate::member::flow::ANY_PORT;
use crate::member::settings::DirectionOverride;
use crate::member::traffic_plan::{Origin, PlanEntry, Treatment};
use crate::spd::{Action, AddressRange, Rule, Selector};

/// Policy of one group, from the last message that stated it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GroupPolicy {
    pub(super) rules: Vec<Rule>,
    receive_only: bool,
    pub(super) revision: Option<u64>,
    pub(super) sender_id_bits: Option<u8>,
    /// Delay until senders use a new SA that states none of its own (GWP_ATD).
    pub(super) activation_delay: Duration,
    /// Delay until a replaced SA is gone (GWP_DTD); `None` when the group states none.
    pub(super) deactivation_delay: Option<Duration>,
}

impl GroupPolicy {
    /// Takes over what `gsa` states. What it leaves out stays as it was (RFC 9838 §4.4.3).
    pub(super) fn update(&mut self, gsa: &GroupSecurityAssociation) {
        let group_wide = gsa.group_wide.as_ref();
        let list = group_wide.and_then(|policy| policy.access_list.as_ref());
        if let Some(list) = list {
            self.rules = list.entries.iter().filter_map(rule).collect();
        } else if self.rules.is_empty() {
            self.rules = rules_of_policies(gsa);
        }
        let Some(group_wide) = group_wide else {
            return;
        };
        if let Some(direction) = group_wide.direction {
            self.receive_only = direction == WireDirection::ReceiveOnly;
        }
        self.revision = group_wide.policy_revision.or(self.revision);
        if let Some(bits) = group_wide.sender_id_bits {
            self.sender_id_bits = u8::try_from(bits).ok();
        }
        let seconds = |value: Option<u16>| value.map(|value| Duration::from_secs(value.into()));
        if let Some(delay) = seconds(group_wide.activation_delay_seconds) {
            self.activation_delay = delay;
        }
        if let Some(delay) = seconds(group_wide.deactivation_delay_seconds) {
            self.deactivation_delay = Some(delay);
        }
    }

    /// Whether this member encrypts what it sends, given its own `direction`.
    pub(super) fn direction(&self, direction: DirectionOverride) -> Direction {
        match direction {
            DirectionOverride::Inherit if self.receive_only => Direction::ReceiveOnly,
            DirectionOverride::InboundOnly => Direction::ReceiveOnly,
            DirectionOverride::Inherit
            | DirectionOverride::Bidirectional
            | DirectionOverride::InboundOptional => Direction::Both,
        }
    }

    /// The list as the kernel has to enforce it.
    pub(super) fn plan(
        &self,
        group_id: u32,
        direction: DirectionOverride,
    ) -> impl Iterator<Item = PlanEntry> {
        let outbound = self.direction(direction) == Direction::Both;
        let inbound = outbound && direction != DirectionOverride::InboundOptional;
        self.rules.iter().map(move |rule| PlanEntry {
            origin: Origin::Group(group_id),
            treatment: match rule.action {
                Action::Clear => Treatment::Clear,
                Action::Protect { .. } => Treatment::Protect { outbound, inbound },
            },
            selector: rule.selector.clone(),
        })
    }
}

/// The number by which rules name the SA of `policy`; `index` is its place among the data policies.
pub(super) fn association_of(policy: &DataSaPolicy, index: usize) -> u16 {
    policy
        .association
        .unwrap_or_else(|| u16::try_from(index).unwrap_or(u16::MAX))
}

/// The data policies of a GSA, with their association numbers.
///
/// Without our private attribute, policies with equal selectors are successive keys of one
/// association.
pub(super) fn data_policies(gsa: &GroupSecurityAssociation) -> Vec<(u16, &DataSaPolicy)> {
    let mut selectors: Vec<(&TrafficSelector, &TrafficSelector)> = Vec::new();
    let mut found = Vec::new();
    for policy in &gsa.policies {
        let SaPolicy::Data(policy) = policy else {
            continue;
        };
        let pair = (&policy.source, &policy.destination);
        let index = selectors.iter().position(|known| *known == pair);
        let index = index.unwrap_or_else(|| {
            selectors.push(pair);
            selectors.len() - 1
        });
        found.push((association_of(policy, index), policy));
    }
    found
}

fn rules_of_policies(gsa: &GroupSecurityAssociation) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for (association, policy) in data_policies(gsa) {
        let selector = selector(
            policy.source.protocol,
            policy.source.addresses,
            policy.destination.addresses,
            policy.source.ports,
            policy.destination.ports,
        );
        let rule = selector.map(|selector| Rule {
            selector,
            action: Action::Protect { association },
        });
        rules.extend(rule.filter(|rule| !rules.contains(rule)));
    }
    rules
}

fn rule(entry: &AccessEntry) -> Option<Rule> {
    let action = match entry.action {
        AccessAction::Deny => Action::Clear,
        AccessAction::Permit { association } => Action::Protect { association },
    };
    let opaque = [entry.source_ports, entry.destination_ports].contains(&PortRange::OPAQUE);
    if opaque && action == Action::Clear {
        // "Ports not visible" cannot be expressed in the kernel's rules; nothing more than what was
        // asked may go in clear.
        return None;
    }
    let selector = selector(
        entry.protocol,
        entry.source,
        entry.destination,
        entry.source_ports,
        entry.destination_ports,
    )?;
    Some(Rule { selector, action })
}

fn selector(
    protocol: u8,
    source: WireRange,
    destination: WireRange,
    source_ports: PortRange,
    destination_ports: PortRange,
) -> Option<Selector> {
    let ports = |range: PortRange| {
        if range.start <= range.end {
            range.start..=range.end
        } else {
            ANY_PORT
        }
    };
    let (source, destination) = match (source, destination) {
        (WireRange::V4(first, last), WireRange::V4(from, to)) => {
            (AddressRange::V4(first, last), AddressRange::V4(from, to))
        }
        (WireRange::V6(first, last), WireRange::V6(from, to)) => {
            (AddressRange::V6(first, last), AddressRange::V6(from, to))
        }
        (WireRange::V4(..), WireRange::V6(..)) | (WireRange::V6(..), WireRange::V4(..)) => {
            return None;
        }
    };
    Some(Selector {
        source,
        destination,
        protocol: (protocol != 0).then_some(protocol),
        source_ports: ports(source_ports),
        destination_ports: ports(destination_ports),
    })
}
