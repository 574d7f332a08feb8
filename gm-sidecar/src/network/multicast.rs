//! Memberships of protected multicast groups.
//!
//! An application joins a group on whatever interface its route points at; for a protected group
//! that is the TUN device, or the protected interface when it was named. Encrypted packets arrive
//! on the protected interface, decrypted ones on the TUN device, so whoever joined one needs both.
//! This module watches the kernel's lists and keeps the two in step.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gm_core::member::traffic_plan::TrafficPlan;
use gm_core::spd::AddressRange;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

/// A rule that names no more groups than this has them joined at once, before any application.
const JOINED_AT_ONCE: u128 = 16;

/// One membership: group and interface index.
type Membership = (IpAddr, u32);

/// Keeps memberships on protected interfaces and the TUN device in step.
pub struct MulticastMirror {
    devices: Vec<u32>,
    ranges: Vec<AddressRange>,
    held: BTreeMap<Membership, Socket>,
}

impl MulticastMirror {
    /// A mirror between the interfaces with these indices, for no group yet.
    pub fn new(protected: &[u32], tun: u32) -> Self {
        let mut devices = protected.to_vec();
        devices.push(tun);
        Self {
            devices,
            ranges: Vec::new(),
            held: BTreeMap::new(),
        }
    }

    /// Takes over which groups are protected.
    pub fn set_policy(&mut self, plan: &TrafficPlan) {
        self.ranges = plan
            .protected()
            .map(|selector| selector.destination)
            .filter(AddressRange::touches_multicast)
            .collect();
    }

    /// Whether any multicast group is protected, so that [`MulticastMirror::update`] has work.
    pub fn is_needed(&self) -> bool {
        !self.ranges.is_empty() || !self.held.is_empty()
    }

    /// Reads the kernel's memberships and joins or leaves so that both sides agree.
    pub fn update(&mut self) {
        let mut wanted = self.named_groups();
        for (membership, users) in kernel_memberships() {
            let ours = usize::from(self.held.contains_key(&membership));
            let (group, device) = membership;
            if users > ours && self.devices.contains(&device) && self.is_protected(group) {
                wanted.insert(group);
            }
        }
        self.held.retain(|(group, _), _| wanted.contains(group));
        for group in wanted {
            for &device in &self.devices {
                if self.held.contains_key(&(group, device)) {
                    continue;
                }
                match join(group, device) {
                    Ok(socket) => {
                        tracing::debug!(%group, device, "joined a protected multicast group");
                        self.held.insert((group, device), socket);
                    }
                    Err(error) => {
                        tracing::debug!(%group, device, %error, "multicast group not joined");
                    }
                }
            }
        }
    }

    fn named_groups(&self) -> BTreeSet<IpAddr> {
        let size = |range: &AddressRange| match *range {
            AddressRange::V4(first, last) => u128::from(u32::from(last).abs_diff(u32::from(first))),
            AddressRange::V6(first, last) => u128::from(last).abs_diff(u128::from(first)),
        };
        self.ranges
            .iter()
            .filter(|range| size(range) < JOINED_AT_ONCE)
            .flat_map(AddressRange::networks)
            .flat_map(|network| network.hosts())
            .filter(IpAddr::is_multicast)
            .collect()
    }

    fn is_protected(&self, group: IpAddr) -> bool {
        !is_link_scope(group) && self.ranges.iter().any(|range| range.contains(group))
    }
}

/// Groups that never leave the link (224.0.0.0/24, ff01::/16, ff02::/16) are the kernel's business.
fn is_link_scope(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(group) => matches!(group.segments()[0] & 0x0f, 1 | 2),
    }
}

fn join(group: IpAddr, device: u32) -> std::io::Result<Socket> {
    match group {
        IpAddr::V4(group) => {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(device))?;
            Ok(socket)
        }
        IpAddr::V6(group) => {
            let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
            socket.join_multicast_v6(&group, device)?;
            Ok(socket)
        }
    }
}

/// Every membership of the network namespace, with its number of users.
fn kernel_memberships() -> Vec<(Membership, usize)> {
    let mut found = parse_igmp(&fs::read_to_string("/proc/net/igmp").unwrap_or_default());
    found.extend(parse_igmp6(
        &fs::read_to_string("/proc/net/igmp6").unwrap_or_default(),
    ));
    found
}

/// `/proc/net/igmp`: a line per interface, then an indented line per group with the address as
/// hexadecimal in the machine's own byte order.
fn parse_igmp(text: &str) -> Vec<(Membership, usize)> {
    let mut found = Vec::new();
    let mut device = None;
    for line in text.lines().skip(1) {
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        if !line.starts_with(char::is_whitespace) {
            device = first.parse().ok();
            continue;
        }
        let group = u32::from_str_radix(first, 16).map(|raw| Ipv4Addr::from(raw.to_ne_bytes()));
        let users = words.next().and_then(|word| word.parse().ok());
        if let (Some(device), Ok(group), Some(users)) = (device, group, users) {
            found.push(((IpAddr::V4(group), device), users));
        }
    }
    found
}

/// `/proc/net/igmp6`: index, device, address as 32 hexadecimal digits, users, and more.
fn parse_igmp6(text: &str) -> Vec<(Membership, usize)> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let device = words.next()?.parse().ok()?;
            let group = u128::from_str_radix(words.nth(1)?, 16).ok()?;
            let users = words.next()?.parse().ok()?;
            Some(((IpAddr::V6(Ipv6Addr::from(group)), device), users))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_ipv4_list_is_read() {
        // Printed by Linux 6.18 on a little-endian machine; the group is 239.1.2.3.
        let text = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
                    1\tlo        :     1      V3\n\
                    \t\t\t\t010000E0     1 0:00000000\t\t0\n\
                    4\teth0      :     2      V3\n\
                    \t\t\t\t030201EF     2 0:00000000\t\t0\n\
                    \t\t\t\t010000E0     1 0:00000000\t\t0\n";
        let found = parse_igmp(text);
        if cfg!(target_endian = "little") {
            assert!(found.contains(&(("239.1.2.3".parse().expect("address"), 4), 2)));
        }
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn the_kernels_ipv6_list_is_read() {
        let text = "4    eth0            ff150000000000000000000000000007     1 00000004 0\n";
        assert_eq!(
            parse_igmp6(text),
            [(("ff15::7".parse().expect("address"), 4), 1)]
        );
    }

    #[test]
    fn link_scope_groups_are_left_to_the_kernel() {
        for (group, expected) in [
            ("224.0.0.251", true),
            ("239.1.2.3", false),
            ("ff02::1", true),
            ("ff15::1", false),
        ] {
            assert_eq!(
                is_link_scope(group.parse().expect("address")),
                expected,
                "{group}"
            );
        }
    }
}
