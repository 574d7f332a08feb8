//! Addresses of the lab: every node has a network of its own, reached through the core.
//!
//! Key server i: `172.20.i.2/24` and `fd00:20:i::2/64`. Member n: `10.1.n.2/24` and
//! `fd00:1:n::2/64`, from the 251st on in `10.2.0.0/16` and so on. The core is `.1` in each.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Members whose networks fit below one second octet.
const MEMBERS_PER_BLOCK: u16 = 250;

/// Most key servers of one lab.
pub const MAXIMUM_KEY_SERVERS: u16 = 32;

/// Most members of one lab.
pub const MAXIMUM_MEMBERS: u16 = 1000;

/// The two addresses of a node and those of the core on the node's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NodeAddresses {
    /// The node's IPv4 address, in a /24.
    pub ipv4: Ipv4Addr,
    /// The core's IPv4 address on this network.
    pub gateway_ipv4: Ipv4Addr,
    /// The node's IPv6 address, in a /64.
    pub ipv6: Ipv6Addr,
    /// The core's IPv6 address on this network.
    pub gateway_ipv6: Ipv6Addr,
}

impl NodeAddresses {
    /// Addresses of the key server with this index, counted from 0.
    #[must_use]
    pub fn key_server(index: u16) -> Self {
        Self::on_network([172, 20, low_octet(index)], [0xfd00, 0x20, index])
    }

    /// Addresses of the member with this number, counted from 1.
    #[must_use]
    pub fn member(number: u16) -> Self {
        let position = number.saturating_sub(1);
        let block = low_octet(1 + position / MEMBERS_PER_BLOCK);
        let network = low_octet(1 + position % MEMBERS_PER_BLOCK);
        Self::on_network([10, block, network], [0xfd00, 0x1, number])
    }

    fn on_network(v4: [u8; 3], v6: [u16; 3]) -> Self {
        let ipv4 = |host| Ipv4Addr::new(v4[0], v4[1], v4[2], host);
        let ipv6 = |host| Ipv6Addr::new(v6[0], v6[1], v6[2], 0, 0, 0, 0, host);
        Self {
            ipv4: ipv4(2),
            gateway_ipv4: ipv4(1),
            ipv6: ipv6(2),
            gateway_ipv6: ipv6(1),
        }
    }
}

/// The number as an octet; the lab's limits keep every caller below 256.
fn low_octet(value: u16) -> u8 {
    value.to_be_bytes()[1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_first_nodes_have_the_documented_addresses() {
        let key_server = NodeAddresses::key_server(0);
        assert_eq!(key_server.ipv4, Ipv4Addr::new(172, 20, 0, 2));
        let member = NodeAddresses::member(1);
        assert_eq!(member.ipv4, Ipv4Addr::new(10, 1, 1, 2));
        assert_eq!(member.gateway_ipv4, Ipv4Addr::new(10, 1, 1, 1));
        assert_eq!(
            member.ipv6,
            "fd00:1:1::2".parse::<Ipv6Addr>().expect("address")
        );
    }

    #[test]
    fn no_two_nodes_share_an_address() {
        let key_servers = (0..MAXIMUM_KEY_SERVERS).map(NodeAddresses::key_server);
        let members = (1..=MAXIMUM_MEMBERS).map(NodeAddresses::member);
        let all: Vec<_> = key_servers.chain(members).collect();
        let ipv4: BTreeSet<_> = all.iter().map(|node| node.ipv4).collect();
        let ipv6: BTreeSet<_> = all.iter().map(|node| node.ipv6).collect();
        assert_eq!(ipv4.len(), all.len());
        assert_eq!(ipv6.len(), all.len());
    }
}
