//! System calls that no safe wrapper offers: the TUN's offloads, and messages with control data whose room is
//! fixed, so that nothing is allocated per packet.
//!
//! The only module of this crate with unsafe code.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use gm_core::ip::coalesce::Accepts;
use gm_core::ip::virtio;
use gm_core::sad::MOST_SEGMENTS;

/// Octets of control data: two addresses' worth of packet information and three integers, with room to spare.
const CONTROL: usize = 256;

/// Control data; the kernel wants it aligned like a `cmsghdr`.
#[repr(C, align(8))]
struct Control {
    room: [u8; CONTROL],
    used: usize,
}

/// Creates a TUN device with a virtio header before each packet and as much offload as the kernel grants.
///
/// # Errors
/// The kernel's answer, for example that the device node is missing or the name is in use.
pub(super) fn open_tun(name: &str) -> io::Result<(OwnedFd, Accepts)> {
    let mut request = interface_request(name)?;
    // SAFETY: the path is a constant C string; the descriptor is checked before it is owned.
    let fd = unsafe {
        let fd = libc::open(
            c"/dev/net/tun".as_ptr(),
            libc::O_RDWR | libc::O_CLOEXEC | libc::O_NONBLOCK,
        );
        OwnedFd::from_raw_fd(check(fd)?)
    };
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as i16;
    let header_length = virtio::LENGTH as libc::c_int;
    // SAFETY: each request is given a pointer to a value of the type it reads, which lives for the call.
    unsafe {
        check(libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF as _, &request))?;
        check(libc::ioctl(
            fd.as_raw_fd(),
            libc::TUNSETVNETHDRSZ as _,
            &header_length,
        ))?;
    }
    let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
    let accepted = |offload: libc::c_uint| {
        // SAFETY: TUNSETOFFLOAD takes its argument by value.
        unsafe {
            libc::ioctl(
                fd.as_raw_fd(),
                libc::TUNSETOFFLOAD as _,
                libc::c_ulong::from(offload),
            ) == 0
        }
    };
    // Kernels before 6.2 do not know UDP segmentation; both versions of it go together.
    let accepts = if accepted(tcp | libc::TUN_F_USO4 | libc::TUN_F_USO6) {
        Accepts {
            tcp: true,
            udp: true,
        }
    } else {
        Accepts {
            tcp: accepted(tcp),
            udp: false,
        }
    };
    Ok((fd, accepts))
}

/// Sets the MTU of an interface of the calling thread's network namespace.
///
/// # Errors
/// The kernel's answer.
pub(super) fn set_mtu(socket: RawFd, name: &str, mtu: u16) -> io::Result<()> {
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_mtu = mtu.into();
    // SAFETY: SIOCSIFMTU reads an ifreq, which lives for the call.
    check(unsafe { libc::ioctl(socket, libc::SIOCSIFMTU as _, &request) }).map(drop)
}

/// Brings an interface of the calling thread's network namespace up: routes through it are refused before.
///
/// # Errors
/// The kernel's answer.
pub(super) fn bring_up(socket: RawFd, name: &str) -> io::Result<()> {
    let mut request = interface_request(name)?;
    // SAFETY: SIOCGIFFLAGS fills the ifreq, SIOCSIFFLAGS reads it; it lives for both calls. The flags member of the
    // union is the one both use.
    unsafe {
        check(libc::ioctl(socket, libc::SIOCGIFFLAGS as _, &mut request))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as i16;
        check(libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &request)).map(drop)
    }
}

fn interface_request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: an ifreq is plain data for which all zeros is a value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an interface name has 1 to 15 octets",
        ));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

/// Sets an integer option.
///
/// # Errors
/// The kernel's answer.
pub(super) fn set_option(
    socket: RawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the pointer is to an integer that lives for the call, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket,
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    check(result).map(drop)
}

/// The path MTU a connected socket has learned.
///
/// # Errors
/// The kernel's answer.
pub(super) fn path_mtu(socket: RawFd, v6: bool) -> io::Result<u16> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    let (level, option) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU)
    } else {
        (libc::IPPROTO_IP, libc::IP_MTU)
    };
    // SAFETY: both pointers are to values that live for the call; the length is the value's.
    check(unsafe {
        libc::getsockopt(
            socket,
            level,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    })?;
    Ok(u16::try_from(value).unwrap_or(u16::MAX))
}

/// What the outer header of outgoing packets says besides addresses.
#[derive(Clone, Copy)]
pub(super) struct Marks {
    pub(super) source: IpAddr,
    pub(super) traffic_class: u8,
    pub(super) hop_limit: u8,
    /// Octets of each datagram of a train; `None` for one datagram.
    pub(super) segment: Option<u16>,
    /// Interface for multicast; 0 leaves it to the routes.
    pub(super) interface: u32,
}

/// Sends one datagram, or a train of them.
///
/// # Errors
/// The kernel's answer.
pub(super) fn send(socket: RawFd, to: SocketAddr, marks: &Marks, octets: &[u8]) -> io::Result<()> {
    let address = socket2::SockAddr::from(to);
    let mut control = Control::of(marks);
    let mut part = part(octets);
    let message = outgoing(&address, &mut control, &mut part);
    // SAFETY: name, iovec and control data outlive the call and have the lengths given; the kernel only reads them.
    check_size(unsafe { libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL) }).map(drop)
}

/// Sends the packets of a train, each of `segment` octets but perhaps the last, as datagrams of
/// their own with as few system calls as possible.
///
/// # Errors
/// The kernel's answer to the first one it refuses; those before are sent.
pub(super) fn send_each(
    socket: RawFd,
    to: SocketAddr,
    marks: &Marks,
    train: &[u8],
    segment: usize,
) -> io::Result<()> {
    let address = socket2::SockAddr::from(to);
    let mut control = Control::of(&Marks {
        segment: None,
        ..*marks
    });
    for some in train.chunks(segment.max(1) * MOST_SEGMENTS) {
        let mut parts = [part(&[]); MOST_SEGMENTS];
        let count = some.len().div_ceil(segment.max(1));
        // SAFETY: an mmsghdr is plain data for which all zeros is a value.
        let mut messages: [libc::mmsghdr; MOST_SEGMENTS] = unsafe { zeroed() };
        for ((message, part_of), packet) in messages
            .iter_mut()
            .zip(&mut parts)
            .zip(some.chunks(segment.max(1)))
        {
            *part_of = part(packet);
            message.msg_hdr = outgoing(&address, &mut control, part_of);
        }
        let mut rest = messages.get_mut(..count).unwrap_or_default();
        while !rest.is_empty() {
            // SAFETY: each message points to the one name, the one control data and its own iovec, which all outlive
            // the call; the kernel reads those and writes only `msg_len`, and the count is that of the slice.
            let sent = unsafe {
                libc::sendmmsg(
                    socket,
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    libc::MSG_NOSIGNAL,
                )
            };
            let sent = usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
            rest = rest.get_mut(sent.max(1)..).unwrap_or_default();
        }
    }
    Ok(())
}

fn part(octets: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: octets.as_ptr().cast_mut().cast(),
        iov_len: octets.len(),
    }
}

/// A message that points to its arguments: they must outlive its use.
fn outgoing(
    address: &socket2::SockAddr,
    control: &mut Control,
    part: &mut libc::iovec,
) -> libc::msghdr {
    // SAFETY: a msghdr is plain data for which all zeros is a value.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = address.as_ptr().cast_mut().cast();
    message.msg_namelen = address.len();
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = control.room.as_mut_ptr().cast();
    message.msg_controllen = control.used;
    message
}

impl Control {
    /// What an outgoing message says about its outer header.
    fn of(marks: &Marks) -> Self {
        let mut control = Self {
            room: [0; CONTROL],
            used: 0,
        };
        let class = libc::c_int::from(marks.traffic_class);
        let hops = libc::c_int::from(marks.hop_limit.max(1));
        match marks.source {
            IpAddr::V4(source) => {
                let source = libc::in_addr {
                    s_addr: u32::from_ne_bytes(source.octets()),
                };
                control.push(
                    libc::IPPROTO_IP,
                    libc::IP_PKTINFO,
                    &libc::in_pktinfo {
                        ipi_ifindex: marks.interface.cast_signed(),
                        ipi_spec_dst: source,
                        ipi_addr: libc::in_addr { s_addr: 0 },
                    },
                );
                control.push(libc::IPPROTO_IP, libc::IP_TOS, &class);
                control.push(libc::IPPROTO_IP, libc::IP_TTL, &hops);
            }
            IpAddr::V6(source) => {
                let source = libc::in6_addr {
                    s6_addr: source.octets(),
                };
                control.push(
                    libc::IPPROTO_IPV6,
                    libc::IPV6_PKTINFO,
                    &libc::in6_pktinfo {
                        ipi6_addr: source,
                        ipi6_ifindex: marks.interface,
                    },
                );
                control.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &class);
                control.push(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT, &hops);
            }
        }
        if let Some(segment) = marks.segment {
            control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment);
        }
        control
    }

    /// Appends one message. Its types are plain C structures and integers.
    fn push<T: Copy>(&mut self, level: libc::c_int, kind: libc::c_int, value: &T) {
        let size = size_of::<T>() as libc::c_uint;
        // SAFETY: CMSG_SPACE and CMSG_LEN compute; they touch no memory.
        let (space, length) = unsafe {
            (
                libc::CMSG_SPACE(size) as usize,
                libc::CMSG_LEN(size) as usize,
            )
        };
        assert!(
            self.used + space <= CONTROL,
            "the room was counted for all control messages"
        );
        // SAFETY: `used` stays inside the room (asserted above) and is a multiple of the alignment the room has,
        // because CMSG_SPACE rounds up; the value is written behind the header, inside the space just checked.
        unsafe {
            let header: *mut libc::cmsghdr = self.room.as_mut_ptr().byte_add(self.used).cast();
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = length as _;
            std::ptr::write_unaligned(libc::CMSG_DATA(header).cast(), *value);
        }
        self.used += space;
    }
}

/// A received datagram, or several of one flow that the kernel joined.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    /// Octets received.
    pub(super) length: usize,
    /// Octets of each datagram but perhaps the last; `length` for a lone one.
    pub(super) segment: usize,
    pub(super) source: SocketAddr,
    /// Where it was sent to.
    pub(super) destination: IpAddr,
    pub(super) traffic_class: u8,
    /// It was longer than the buffer.
    pub(super) truncated: bool,
}

/// Receives without waiting.
///
/// # Errors
/// The kernel's answer; `WouldBlock` when nothing waits.
pub(super) fn receive(socket: RawFd, buffer: &mut [u8]) -> io::Result<Received> {
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

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn check_size(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
