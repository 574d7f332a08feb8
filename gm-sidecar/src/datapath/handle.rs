//! The owner's grip on a running packet path.

use std::net::{IpAddr, SocketAddr};

use gm_core::sad::{SenderId, Spi};
use gm_core::{DataPlane, DropReason};
use tokio::sync::mpsc;

use super::{Config, StartError};

/// A running packet path; dropping it stops the threads and removes the device.
pub struct Handle {}

/// Why a data plane was refused; the one installed before stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    /// An SA names a group that is not there.
    #[error("SA {spi} names group index {group}, which does not exist")]
    UnknownGroup {
        /// The SA.
        spi: Spi,
        /// The index.
        group: usize,
    },
}

/// ESP arrived with an SPI that no installed SA has: perhaps a rekey was missed. Unauthenticated,
/// so at most one a second is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownSpi {
    /// The SPI.
    pub spi: Spi,
    /// Outer source.
    pub source: IpAddr,
    /// Outer destination.
    pub destination: IpAddr,
}

/// An IKE message that arrived on the ESP port (RFC 3948 §2.2), without its non-ESP marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IkeDatagram {
    /// Where it came from.
    pub source: SocketAddr,
    /// Where it was sent to.
    pub destination: SocketAddr,
    /// The IKE message.
    pub message: Vec<u8>,
}

/// Totals since start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountersSnapshot {
    /// Packets sealed and given to the kernel.
    pub sent_packets: u64,
    /// Octets of the inner packets among them.
    pub sent_octets: u64,
    /// Packets opened and given to the TUN.
    pub received_packets: u64,
    /// Octets of the inner packets among them.
    pub received_octets: u64,
    /// Every reason with its count, in declaration order.
    pub drops: Vec<(DropReason, u64)>,
}

/// Totals of one SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaStatistics {
    /// The SA.
    pub spi: Spi,
    /// Packets sealed with it.
    pub sent_packets: u64,
    /// Inner octets sealed with it.
    pub sent_octets: u64,
    /// Packets opened with it.
    pub received_packets: u64,
    /// Inner octets opened with it.
    pub received_octets: u64,
    /// IVs left to our Sender-ID; `None` when we do not seal with it.
    pub counter_left: Option<u64>,
}

/// What a receiver knows of one sender on one SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderStatistics {
    /// The SA.
    pub spi: Spi,
    /// The sender.
    pub sender_id: SenderId,
    /// Highest counter seen.
    pub highest_counter: u64,
    /// Packets accepted.
    pub accepted_packets: u64,
    /// Packets refused as repeated or too far back.
    pub replayed_packets: u64,
}

impl Handle {
    pub(super) fn start(_config: Config) -> Result<Self, StartError> {
        Ok(Self {})
    }

    /// Puts `data_plane` in force, whole. The TUN's MTU follows what its SAs need.
    ///
    /// # Errors
    /// When it contradicts itself; the one installed before stays in force.
    pub fn install(&self, data_plane: DataPlane) -> Result<(), InstallError> {
        drop(data_plane);
        Ok(())
    }

    /// Totals since start.
    pub fn counters(&self) -> CountersSnapshot {
        CountersSnapshot::default()
    }

    /// Totals of every SA installed now.
    pub fn sa_statistics(&self) -> Vec<SaStatistics> {
        Vec::new()
    }

    /// What the receive side knows of each sender; asks the receiving thread, so not for hot paths.
    pub fn sender_statistics(&self) -> Vec<SenderStatistics> {
        Vec::new()
    }

    /// Reports of unknown SPIs, at most one a second; `None` when already taken.
    pub fn unknown_spi_events(&self) -> Option<mpsc::Receiver<UnknownSpi>> {
        None
    }

    /// IKE messages that arrive on the ESP port; `None` when already taken. Until taken they are
    /// dropped and counted.
    pub fn ike_datagrams(&self) -> Option<mpsc::Receiver<IkeDatagram>> {
        None
    }

    /// The device's name.
    pub fn tun_name(&self) -> &str {
        ""
    }

    /// The device's interface index.
    pub fn tun_index(&self) -> u32 {
        0
    }

    /// The device's MTU.
    pub fn tun_mtu(&self) -> u16 {
        0
    }

    /// Stops both threads and removes the device; returns when they are gone.
    pub fn shutdown(self) {}
}
