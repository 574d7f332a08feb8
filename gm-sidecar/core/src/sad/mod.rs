//! The Security Association Database of the packet path.
//!
//! [`Installed`] is a [`crate::DataPlane`] in the form the packet threads read; [`Outbound`] and
//! [`Inbound`] are what the two threads own. What must survive a swap lives in [`Registry`] and
//! in [`ReplayTable`].

mod counter;
mod inbound;
mod installed;
mod key_material;
mod outbound;
mod path_mtu;
mod replay;
mod train;

pub use counter::{Exhausted, Registry, SaCounters, SenderCounter};
pub use inbound::{Inbound, Outer, Refused};
pub use installed::{InstallError, Installed, InstalledSa};
pub use key_material::{Algorithm, KeyMaterial, KeyMaterialError};
pub use outbound::{Carrier, Outbound, Outcome, Route, Sent};
pub use path_mtu::PathMtu;
pub use replay::{ReplayTable, SenderWindow};
pub use train::MOST_SEGMENTS;

/// Security Parameters Index of an ESP SA (RFC 4303 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(pub u32);

impl std::fmt::Display for Spi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// A Sender-ID granted by the key server (RFC 9838 §2.5), right-aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderId(pub u32);
