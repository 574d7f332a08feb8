//! Socket options that no library offers: multicast routing and packet capture.
//!
//! The only module of this crate with `unsafe`: one call of `setsockopt` on a byte slice, and one
//! of `getsockopt` into a fixed array.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Sets an option whose value is these bytes, in the layout of the kernel's structure.
///
/// # Errors
/// The system's answer.
pub(crate) fn set(socket: &impl AsFd, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len())
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the pointer and length describe a live slice that the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            value.as_ptr().cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Reads an option of at most `N` octets; what the kernel does not fill stays zero.
///
/// # Errors
/// The system's answer.
pub(crate) fn get<const N: usize>(
    socket: &impl AsFd,
    level: i32,
    name: i32,
) -> io::Result<[u8; N]> {
    let mut value = [0_u8; N];
    let mut length =
        libc::socklen_t::try_from(N).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the kernel writes at most `length` octets into the live array `value`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}
