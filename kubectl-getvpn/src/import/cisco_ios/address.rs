//! Addresses as access lists write them: wildcard masks, ranges and what is left of a prefix after a hole.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets};

/// Most prefixes that one wildcard mask or range becomes.
pub(super) const MOST_PREFIXES: usize = 16;

/// All IPv4 addresses.
pub(super) fn any_ipv4() -> IpNet {
    IpNet::V4(Ipv4Net::default())
}

/// All IPv6 addresses.
pub(super) fn any_ipv6() -> IpNet {
    IpNet::V6(ipnet::Ipv6Net::default())
}

/// The prefix that holds one address.
pub(super) fn host(address: IpAddr) -> IpNet {
    IpNet::from(address)
}

/// An address and a wildcard mask, whose ones are the bits that may differ. A mask with gaps becomes several
/// prefixes; `None` when that would be more than [`MOST_PREFIXES`].
pub(super) fn wildcard(address: Ipv4Addr, mask: Ipv4Addr) -> Option<Vec<IpNet>> {
    let (address, mask) = (u32::from(address), u32::from(mask));
    let trailing = mask.trailing_ones();
    let length = u8::try_from(32_u32.saturating_sub(trailing)).ok()?;
    // Bits above the run at the end that may differ too.
    let gaps: Vec<u32> = (trailing..32)
        .filter(|bit| mask & (1_u32 << bit) != 0)
        .collect();
    if gaps.len() > MOST_PREFIXES.ilog2() as usize {
        return None;
    }
    let base = address & !mask;
    (0..1_u32 << gaps.len())
        .map(|choice| {
            let chosen = gaps
                .iter()
                .enumerate()
                .filter(|(index, _)| choice & (1 << index) != 0)
                .fold(base, |all, (_, bit)| all | (1_u32 << bit));
            Ipv4Net::new(chosen.into(), length).ok().map(IpNet::V4)
        })
        .collect()
}

/// An address and a subnet mask, whose ones are the bits that must be the same; `None` when it has gaps.
pub(super) fn subnet(address: Ipv4Addr, mask: Ipv4Addr) -> Option<IpNet> {
    let net = Ipv4Net::with_netmask(address, mask).ok()?;
    Some(IpNet::V4(net.trunc()))
}

/// The addresses from `first` to `last`; `None` when they are in the wrong order or need too many prefixes.
pub(super) fn range(first: Ipv4Addr, last: Ipv4Addr) -> Option<Vec<IpNet>> {
    if first > last {
        return None;
    }
    let nets: Vec<IpNet> = Ipv4Subnets::new(first, last, 0)
        .take(MOST_PREFIXES + 1)
        .map(IpNet::V4)
        .collect();
    (nets.len() <= MOST_PREFIXES).then_some(nets)
}

/// An IPv6 prefix, host bits dropped.
pub(super) fn ipv6_prefix(text: &str) -> Option<IpNet> {
    let net: ipnet::Ipv6Net = text.parse().ok()?;
    Some(IpNet::V6(net.trunc()))
}

/// What is left of `whole` without `hole`.
pub(super) fn without(whole: IpNet, hole: IpNet) -> Vec<IpNet> {
    if hole.contains(&whole) {
        return Vec::new();
    }
    if !whole.contains(&hole) {
        return vec![whole];
    }
    let mut left = Vec::new();
    let mut rest = whole;
    while rest != hole {
        let Some((kept, next)) = halves(rest, hole) else {
            break;
        };
        left.push(kept);
        rest = next;
    }
    left
}

/// The half of `whole` that does not hold `hole`, and the one that does.
fn halves(whole: IpNet, hole: IpNet) -> Option<(IpNet, IpNet)> {
    let length = whole.prefix_len().checked_add(1)?;
    let mut subnets = whole.subnets(length).ok()?;
    let (low, high) = (subnets.next()?, subnets.next()?);
    Some(if low.contains(&hole) {
        (high, low)
    } else {
        (low, high)
    })
}

/// Whether an address is a multicast address that routers forward.
pub(super) fn is_routable_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_multicast() && address.octets()[..3] != [224, 0, 0],
        IpAddr::V6(address) => Ipv6Addr::is_multicast(&address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts
            .iter()
            .map(|text| text.parse().expect("a net"))
            .collect()
    }

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_wildcard_mask_becomes_the_prefixes_with_exactly_its_addresses() {
        for (address, mask, expected) in [
            ("10.1.2.3", "0.0.255.255", &["10.1.0.0/16"][..]),
            ("10.1.2.3", "0.0.0.0", &["10.1.2.3/32"]),
            ("1.2.3.4", "255.255.255.255", &["0.0.0.0/0"]),
            // Only even third octets of two.
            ("10.0.0.0", "0.0.2.255", &["10.0.0.0/24", "10.0.2.0/24"]),
            ("10.0.1.7", "0.255.0.0", &[]),
        ] {
            let found = wildcard(ip(address), ip(mask)).unwrap_or_default();
            assert_eq!(found, nets(expected), "{address} {mask}");
        }
    }

    #[test]
    fn ranges_and_holes_are_exact() {
        let found = range(ip("10.0.0.1"), ip("10.0.0.4")).expect("few prefixes");
        assert_eq!(found, nets(&["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32"]));
        assert_eq!(range(ip("10.0.0.2"), ip("10.0.0.1")), None);
        let whole: IpNet = "10.0.0.0/30".parse().expect("a net");
        let hole: IpNet = "10.0.0.2/32".parse().expect("a net");
        assert_eq!(without(whole, hole), nets(&["10.0.0.0/31", "10.0.0.3/32"]));
        assert_eq!(without(hole, whole), nets(&[]));
    }
}
