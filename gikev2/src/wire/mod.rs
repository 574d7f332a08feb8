//! Bytes to values and back: the IKEv2 header and payloads (RFC 7296 §3) and those of G-IKEv2
//! (RFC 9838 §4).
//!
//! Parsing is strict about structure and bounded in size; it never decides what a value means
//! for the protocol. Writing refuses a value that does not fit its length field instead of
//! truncating it.

pub mod access_list;
pub mod attribute;
pub mod auth;
pub mod cert;
pub mod delete;
pub mod encrypted;
pub mod error;
pub mod fragment;
pub mod gsa;
pub mod header;
pub mod id;
pub mod idg;
pub mod kd;
pub mod ke;
pub mod message;
pub mod nonce;
pub mod notify;
pub mod payload;
pub mod private;
pub mod reader;
pub mod registry;
pub mod sa;
pub mod sag;
pub mod spi;
pub mod ts;
pub mod vendor_id;
pub mod writer;

pub use access_list::{AccessAction, AccessEntry, AccessList};
pub use attribute::Attribute;
pub use auth::Authentication;
pub use cert::{Certificate, CertificateRequest};
pub use delete::Delete;
pub use error::{ParseError, WriteError};
pub use gsa::{
    DataSaPolicy, Direction, Encapsulation, GroupSecurityAssociation, GroupWidePolicy,
    RekeySaPolicy, SaPolicy,
};
pub use header::{Flags, Header};
pub use id::Identification;
pub use kd::{DataKeyBag, KeyBag, KeyDownload, MemberKeyBag, RekeyKeyBag, WrappedKey};
pub use ke::KeyExchange;
pub use message::{Message, Protected};
pub use nonce::Nonce;
pub use notify::Notify;
pub use payload::{Chain, Payload};
pub use registry::*;
pub use sa::{Proposal, SecurityAssociation, Transform};
pub use spi::{IkeSpi, RekeySpi, Spi};
pub use ts::{AddressRange, PortRange, TrafficSelector};
pub use vendor_id::VendorId;
