//! Security Parameter Indexes of the three kinds of security association.

use std::fmt;

use super::header::Header;

/// SPI of one end of an IKE SA (RFC 7296 §3.1). All zero means "not known yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IkeSpi(pub [u8; 8]);

impl IkeSpi {
    /// The responder's SPI in the first IKE_SA_INIT request.
    pub const ZERO: Self = Self([0; 8]);

    /// Whether all octets are zero.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Display for IkeSpi {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// SPI of a Rekey SA (GIKE_UPDATE), RFC 9838 §4.4.2: octets 0 to 7 stand in the header's initiator
/// SPI, octets 8 to 15 in its responder SPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RekeySpi(pub [u8; 16]);

impl RekeySpi {
    /// In a Delete payload: the receiver is excluded from the group (RFC 9838 §2.4.3).
    pub const ZERO: Self = Self([0; 16]);

    /// The SPI that a GSA_REKEY header carries.
    pub fn from_header(header: &Header) -> Self {
        Self::from_halves(header.initiator_spi, header.responder_spi)
    }

    /// Joins the two header fields.
    pub fn from_halves(initiator: IkeSpi, responder: IkeSpi) -> Self {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&initiator.0);
        octets[8..].copy_from_slice(&responder.0);
        Self(octets)
    }

    /// The value of the header's initiator SPI field.
    pub fn initiator_half(self) -> IkeSpi {
        let mut octets = [0; 8];
        octets.copy_from_slice(&self.0[..8]);
        IkeSpi(octets)
    }

    /// The value of the header's responder SPI field.
    pub fn responder_half(self) -> IkeSpi {
        let mut octets = [0; 8];
        octets.copy_from_slice(&self.0[8..]);
        IkeSpi(octets)
    }
}

impl fmt::Display for RekeySpi {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// SPI of a Data-Security SA, ESP or AH (RFC 4303 §2.1). Values below 256 are reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spi(pub u32);

impl Spi {
    /// In a Delete payload: all data SAs (RFC 9838 §2.4.3).
    pub const ZERO: Self = Self(0);

    /// Lowest value an SA may have (RFC 4303 §2.1).
    pub const LOWEST: Self = Self(256);
}

impl fmt::Display for Spi {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0)
    }
}
