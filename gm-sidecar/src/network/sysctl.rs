//! The few kernel switches below `/proc/sys/net` that matter here: only read. In a container the files cannot be
//! written; what must be changed is changed over the routing socket.

use std::fs;

use gm_core::data_plane::Family;

/// A strict check of the reverse path (RFC 3704 §2.2) drops what routing would not send back the same way.
const STRICT: i32 = 1;
/// A loose one wants any way back.
pub(super) const LOOSE: i32 = 2;

/// Whether the host forwards packets of `family` for others.
pub(super) fn forwards(family: Family) -> bool {
    let path = match family {
        Family::V4 => "/proc/sys/net/ipv4/ip_forward",
        Family::V6 => "/proc/sys/net/ipv6/conf/all/forwarding",
    };
    fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
}

/// Whether IPv6 is switched off on `device`, which then takes no IPv6 routes.
pub(super) fn lacks_ipv6(device: &str) -> bool {
    number(&format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6")) == Some(1)
}

/// What the reverse-path check of `device` is set to, if it is strict. The larger of the device's own number and the
/// host's is in force.
pub(super) fn strict_reverse_path_check(device: &str) -> Option<i32> {
    let read = |name: &str| number(&format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"));
    let own = read(device)?;
    let host = read("all").unwrap_or(0);
    (own.max(host) == STRICT).then_some(own)
}

fn number(path: &str) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
