//! Sending datagrams with what their outer headers are to say.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::RawFd;

use gm_core::sad::MOST_SEGMENTS;

use super::{CONTROL, Control, check_size};

/// What the outer header of outgoing packets says besides addresses.
#[derive(Clone, Copy)]
pub(in crate::datapath) struct Marks {
    pub(in crate::datapath) source: IpAddr,
    pub(in crate::datapath) traffic_class: u8,
    pub(in crate::datapath) hop_limit: u8,
    /// Octets of each datagram of a train; `None` for one datagram.
    pub(in crate::datapath) segment: Option<u16>,
    /// Interface for multicast; 0 leaves it to the routes.
    pub(in crate::datapath) interface: u32,
}

/// Sends one datagram, or a train of them.
///
/// # Errors
/// The kernel's answer.
pub(in crate::datapath) fn send(
    socket: RawFd,
    to: SocketAddr,
    marks: &Marks,
    octets: &[u8],
) -> io::Result<()> {
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
pub(in crate::datapath) fn send_each(
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
