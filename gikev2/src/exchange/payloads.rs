//! The payloads of a message by kind. Order is free on receipt; what may appear once must not appear twice.

use crate::wire::{
    Authentication, Certificate, CertificateRequest, Delete, GroupSecurityAssociation,
    Identification, KeyDownload, KeyExchange, Nonce, Notify, NotifyType, ParseError, Payload,
    SecurityAssociation, VendorId,
};

/// Most certificates of a chain; more are refused before any is looked at.
const MOST_CERTIFICATES: usize = 8;

/// A message's payloads.
#[derive(Default)]
pub(crate) struct Payloads {
    pub(crate) security_association: Option<SecurityAssociation>,
    pub(crate) key_exchange: Option<KeyExchange>,
    pub(crate) nonce: Option<Nonce>,
    pub(crate) initiator: Option<Identification>,
    pub(crate) responder: Option<Identification>,
    pub(crate) group: Option<Identification>,
    pub(crate) authentication: Option<Authentication>,
    pub(crate) policy: Option<GroupSecurityAssociation>,
    pub(crate) key_download: Option<KeyDownload>,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) certificate_requests: Vec<CertificateRequest>,
    pub(crate) notifies: Vec<Notify>,
    pub(crate) deletes: Vec<Delete>,
    pub(crate) vendor_ids: Vec<VendorId>,
    /// Whether TSi or TSr is present: the peer wants a Child SA.
    pub(crate) traffic_selectors: bool,
    /// The type of the first payload was N(COOKIE).
    pub(crate) cookie: Option<Vec<u8>>,
}

impl Payloads {
    /// Sorts `payloads`.
    ///
    /// # Errors
    ///
    /// [`ParseError::Duplicate`] for a second payload of a kind that may appear once, [`ParseError::TooMany`] for
    /// too many certificates.
    pub(crate) fn sort(payloads: Vec<Payload>) -> Result<Self, ParseError> {
        let mut sorted = Self::default();
        for (index, payload) in payloads.into_iter().enumerate() {
            match payload {
                Payload::SecurityAssociation(value) => {
                    once(&mut sorted.security_association, value, "SA payload")?;
                }
                Payload::KeyExchange(value) => once(&mut sorted.key_exchange, value, "KE payload")?,
                Payload::Nonce(value) => once(&mut sorted.nonce, value, "nonce payload")?,
                Payload::IdentificationInitiator(value) => {
                    once(&mut sorted.initiator, value, "IDi payload")?
                }
                Payload::IdentificationResponder(value) => {
                    once(&mut sorted.responder, value, "IDr payload")?
                }
                Payload::GroupIdentification(value) => {
                    once(&mut sorted.group, value, "IDg payload")?
                }
                Payload::Authentication(value) => {
                    once(&mut sorted.authentication, value, "AUTH payload")?
                }
                Payload::GroupSecurityAssociation(value) => {
                    once(&mut sorted.policy, value, "GSA payload")?
                }
                Payload::KeyDownload(value) => once(&mut sorted.key_download, value, "KD payload")?,
                Payload::Certificate(value) => {
                    if sorted.certificates.len() == MOST_CERTIFICATES {
                        let (field, limit) = ("certificates", MOST_CERTIFICATES);
                        return Err(ParseError::TooMany {
                            field,
                            offset: 0,
                            limit,
                        });
                    }
                    sorted.certificates.push(value);
                }
                Payload::CertificateRequest(value) => sorted.certificate_requests.push(value),
                Payload::Notify(value) => {
                    if index == 0 && value.notify_type == NotifyType::COOKIE {
                        sorted.cookie = Some(value.data.clone());
                    }
                    sorted.notifies.push(value);
                }
                Payload::Delete(value) => sorted.deletes.push(value),
                Payload::VendorId(value) => sorted.vendor_ids.push(value),
                Payload::TrafficSelectorsInitiator(_) | Payload::TrafficSelectorsResponder(_) => {
                    sorted.traffic_selectors = true;
                }
            }
        }
        Ok(sorted)
    }

    /// The first notification of a type.
    pub(crate) fn notify(&self, notify_type: NotifyType) -> Option<&Notify> {
        self.notifies
            .iter()
            .find(|notify| notify.notify_type == notify_type)
    }

    /// Whether there is a notification of a type.
    pub(crate) fn has_notify(&self, notify_type: NotifyType) -> bool {
        self.notify(notify_type).is_some()
    }

    /// The first error notification.
    pub(crate) fn error(&self) -> Option<&Notify> {
        self.notifies
            .iter()
            .find(|notify| notify.notify_type.is_error())
    }

    /// Whether the peer announced our private extensions.
    pub(crate) fn is_ours(&self) -> bool {
        self.vendor_ids.iter().any(VendorId::is_ours)
    }
}

fn once<T>(slot: &mut Option<T>, value: T, field: &'static str) -> Result<(), ParseError> {
    if slot.is_some() {
        return Err(ParseError::Duplicate { field, offset: 0 });
    }
    *slot = Some(value);
    Ok(())
}
