//! The TUN device.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use gm_core::ip::coalesce::Accepts;
use gm_core::ip::virtio;

use super::check;

/// Creates a TUN device with a virtio header before each packet and as much offload as the kernel grants.
///
/// # Errors
/// The kernel's answer, for example that the device node is missing or the name is in use.
pub(in crate::datapath) fn open_tun(name: &str) -> io::Result<(OwnedFd, Accepts)> {
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
pub(in crate::datapath) fn set_mtu(socket: RawFd, name: &str, mtu: u16) -> io::Result<()> {
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_mtu = mtu.into();
    // SAFETY: SIOCSIFMTU reads an ifreq, which lives for the call.
    check(unsafe { libc::ioctl(socket, libc::SIOCSIFMTU as _, &request) }).map(drop)
}

/// Sets how many packets wait in an interface of the calling thread's network namespace before the kernel drops more.
///
/// # Errors
/// The kernel's answer.
pub(in crate::datapath) fn set_queue_length(
    socket: RawFd,
    name: &str,
    packets: u16,
) -> io::Result<()> {
    let mut request = interface_request(name)?;
    // The kernel reads `ifr_qlen`, an integer at the place of every other integer of the union.
    request.ifr_ifru.ifru_mtu = packets.into();
    // SAFETY: SIOCSIFTXQLEN reads an ifreq, which lives for the call.
    check(unsafe { libc::ioctl(socket, libc::SIOCSIFTXQLEN as _, &request) }).map(drop)
}

/// Brings an interface of the calling thread's network namespace up: routes through it are refused before.
///
/// # Errors
/// The kernel's answer.
pub(in crate::datapath) fn bring_up(socket: RawFd, name: &str) -> io::Result<()> {
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
