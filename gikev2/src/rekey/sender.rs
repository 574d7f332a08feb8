//! Builds the final datagrams of a GSA_REKEY message (RFC 9838 §2.4.1).
//!
//! The same input gives the same octets with Ed25519; RSA-PSS draws a salt. A key server therefore builds once,
//! commits the octets and sends exactly those, however often and from wherever: one Message ID of a Rekey SA never
//! has two contents, and its IV (Message ID ‖ fragment number) is never used for two plaintexts.

use crate::Secret;
use crate::crypto::aead::IV_LENGTH;
use crate::crypto::signature::Signer;
use crate::exchange::protect;
use crate::keys::group::RekeySaKeys;
use crate::keys::wrap::{self, WrapError};
use crate::wire::encrypted::authenticated_octets;
use crate::wire::payload::Chain;
use crate::wire::{
    Authentication, DataKeyBag, Delete, ExchangeType, Flags, GroupSecurityAssociation, Header,
    KeyBag, KeyDownload, MemberKeyBag, Notify, Payload, PayloadType, ProtocolId, RekeyKeyBag,
    RekeySpi, Spi, WrappedKey, WriteError,
};

/// Most octets of one datagram: what UDP over IPv4 carries, without the non-ESP marker.
const LONGEST_DATAGRAM: usize = 65_535 - 20 - 8 - 4;

/// What a GSA_REKEY message says.
pub struct RekeyMessage<'a> {
    /// The Rekey SA it is sent over.
    pub spi: RekeySpi,
    /// Its number: zero for the first message of a Rekey SA, then one more each.
    pub message_id: u32,
    /// New policy; `None` in a message that only deletes.
    pub gsa: Option<&'a GroupSecurityAssociation>,
    /// Keys of the SAs in `gsa`, and tree keys.
    pub keys: KeyUpdate<'a>,
    /// SAs to delete.
    pub deletes: &'a [Delete],
    /// Notifications.
    pub notifies: &'a [Notify],
}

/// Keys in a GSA_REKEY message.
#[derive(Default)]
pub struct KeyUpdate<'a> {
    /// Keying material of each data SA; wrapped here with GSK_w of the Rekey SA that carries the message.
    pub data: Vec<(Spi, &'a Secret)>,
    /// The key of a new Rekey SA.
    pub rekey: Option<(RekeySpi, NewRekeyKey<'a>)>,
    /// New tree keys, already wrapped.
    pub wrap_keys: Vec<WrappedKey>,
    /// The key that verifies the signatures of the messages after this one, when it changes: DER
    /// SubjectPublicKeyInfo.
    pub auth_key: Option<&'a [u8]>,
}

/// How a new Rekey SA's key reaches the members.
pub enum NewRekeyKey<'a> {
    /// Keying material for all holders of the current Rekey SA; wrapped here with its GSK_w.
    Plain(&'a Secret),
    /// Wrapped once for each part of the key tree that stays, because somebody is being excluded.
    Wrapped(Vec<WrappedKey>),
}

/// Why a message could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A payload does not fit its format, or the message its fragments.
    #[error("the message cannot be written")]
    Write(#[from] WriteError),
    /// The signature could not be made, or has another length than announced.
    #[error("the message cannot be signed")]
    Sign,
    /// A key could not be wrapped.
    #[error("a key cannot be wrapped")]
    Wrap(#[from] WrapError),
}

/// Builds the datagrams of `message` under the keys of the Rekey SA that carries it.
///
/// `fragment_size` is the most octets of one datagram's payload; a longer message is cut (RFC 7383), which every
/// member must have negotiated. With `None` the message is one datagram however long it is. The datagrams carry no
/// non-ESP marker.
///
/// # Errors
///
/// See [`BuildError`]; nothing is secret in it.
pub fn build(
    message: &RekeyMessage<'_>,
    keys: &RekeySaKeys,
    signer: &dyn Signer,
    fragment_size: Option<usize>,
) -> Result<Vec<Vec<u8>>, BuildError> {
    let header = Header {
        initiator_spi: message.spi.initiator_half(),
        responder_spi: message.spi.responder_half(),
        next_payload: PayloadType::ENCRYPTED,
        exchange: ExchangeType::GSA_REKEY,
        flags: Flags::INITIATOR,
        message_id: message.message_id,
    };
    let mut chain = Chain::write(&payloads(message, keys, signer)?)?;
    sign(&header, &mut chain, signer)?;
    let iv = |fragment: u16| {
        let mut iv = [0; IV_LENGTH];
        let (first, second) = iv.split_at_mut(4);
        first.copy_from_slice(&message.message_id.to_be_bytes());
        second.copy_from_slice(&u32::from(fragment).to_be_bytes());
        iv
    };
    let datagrams = protect::seal(&header, keys.encryption(), iv, &chain, fragment_size)?;
    match datagrams.iter().map(Vec::len).max() {
        Some(found) if found > LONGEST_DATAGRAM => Err(WriteError::TooLong {
            field: "datagram without fragments",
            limit: LONGEST_DATAGRAM,
            found,
        }
        .into()),
        _ => Ok(datagrams),
    }
}

/// GSA, KD, D, N and an AUTH with a signature of zeros.
fn payloads(
    message: &RekeyMessage<'_>,
    keys: &RekeySaKeys,
    signer: &dyn Signer,
) -> Result<Vec<Payload>, BuildError> {
    let mut payloads = Vec::new();
    if let Some(gsa) = message.gsa {
        payloads.push(Payload::GroupSecurityAssociation(gsa.clone()));
        payloads.push(Payload::KeyDownload(key_download(&message.keys, keys)?));
    }
    payloads.extend(message.deletes.iter().cloned().map(Payload::Delete));
    payloads.extend(message.notifies.iter().cloned().map(Payload::Notify));
    payloads.push(Payload::Authentication(Authentication::Signature {
        algorithm_identifier: signer.algorithm().algorithm_identifier().to_vec(),
        signature: vec![0; signer.signature_length()],
    }));
    Ok(payloads)
}

fn key_download(update: &KeyUpdate<'_>, keys: &RekeySaKeys) -> Result<KeyDownload, BuildError> {
    let wrapped = |key: &Secret| -> Result<WrappedKey, WrapError> {
        Ok(WrappedKey {
            key_id: 0,
            kwk_id: 0,
            encrypted: wrap::wrap(keys.key_wrap(), key.as_bytes())?,
        })
    };
    let mut bags = Vec::new();
    if let Some((spi, key)) = &update.rekey {
        let sa_keys = match key {
            NewRekeyKey::Plain(key) => vec![wrapped(key)?],
            NewRekeyKey::Wrapped(keys) => keys.clone(),
        };
        bags.push(KeyBag::Rekey(RekeyKeyBag {
            spi: *spi,
            sa_keys,
            unknown: Vec::new(),
        }));
    }
    for (spi, key) in &update.data {
        let sa_key = wrapped(key)?;
        bags.push(KeyBag::Data(DataKeyBag {
            protocol: ProtocolId::ESP,
            spi: *spi,
            sa_key,
            unknown: Vec::new(),
        }));
    }
    let member = MemberKeyBag {
        wrap_keys: update.wrap_keys.clone(),
        auth_key: update.auth_key.map(<[u8]>::to_vec),
        ..MemberKeyBag::default()
    };
    if member != MemberKeyBag::default() {
        bags.push(KeyBag::Member(member));
    }
    Ok(KeyDownload { bags })
}

/// Signs `A | P` with the signature value zeroed, and puts the signature in (RFC 9838 §2.4.1.1).
fn sign(header: &Header, chain: &mut Chain, signer: &dyn Signer) -> Result<(), BuildError> {
    let range = chain
        .signature_range()
        .ok()
        .flatten()
        .ok_or(BuildError::Sign)?;
    let octets = authenticated_octets(header, 0, chain)?;
    let signature = signer.sign(&octets).map_err(|_| BuildError::Sign)?;
    let field = chain
        .octets
        .get_mut(range)
        .filter(|field| field.len() == signature.len())
        .ok_or(BuildError::Sign)?;
    field.copy_from_slice(&signature);
    Ok(())
}
