//! Receiving datagrams with what their outer headers said.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;

use super::{CONTROL, Control, check_size};

/// A received datagram, or several of one flow that the kernel joined.
#[derive(Debug, Clone, Copy)]
pub(in crate::datapath) struct Received {
    /// Octets received.
    pub(in crate::datapath) length: usize,
    /// Octets of each datagram but perhaps the last; `length` for a lone one.
    pub(in crate::datapath) segment: usize,
    pub(in crate::datapath) source: SocketAddr,
    /// Where it was sent to.
    pub(in crate::datapath) destination: IpAddr,
    pub(in crate::datapath) traffic_class: u8,
    /// It was longer than the buffer.
    pub(in crate::datapath) truncated: bool,
}

/// Receives without waiting.
///
/// # Errors
/// The kernel's answer; `WouldBlock` when nothing waits.
pub(in crate::datapath) fn receive(socket: RawFd, buffer: &mut [u8]) -> io::Result<Received> {
    // SAFETY: both are plain data for which all zeros is a value.
    let (mut name, mut message): (libc::sockaddr_storage, libc::msghdr) =
        unsafe { (zeroed(), zeroed()) };
    let mut control = Control {
        room: [0; CONTROL],
        used: CONTROL,
    };
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    message.msg_name = (&raw mut name).cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.room.as_mut_ptr().cast();
    message.msg_controllen = control.used;
    // SAFETY: all parts outlive the call and have the lengths given.
    let length =
        check_size(unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_DONTWAIT) })?;
    let source = socket_address(&name)
        .ok_or_else(|| io::Error::other("the kernel named no source address"))?;
    let mut received = Received {
        length,
        segment: length,
        source,
        destination: unspecified_like(source.ip()),
        traffic_class: 0,
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
    };
    // SAFETY: the control buffer was filled by the kernel; CMSG_FIRSTHDR and CMSG_NXTHDR stay inside `msg_controllen`,
    // and each value is read with the type its level and type call for, without assuming alignment.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while let Some(found) = header.as_ref() {
            let data = libc::CMSG_DATA(header);
            match (found.cmsg_level, found.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = std::ptr::read_unaligned(data.cast());
                    received.destination =
                        Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into();
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = std::ptr::read_unaligned(data.cast());
                    received.destination = Ipv6Addr::from(info.ipi6_addr.s6_addr).into();
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => received.traffic_class = *data,
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    let class: libc::c_int = std::ptr::read_unaligned(data.cast());
                    received.traffic_class = class as u8;
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let segment: libc::c_int = std::ptr::read_unaligned(data.cast());
                    received.segment = usize::try_from(segment)
                        .unwrap_or(length)
                        .clamp(1, length.max(1));
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok(received)
}

fn unspecified_like(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn socket_address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let storage: *const libc::sockaddr_storage = name;
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds a sockaddr_in, which is smaller.
            let address: libc::sockaddr_in = unsafe { std::ptr::read(storage.cast()) };
            let ip = Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::new(ip.into(), u16::from_be(address.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage holds a sockaddr_in6, which is smaller.
            let address: libc::sockaddr_in6 = unsafe { std::ptr::read(storage.cast()) };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            Some(SocketAddr::new(ip.into(), u16::from_be(address.sin6_port)))
        }
        _ => None,
    }
}
