//! System calls that no safe wrapper offers: the TUN's offloads, and messages with control data whose room is
//! fixed, so that nothing is allocated per packet.
//!
//! The only module of this crate with unsafe code.
#![allow(unsafe_code)]

mod receive;
mod send;
mod tun;

use std::io;
use std::mem::size_of;
use std::os::fd::RawFd;

pub(super) use receive::{Received, receive};
pub(super) use send::{Marks, send, send_each};
pub(super) use tun::{bring_up, open_tun, set_mtu, set_queue_length};

/// Octets of control data: two addresses' worth of packet information and three integers, with room to spare.
const CONTROL: usize = 256;

/// Control data; the kernel wants it aligned like a `cmsghdr`.
#[repr(C, align(8))]
struct Control {
    room: [u8; CONTROL],
    used: usize,
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
