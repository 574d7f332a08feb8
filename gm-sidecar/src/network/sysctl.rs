//! The few kernel switches below `/proc/sys/net` that matter here.

use std::fs;
use std::path::PathBuf;

use gm_core::data_plane::Family;

/// A switch that was turned, with what it was before.
#[derive(Debug)]
pub(super) struct Change {
    path: PathBuf,
    before: String,
}

impl Change {
    /// Puts the old value back; a device that has gone took its switches with it.
    pub(super) fn undo(&self) {
        if let Err(error) = fs::write(&self.path, &self.before) {
            tracing::debug!(path = %self.path.display(), %error, "switch not restored");
        }
    }
}

/// Whether the host forwards packets of `family` for others.
pub(super) fn forwards(family: Family) -> bool {
    let path = match family {
        Family::V4 => "/proc/sys/net/ipv4/ip_forward",
        Family::V6 => "/proc/sys/net/ipv6/conf/all/forwarding",
    };
    fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
}

/// Turns a strict reverse-path check (RFC 3704 §2.2) of `device` into a loose one. Nothing changes
/// when it is not strict. The stricter of the device's own and the host's setting counts.
pub(super) fn relax_reverse_path_check(device: &str) -> Option<Change> {
    let read = |name: &str| {
        let path = PathBuf::from(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"));
        fs::read_to_string(&path).ok().map(|text| (path, text))
    };
    let (path, before) = read(device)?;
    let (_, host) = read("all")?;
    let strict = before.trim() != "2" && (before.trim() == "1" || host.trim() == "1");
    if !strict {
        return None;
    }
    match fs::write(&path, "2") {
        Ok(()) => Some(Change { path, before }),
        Err(error) => {
            tracing::warn!(
                device,
                %error,
                "the strict reverse-path check cannot be relaxed: encrypted packets will be \
                 dropped; set net.ipv4.conf.{device}.rp_filter=2"
            );
            None
        }
    }
}
