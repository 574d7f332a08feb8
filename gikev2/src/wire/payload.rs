//! The payload chain: generic payload headers (RFC 7296 §3.2), dispatch by type, and the
//! critical-bit rule for types we do not know (RFC 7296 §2.5).

use std::ops::Range;

use zeroize::Zeroizing;

use super::auth::Authentication;
use super::cert::{Certificate, CertificateRequest};
use super::delete::Delete;
use super::error::{ParseError, WriteError};
use super::gsa::GroupSecurityAssociation;
use super::id::Identification;
use super::kd::KeyDownload;
use super::ke::KeyExchange;
use super::nonce::Nonce;
use super::notify::Notify;
use super::private::PrivateUse;
use super::reader::Reader;
use super::registry::PayloadType;
use super::sa::SecurityAssociation;
use super::ts::{self, TrafficSelector};
use super::vendor_id::VendorId;
use super::writer::Writer;

/// Octets of the generic payload header.
pub const PAYLOAD_HEADER_LENGTH: usize = 4;

/// Most payloads accepted in one chain.
pub const MOST_PAYLOADS: usize = 128;

/// Critical bit of the second octet of the generic header.
const CRITICAL: u8 = 0x80;

/// A payload we know. Others are skipped, or refuse the message when they are critical.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// SA, or in GSA_AUTH and GSA_REGISTRATION SAg.
    SecurityAssociation(SecurityAssociation),
    /// KE.
    KeyExchange(KeyExchange),
    /// IDi.
    IdentificationInitiator(Identification),
    /// IDr.
    IdentificationResponder(Identification),
    /// CERT.
    Certificate(Certificate),
    /// CERTREQ.
    CertificateRequest(CertificateRequest),
    /// AUTH.
    Authentication(Authentication),
    /// Ni, Nr.
    Nonce(Nonce),
    /// N.
    Notify(Notify),
    /// D.
    Delete(Delete),
    /// V.
    VendorId(VendorId),
    /// TSi.
    TrafficSelectorsInitiator(Vec<TrafficSelector>),
    /// TSr.
    TrafficSelectorsResponder(Vec<TrafficSelector>),
    /// IDg.
    GroupIdentification(Identification),
    /// GSA.
    GroupSecurityAssociation(GroupSecurityAssociation),
    /// KD.
    KeyDownload(KeyDownload),
}

/// A written or decrypted payload chain, with the type of its first payload. It may hold wrapped keys and
/// identities, so its octets are erased when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Chain {
    /// Type of the first payload; [`PayloadType::NONE`] when the chain is empty.
    pub first: PayloadType,
    /// The payloads with their generic headers.
    pub octets: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Chain")
            .field("first", &self.first)
            .field("length", &self.octets.len())
            .finish()
    }
}

impl Chain {
    /// Writes payloads in order.
    ///
    /// # Errors
    /// [`WriteError`] naming the field that does not fit.
    pub fn write(payloads: &[Payload]) -> Result<Self, WriteError> {
        let mut writer = Writer::new();
        write_payloads(&mut writer, payloads)?;
        Ok(Self {
            first: first_type(payloads),
            octets: Zeroizing::new(writer.finish()),
        })
    }

    /// Reads the payloads. Offsets in errors count from the first octet of the chain.
    ///
    /// # Errors
    /// [`ParseError`], among others for a critical payload we do not know.
    pub fn parse(&self) -> Result<Vec<Payload>, ParseError> {
        self.parse_from(PrivateUse::Ours)
    }

    /// As [`Self::parse`], for a peer with these private-use numbers.
    ///
    /// # Errors
    /// [`ParseError`], as [`Self::parse`].
    pub fn parse_from(&self, private: PrivateUse) -> Result<Vec<Payload>, ParseError> {
        let mut payloads = Vec::new();
        walk(self.first, Reader::new(&self.octets), |step| {
            payloads.extend(Payload::parse(step, private)?);
            Ok(())
        })?;
        Ok(payloads)
    }

    /// Where the signature value of the chain's AUTH payload is (RFC 9838 §2.4.1.1 zeroes it while signing
    /// and verifying); `None` when there is no AUTH payload with method 14.
    ///
    /// # Errors
    /// [`ParseError`] when the chain cannot be walked, or has two AUTH payloads.
    pub fn signature_range(&self) -> Result<Option<Range<usize>>, ParseError> {
        let mut found = None;
        let mut seen = false;
        walk(self.first, Reader::new(&self.octets), |step| {
            if step.payload_type != PayloadType::AUTHENTICATION {
                return Ok(());
            }
            if seen {
                return Err(ParseError::Duplicate {
                    field: "AUTH payload",
                    offset: step.body.offset(),
                });
            }
            seen = true;
            let mut body = step.body.clone();
            let end = body.offset().saturating_add(body.remaining());
            if let Authentication::Signature { signature, .. } = Authentication::parse(&mut body)? {
                found = Some(end.saturating_sub(signature.len())..end);
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// One payload of a chain before its content is read.
pub(crate) struct Step<'a> {
    pub(crate) payload_type: PayloadType,
    /// Type of the payload after this one; for SK and SKF the type of the first payload inside.
    pub(crate) next: PayloadType,
    /// The octet with the critical bit, as received.
    pub(crate) flags: u8,
    pub(crate) body: Reader<'a>,
}

/// Calls `visit` for each payload of the chain, to the end. An SK or SKF payload ends the chain.
pub(crate) fn walk<'a>(
    first: PayloadType,
    mut reader: Reader<'a>,
    mut visit: impl FnMut(Step<'a>) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    let mut payload_type = first;
    let mut count = 0;
    while payload_type != PayloadType::NONE {
        if count == MOST_PAYLOADS {
            return Err(ParseError::TooMany {
                field: "payloads",
                offset: reader.offset(),
                limit: MOST_PAYLOADS,
            });
        }
        count += 1;
        let next = PayloadType(reader.u8("next payload")?);
        let flags = reader.u8("payload flags")?;
        let body = reader.length_prefixed("payload", 2)?;
        visit(Step {
            payload_type,
            next,
            flags,
            body,
        })?;
        payload_type = match payload_type {
            PayloadType::ENCRYPTED | PayloadType::ENCRYPTED_FRAGMENT => PayloadType::NONE,
            _ => next,
        };
    }
    reader.finish("payload chain")
}

impl Payload {
    /// The payload's type.
    pub fn payload_type(&self) -> PayloadType {
        match self {
            Self::SecurityAssociation(_) => PayloadType::SECURITY_ASSOCIATION,
            Self::KeyExchange(_) => PayloadType::KEY_EXCHANGE,
            Self::IdentificationInitiator(_) => PayloadType::IDENTIFICATION_INITIATOR,
            Self::IdentificationResponder(_) => PayloadType::IDENTIFICATION_RESPONDER,
            Self::Certificate(_) => PayloadType::CERTIFICATE,
            Self::CertificateRequest(_) => PayloadType::CERTIFICATE_REQUEST,
            Self::Authentication(_) => PayloadType::AUTHENTICATION,
            Self::Nonce(_) => PayloadType::NONCE,
            Self::Notify(_) => PayloadType::NOTIFY,
            Self::Delete(_) => PayloadType::DELETE,
            Self::VendorId(_) => PayloadType::VENDOR_ID,
            Self::TrafficSelectorsInitiator(_) => PayloadType::TRAFFIC_SELECTORS_INITIATOR,
            Self::TrafficSelectorsResponder(_) => PayloadType::TRAFFIC_SELECTORS_RESPONDER,
            Self::GroupIdentification(_) => PayloadType::GROUP_IDENTIFICATION,
            Self::GroupSecurityAssociation(_) => PayloadType::GROUP_SECURITY_ASSOCIATION,
            Self::KeyDownload(_) => PayloadType::KEY_DOWNLOAD,
        }
    }

    /// Reads the content of one payload; `None` for an unknown one that may be skipped.
    pub(crate) fn parse(
        mut step: Step<'_>,
        private: PrivateUse,
    ) -> Result<Option<Self>, ParseError> {
        let body = &mut step.body;
        let payload = match step.payload_type {
            PayloadType::SECURITY_ASSOCIATION => {
                Self::SecurityAssociation(SecurityAssociation::parse(body)?)
            }
            PayloadType::KEY_EXCHANGE => Self::KeyExchange(KeyExchange::parse(body)?),
            PayloadType::IDENTIFICATION_INITIATOR => {
                Self::IdentificationInitiator(Identification::parse(body)?)
            }
            PayloadType::IDENTIFICATION_RESPONDER => {
                Self::IdentificationResponder(Identification::parse(body)?)
            }
            PayloadType::CERTIFICATE => Self::Certificate(Certificate::parse(body)?),
            PayloadType::CERTIFICATE_REQUEST => {
                Self::CertificateRequest(CertificateRequest::parse(body)?)
            }
            PayloadType::AUTHENTICATION => Self::Authentication(Authentication::parse(body)?),
            PayloadType::NONCE => Self::Nonce(Nonce::parse(body)?),
            PayloadType::NOTIFY => Self::Notify(Notify::parse(body)?),
            PayloadType::DELETE => Self::Delete(Delete::parse(body)?),
            PayloadType::VENDOR_ID => Self::VendorId(VendorId::parse(body)),
            PayloadType::TRAFFIC_SELECTORS_INITIATOR => {
                Self::TrafficSelectorsInitiator(ts::parse_payload(body)?)
            }
            PayloadType::TRAFFIC_SELECTORS_RESPONDER => {
                Self::TrafficSelectorsResponder(ts::parse_payload(body)?)
            }
            PayloadType::GROUP_IDENTIFICATION => {
                Self::GroupIdentification(Identification::parse(body)?)
            }
            PayloadType::GROUP_SECURITY_ASSOCIATION => {
                Self::GroupSecurityAssociation(GroupSecurityAssociation::parse(body, private)?)
            }
            PayloadType::KEY_DOWNLOAD => Self::KeyDownload(KeyDownload::parse(body)?),
            PayloadType::ENCRYPTED | PayloadType::ENCRYPTED_FRAGMENT => {
                return Err(ParseError::Value {
                    field: "payload type",
                    offset: step.body.offset(),
                    expected: "not an encrypted payload inside a chain",
                    found: u64::from(step.payload_type.0),
                });
            }
            payload_type if step.flags & CRITICAL != 0 => {
                return Err(ParseError::UnsupportedCriticalPayload { payload_type });
            }
            _ => return Ok(None),
        };
        step.body.finish("payload")?;
        Ok(Some(payload))
    }

    /// Writes the content of the payload.
    fn write(&self, writer: &mut Writer) -> Result<(), WriteError> {
        match self {
            Self::SecurityAssociation(value) => value.write(writer)?,
            Self::KeyExchange(value) => value.write(writer),
            Self::IdentificationInitiator(value)
            | Self::IdentificationResponder(value)
            | Self::GroupIdentification(value) => value.write(writer)?,
            Self::Certificate(value) => value.write(writer),
            Self::CertificateRequest(value) => value.write(writer),
            Self::Authentication(value) => value.write(writer)?,
            Self::Nonce(value) => value.write(writer)?,
            Self::Notify(value) => value.write(writer)?,
            Self::Delete(value) => value.write(writer)?,
            Self::VendorId(value) => value.write(writer),
            Self::TrafficSelectorsInitiator(value) | Self::TrafficSelectorsResponder(value) => {
                ts::write_payload(writer, value)?;
            }
            Self::GroupSecurityAssociation(value) => value.write(writer)?,
            Self::KeyDownload(value) => value.write(writer)?,
        }
        Ok(())
    }
}

/// Type of the first payload, for the header in front of the chain.
pub(crate) fn first_type(payloads: &[Payload]) -> PayloadType {
    payloads
        .first()
        .map_or(PayloadType::NONE, Payload::payload_type)
}

/// Writes payloads with their generic headers; the critical bit is never set (we send no payload that a peer
/// of these RFCs does not know).
pub(crate) fn write_payloads(writer: &mut Writer, payloads: &[Payload]) -> Result<(), WriteError> {
    if payloads.len() > MOST_PAYLOADS {
        return Err(WriteError::TooLong {
            field: "payloads",
            limit: MOST_PAYLOADS,
            found: payloads.len(),
        });
    }
    for (index, payload) in payloads.iter().enumerate() {
        let rest = payloads.get(index + 1..).unwrap_or_default();
        writer.u8(first_type(rest).0);
        writer.u8(0);
        writer.length_prefixed("payload", 2, |writer| payload.write(writer))?;
    }
    Ok(())
}
