//! Gives up every capability that is not needed any more.
//!
//! A member must go on changing routes and drop rules, so CAP_NET_ADMIN stays; CAP_NET_RAW stays for
//! raw ESP and for IKE behind address translation. Everything else goes, for this process and for
//! the programs it runs, whatever user it runs as.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// What stays.
const KEPT: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW);

/// Why capabilities could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The kernel refused.
    #[error("privileges: the kernel refused to {action}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// Its answer.
        source: Errno,
    },
}

/// Whether the process may change routes and drop rules at all.
pub fn can_administer_network() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::NET_ADMIN))
}

/// Keeps `KEPT` and gives up the rest. Call from the only thread of the process: later threads
/// inherit the result, earlier ones would not.
///
/// # Errors
/// [`PrivilegeError`]. Nothing is gained in that case, and the member may go on.
pub fn reduce() -> Result<(), PrivilegeError> {
    let refused = |action| move |source| PrivilegeError::Refused { action, source };
    let before = capabilities(None).map_err(refused("show capabilities"))?;
    let kept = before.permitted.intersection(KEPT);
    for capability in CapabilitySet::all().difference(kept).iter() {
        match remove_capability_from_bounding_set(capability) {
            // Not allowed without CAP_SETPCAP; unknown to older kernels. The bounding set only
            // matters for programs that grant capabilities, which no-new-privileges forbids anyway.
            Ok(()) | Err(Errno::PERM | Errno::INVAL) => {}
            Err(source) => return Err(refused("limit capabilities of programs")(source)),
        }
    }
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: kept,
    };
    set_capabilities(None, sets).map_err(refused("give up capabilities"))?;
    for capability in kept.iter() {
        // Lets `nft` work when we are not root.
        configure_capability_in_ambient_set(capability, true)
            .map_err(refused("pass capabilities on"))?;
    }
    Ok(())
}
