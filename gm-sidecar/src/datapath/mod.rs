//! The packet path: TUN device, ESP sockets and the two packet threads.
//!
//! [`start`] opens everything and returns a [`Handle`]; nothing passes until a
//! [`DataPlane`] is installed. Packets get here only by the kernel's routes; whatever gets here
//! leaves encrypted or not at all.

mod aead;
mod config;
mod delivery;
mod handle;
mod patience;
mod receiving;
mod sending;
mod shared;
mod sockets;
mod sys;
mod wire;

pub use aead::Provider;
pub use config::{Config, StartError};
pub use handle::{
    CountersSnapshot, Handle, IkeDatagram, IkeSender, InstallError, SaStatistics, SenderStatistics,
    UnknownSpi,
};
pub use shared::MulticastCopies;

pub use gm_core::DataPlane;

/// Opens the device and the sockets in the calling thread's network namespace and starts the
/// packet threads there.
///
/// # Errors
/// When the device or a socket cannot be had; nothing is left behind then.
pub fn start(config: Config) -> Result<Handle, StartError> {
    Handle::start(config)
}
