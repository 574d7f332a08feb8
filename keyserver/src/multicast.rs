//! Sending rekeys to a multicast group.

use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use socket2::SockRef;
use tokio::net::UdpSocket;

/// Makes multicast from `socket` leave by the interface that has `local`, with `hop_limit`.
///
/// # Errors
/// When the kernel refuses an option, or no interface has the address (IPv6).
pub(crate) fn prepare(socket: &UdpSocket, local: IpAddr, hop_limit: u8) -> io::Result<()> {
    let socket = SockRef::from(socket);
    match local {
        IpAddr::V4(local) => {
            socket.set_multicast_if_v4(&local)?;
            socket.set_multicast_ttl_v4(u32::from(hop_limit))
        }
        IpAddr::V6(_) => {
            socket.set_multicast_if_v6(interface_index(local)?)?;
            socket.set_multicast_hops_v6(u32::from(hop_limit))
        }
    }
}

fn interface_index(local: IpAddr) -> io::Result<u32> {
    let name = getifaddrs()?
        .find(|interface| {
            interface
                .address
                .as_ref()
                .and_then(|address| address.as_sockaddr_in6())
                .is_some_and(|address| IpAddr::V6(address.ip()) == local)
        })
        .map(|interface| interface.interface_name)
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("no interface has {local}"),
            )
        })?;
    Ok(nix::net::if_::if_nametoindex(name.as_str())?)
}
