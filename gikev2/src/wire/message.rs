//! Whole messages: the header, the payloads in clear, and the encrypted payload at the end.

use super::encrypted::{EncryptedPayload, check_body};
use super::error::{ParseError, WriteError};
use super::fragment::{EncryptedFragment, parse_numbers};
use super::header::{HEADER_LENGTH, Header};
use super::payload::{Payload, first_type, walk, write_payloads};
use super::private::PrivateUse;
use super::reader::Reader;
use super::registry::PayloadType;
use super::writer::Writer;

/// A received message; what is encrypted is not opened yet.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// The header.
    pub header: Header,
    /// Payloads in clear, in order.
    pub clear: Vec<Payload>,
    /// The encrypted payload, always the last.
    pub protected: Option<Protected<'a>>,
}

/// The encrypted end of a message.
#[derive(Debug, Clone, Copy)]
pub enum Protected<'a> {
    /// SK: the whole inner chain.
    Whole(EncryptedPayload<'a>),
    /// SKF: a part of the inner chain.
    Fragment(EncryptedFragment<'a>),
}

impl<'a> Message<'a> {
    /// Reads a datagram (without non-ESP marker).
    ///
    /// # Errors
    /// [`ParseError`] naming the field at fault.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, ParseError> {
        let header = Header::parse(datagram)?;
        let mut reader = Reader::new(datagram);
        reader.take("IKE header", HEADER_LENGTH)?;
        let mut clear = Vec::new();
        let mut protected = None;
        walk(header.next_payload, reader, |mut step| {
            let fragment = match step.payload_type {
                PayloadType::ENCRYPTED => false,
                PayloadType::ENCRYPTED_FRAGMENT => true,
                _ => {
                    // No payload in clear has attributes of ours.
                    clear.extend(Payload::parse(step, PrivateUse::Ours)?);
                    return Ok(());
                }
            };
            let position = if fragment {
                Some(parse_numbers(&mut step.body)?)
            } else {
                None
            };
            let offset = step.body.offset();
            let body = step.body.take_rest();
            check_body(body, offset)?;
            let associated_data = datagram.get(..offset).unwrap_or(datagram);
            protected = Some(match position {
                Some(position) => Protected::Fragment(EncryptedFragment {
                    first_inner: step.next,
                    flags: step.flags,
                    position,
                    associated_data,
                    body,
                }),
                None => Protected::Whole(EncryptedPayload {
                    first_inner: step.next,
                    flags: step.flags,
                    associated_data,
                    body,
                }),
            });
            Ok(())
        })?;
        Ok(Self {
            header,
            clear,
            protected,
        })
    }
}

/// A message whose payloads are all in clear: IKE_SA_INIT, and notifications about unknown SAs. The header's Next
/// Payload is set here.
///
/// # Errors
/// [`WriteError`] naming the field that does not fit.
pub fn write_clear(header: &Header, payloads: &[Payload]) -> Result<Vec<u8>, WriteError> {
    let mut writer = Writer::new();
    write_payloads(&mut writer, payloads)?;
    let chain = writer.finish();
    let header = Header {
        next_payload: first_type(payloads),
        ..*header
    };
    let mut message = header
        .to_bytes(chain.len().saturating_add(HEADER_LENGTH))?
        .to_vec();
    message.extend_from_slice(&chain);
    Ok(message)
}
