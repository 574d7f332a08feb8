//! A small static multicast router for the lab's core.
//!
//! The kernel forwards multicast only when a process owns its routing table. This one answers
//! each "no route" report of the kernel with a route from where the packet came to everywhere
//! else: any source, any group, IPv4 and IPv6. It decides nothing per packet.
//!
//! The byte layouts are those of Linux `mroute.h` and `mroute6.h`.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::error::LabError;
use super::socket_option;

/// Most interfaces that the kernel's multicast routing tables hold (`MAXVIFS`, `MAXMIFS`).
pub const MAXIMUM_INTERFACES: usize = 32;

/// Initialises the routing table, for both families.
const INIT: i32 = 200;
/// Adds an interface, for both families.
const ADD_INTERFACE: i32 = 202;
/// Adds a forwarding entry, for both families.
const ADD_ENTRY: i32 = 204;
/// `VIFF_USE_IFINDEX`: the interface is named by its index.
const USE_INTERFACE_INDEX: u8 = 8;
/// The kernel asks for a route (`IGMPMSG_NOCACHE`, `MRT6MSG_NOCACHE`).
const NO_ROUTE: u8 = 1;

/// Routes multicast between these interfaces of the current namespace until the process ends.
///
/// The file `ready` is created once both families are set up.
///
/// # Errors
/// When the kernel has no multicast routing, or somebody else owns it here.
pub fn run(interfaces: &[String], ready: &Path) -> Result<(), LabError> {
    if interfaces.len() > MAXIMUM_INTERFACES {
        return Err(LabError::Environment(format!(
            "the kernel routes multicast between at most {MAXIMUM_INTERFACES} interfaces, this lab has {}",
            interfaces.len()
        )));
    }
    let indices: Vec<u16> = interfaces
        .iter()
        .map(|name| interface_index(name))
        .collect::<io::Result<_>>()
        .map_err(LabError::system("find the core's interfaces"))?;
    let count = u8::try_from(indices.len()).unwrap_or(u8::MAX);
    let mut ipv4 = Table::open(Family::Ipv4, &indices)
        .map_err(LabError::system("set up IPv4 multicast routing"))?;
    let mut ipv6 = Table::open(Family::Ipv6, &indices)
        .map_err(LabError::system("set up IPv6 multicast routing"))?;
    std::fs::write(ready, b"").map_err(LabError::file("write", ready))?;
    loop {
        let mut descriptors = [
            PollFd::new(ipv4.socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(ipv6.socket.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut descriptors, PollTimeout::NONE)
            .map_err(LabError::system("wait for multicast reports"))?;
        for table in [&mut ipv4, &mut ipv6] {
            table
                .answer_reports(count)
                .map_err(LabError::system("add a multicast route"))?;
        }
    }
}

fn interface_index(name: &str) -> io::Result<u16> {
    let index = nix::net::if_::if_nametoindex(name)?;
    u16::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

#[derive(Debug, Clone, Copy)]
enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    fn level(self) -> i32 {
        match self {
            Self::Ipv4 => libc::IPPROTO_IP,
            Self::Ipv6 => libc::IPPROTO_IPV6,
        }
    }

    fn open(self) -> io::Result<Socket> {
        let (domain, protocol) = match self {
            Self::Ipv4 => (Domain::IPV4, libc::IPPROTO_IGMP),
            Self::Ipv6 => (Domain::IPV6, libc::IPPROTO_ICMPV6),
        };
        Socket::new(domain, Type::RAW, Some(Protocol::from(protocol)))
    }

    /// `struct vifctl` or `struct mif6ctl`.
    fn interface(self, number: u16, index: u16) -> Vec<u8> {
        let mut value = Vec::with_capacity(16);
        value.extend(number.to_ne_bytes());
        match self {
            Self::Ipv4 => {
                value.extend([USE_INTERFACE_INDEX, 1]); // flags, least TTL
                value.extend([0; 4]); // rate limit
                value.extend(i32::from(index).to_ne_bytes());
                value.extend([0; 4]); // no tunnel
            }
            Self::Ipv6 => {
                value.extend([0, 1]); // flags, least hop limit
                value.extend(index.to_ne_bytes());
                value.extend([0; 2]); // padding
                value.extend([0; 4]); // rate limit
            }
        }
        value
    }

    /// `struct mfcctl` or `struct mf6cctl`: from the report's interface to all others.
    fn entry(self, report: &Report, interfaces: u8) -> Vec<u8> {
        let mut value = Vec::with_capacity(92);
        match self {
            Self::Ipv4 => {
                value.extend(&report.source);
                value.extend(&report.group);
                value.extend(report.interface.to_ne_bytes());
                value.extend((0..32_u16).map(|number| {
                    // 255 keeps the packet off this interface, 1 lets any TTL above 1 pass.
                    if number < u16::from(interfaces) && number != report.interface {
                        1
                    } else {
                        255
                    }
                }));
                value.extend([0; 2 + 16]); // padding and the kernel's counters
            }
            Self::Ipv6 => {
                for address in [&report.source, &report.group] {
                    value.extend(
                        u16::try_from(libc::AF_INET6)
                            .unwrap_or_default()
                            .to_ne_bytes(),
                    );
                    value.extend([0; 6]); // port and flow label
                    value.extend(address);
                    value.extend([0; 4]); // scope
                }
                value.extend(report.interface.to_ne_bytes());
                value.extend([0; 2]); // padding
                let mut set: u32 = if interfaces >= 32 {
                    u32::MAX
                } else {
                    (1 << interfaces) - 1
                };
                set &= !(1_u32.checked_shl(u32::from(report.interface)).unwrap_or(0));
                value.extend(set.to_ne_bytes());
                value.extend([0; 28]); // interfaces 32 to 255
            }
        }
        value
    }
}

/// What the kernel says about a packet it has no route for.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    interface: u16,
    source: Vec<u8>,
    group: Vec<u8>,
}

impl Report {
    /// Reads `struct igmpmsg` or `struct mrt6msg`; anything else on the socket is `None`.
    fn parse(family: Family, message: &[u8]) -> Option<Self> {
        match family {
            Family::Ipv4 => {
                let kind = *message.get(8)?;
                // A real IGMP packet has its IP protocol number here.
                let must_be_zero = *message.get(9)?;
                let interface = u16::from_le_bytes([*message.get(10)?, *message.get(11)?]);
                (kind == NO_ROUTE && must_be_zero == 0).then_some(Self {
                    interface,
                    source: message.get(12..16)?.to_vec(),
                    group: message.get(16..20)?.to_vec(),
                })
            }
            Family::Ipv6 => {
                let must_be_zero = *message.first()?;
                let kind = *message.get(1)?;
                let interface = u16::from_ne_bytes([*message.get(2)?, *message.get(3)?]);
                (kind == NO_ROUTE && must_be_zero == 0).then_some(Self {
                    interface,
                    source: message.get(8..24)?.to_vec(),
                    group: message.get(24..40)?.to_vec(),
                })
            }
        }
    }
}

struct Table {
    family: Family,
    socket: Socket,
}

impl Table {
    fn open(family: Family, indices: &[u16]) -> io::Result<Self> {
        let socket = family.open()?;
        socket_option::set(&socket, family.level(), INIT, &1_i32.to_ne_bytes())?;
        for (number, index) in (0_u16..).zip(indices) {
            let value = family.interface(number, *index);
            socket_option::set(&socket, family.level(), ADD_INTERFACE, &value)?;
        }
        socket.set_nonblocking(true)?;
        Ok(Self { family, socket })
    }

    fn answer_reports(&mut self, interfaces: u8) -> io::Result<()> {
        let mut message = [0_u8; 2048];
        loop {
            let length = match (&self.socket).read(&mut message) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let received = message.get(..length).unwrap_or_default();
            let Some(report) = Report::parse(self.family, received) else {
                continue;
            };
            let entry = self.family.entry(&report, interfaces);
            socket_option::set(&self.socket, self.family.level(), ADD_ENTRY, &entry)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(interface: u16, octets: usize) -> Report {
        Report {
            interface,
            source: vec![1; octets],
            group: vec![2; octets],
        }
    }

    #[test]
    fn structures_have_the_size_the_kernel_asks_for() {
        assert_eq!(Family::Ipv4.interface(0, 1).len(), 16);
        assert_eq!(Family::Ipv6.interface(0, 1).len(), 12);
        assert_eq!(Family::Ipv4.entry(&report(0, 4), 3).len(), 60);
        assert_eq!(Family::Ipv6.entry(&report(0, 16), 3).len(), 92);
    }

    #[test]
    fn a_packet_is_never_sent_back_to_where_it_came_from() {
        let ipv4 = Family::Ipv4.entry(&report(1, 4), 3);
        assert_eq!(ipv4[10..14], [1, 255, 1, 255]);
        let ipv6 = Family::Ipv6.entry(&report(1, 16), 3);
        assert_eq!(ipv6[60..64], 0b101_u32.to_ne_bytes());
        let full = Family::Ipv6.entry(&report(31, 16), 32);
        assert_eq!(full[60..64], (u32::MAX >> 1).to_ne_bytes());
    }

    #[test]
    fn an_ordinary_igmp_packet_is_not_taken_for_a_report() {
        let mut packet = [0_u8; 24];
        packet[8] = 1;
        packet[9] = 2;
        assert_eq!(Report::parse(Family::Ipv4, &packet), None);
        assert_eq!(Report::parse(Family::Ipv4, &packet[..12]), None);
    }
}
