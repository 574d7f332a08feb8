//! Numbers and names of our own, in the private-use ranges of their registries. They are used
//! only with a peer that sent [`VENDOR_ID`] in IKE_SA_INIT.

/// Vendor ID payload data sent by both ends in IKE_SA_INIT: the first 16 octets of
/// SHA-256("getvpn private extensions 1").
pub const VENDOR_ID: [u8; 16] = [
    0x66, 0xe0, 0x37, 0x77, 0x73, 0x2c, 0x30, 0xc9, 0x00, 0xcd, 0xde, 0xad, 0x65, 0x72, 0xc2, 0xaa,
];

/// The text [`VENDOR_ID`] is the hash of.
pub const VENDOR_ID_TEXT: &str = "getvpn private extensions 1";

/// Label from which a member's acknowledgement key is derived:
/// `prf+(SK_d, label)`, [`ACKNOWLEDGEMENT_KEY_LENGTH`] octets.
pub const ACKNOWLEDGEMENT_KEY_LABEL: &[u8] = b"getvpn rekey acknowledgement";

/// Octets of an acknowledgement key.
pub const ACKNOWLEDGEMENT_KEY_LENGTH: usize = 32;

/// Octets of the HMAC-SHA-256 in a rekey acknowledgement.
pub const ACKNOWLEDGEMENT_MAC_LENGTH: usize = 32;

/// First attribute type of the private-use range of the GSA, GW policy and key bag registries
/// (RFC 9838 §9.1).
pub const FIRST_PRIVATE_ATTRIBUTE: u16 = 16384;

/// Whose private-use numbers a peer means: ours, when it sent [`VENDOR_ID`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivateUse {
    /// They are those of this module.
    Ours,
    /// They are somebody else's: neither their meaning nor their form is known.
    Foreign,
}

impl PrivateUse {
    /// What a peer means that did or did not send [`VENDOR_ID`].
    pub fn of_peer(sent_vendor_id: bool) -> Self {
        if sent_vendor_id {
            Self::Ours
        } else {
            Self::Foreign
        }
    }

    /// Whether an attribute of this type must be passed over.
    pub(crate) fn hides(self, attribute_type: u16) -> bool {
        self == Self::Foreign && attribute_type >= FIRST_PRIVATE_ATTRIBUTE
    }
}
