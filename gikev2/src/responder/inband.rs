//! GSA_INBAND_REKEY (RFC 9838 §2.4.2): new keys over a member's own IKE SA, which it confirms with an empty answer.

use std::time::Instant;

use crate::Entropy;
use crate::Secret;
use crate::exchange::download;
use crate::exchange::policy::{self, Carrier};
use crate::exchange::retransmit::Outstanding;
use crate::keys::wrap;
use crate::wire::{
    DataKeyBag, Delete, ExchangeType, GroupSecurityAssociation, KeyBag, KeyDownload, Payload,
    ProtocolId, RekeyKeyBag, RekeySpi, Spi, WrappedKey,
};

use super::ike_sa::{Asked, IkeSa, State};
use super::protected::REQUEST_TIME;
use super::{Arrival, Fate, IkeSaHandle, Responder, Turn};

/// What one member is told over its IKE SA.
pub enum InbandRekey {
    /// New SAs.
    Keys {
        /// Their policies, without any attribute of registrations or multicast rekeys (RFC 9838 §5).
        gsa: GroupSecurityAssociation,
        /// Keying material of the Rekey SA, when `gsa` has one. Wrapped with the IKE SA's GSK_w here.
        rekey: Option<(RekeySpi, Secret)>,
        /// Keying material of each data SA. Wrapped with the IKE SA's GSK_w here.
        data: Vec<(Spi, Secret)>,
    },
    /// SAs to delete.
    Deletes(Vec<Delete>),
}

/// Why an inband rekey was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InbandError {
    /// The IKE SA is gone, belongs to no group member, or waits for something else.
    #[error("the IKE SA cannot take an inband rekey now")]
    Unavailable,
    /// Policy and keys break this rule, so no member would take them.
    #[error("the inband rekey breaks a rule: {0}")]
    Content(&'static str),
    /// A payload does not fit its format.
    #[error("the inband rekey cannot be encoded")]
    Encoding,
}

impl Responder {
    /// Sends new keys, or deletions, to the member at the other end of an IKE SA, over which it is registered to one
    /// group only: the message does not name the group. [`super::Event::InbandRekeyed`] follows when the member has it,
    /// [`super::Event::Closed`] when it does not answer.
    ///
    /// # Errors
    ///
    /// [`InbandError`]; nothing was sent then.
    pub fn rekey_inband(
        &mut self,
        now: Instant,
        ike_sa: IkeSaHandle,
        rekey: &InbandRekey,
        entropy: &mut dyn Entropy,
    ) -> Result<(), InbandError> {
        let mut sa = self.sas.remove(&ike_sa.0).ok_or(InbandError::Unavailable)?;
        let mut turn = Turn {
            now,
            unix_time: 0,
            entropy,
        };
        let outcome = self.send_inband(&mut turn, &mut sa, rekey);
        self.settle(sa, Fate::Keep);
        outcome
    }

    fn send_inband(
        &mut self,
        turn: &mut Turn<'_>,
        sa: &mut IkeSa,
        rekey: &InbandRekey,
    ) -> Result<(), InbandError> {
        let able = matches!(sa.state, State::Established) && sa.schedule.suite().key_wrap;
        if !able || sa.asked.is_some() {
            return Err(InbandError::Unavailable);
        }
        let payloads = payloads(sa, rekey)?;
        let exchange = ExchangeType::GSA_INBAND_REKEY;
        let (message_id, datagrams) = sa
            .request(exchange, &payloads)
            .ok_or(InbandError::Encoding)?;
        let arrival = Arrival {
            local: sa.local,
            remote: sa.remote,
        };
        self.transmit(arrival, datagrams.clone());
        let outstanding = Outstanding::new(
            datagrams,
            &self.config.retransmission,
            turn.now,
            turn.entropy,
        );
        sa.asked = Some(Asked {
            exchange,
            message_id,
            outstanding,
        });
        sa.deadline = turn.now + REQUEST_TIME;
        Ok(())
    }
}

/// GSA and KD, or Deletes. What a member would refuse is not sent.
fn payloads(sa: &IkeSa, rekey: &InbandRekey) -> Result<Vec<Payload>, InbandError> {
    let (gsa, rekey, data) = match rekey {
        InbandRekey::Deletes(deletes) if deletes.is_empty() => {
            return Err(InbandError::Content("nothing to delete"));
        }
        InbandRekey::Deletes(deletes) => {
            return Ok(deletes.iter().cloned().map(Payload::Delete).collect());
        }
        InbandRekey::Keys { gsa, rekey, data } => (gsa, rekey, data),
    };
    policy::check(gsa, &[], Carrier::InbandRekey).map_err(InbandError::Content)?;
    let default_key = sa
        .schedule
        .key_wrap_key()
        .map_err(|_| InbandError::Encoding)?;
    let wrapped = |key: &Secret| {
        wrap::wrap(&default_key, key.as_bytes())
            .map(|encrypted| WrappedKey {
                key_id: 0,
                kwk_id: 0,
                encrypted,
            })
            .map_err(|_| InbandError::Encoding)
    };
    let mut bags = Vec::new();
    match (gsa.rekey(), rekey) {
        (None, None) => {}
        (Some(policy), Some((spi, key))) if policy.spi == *spi => {
            download::rekey_keys(policy, key).map_err(InbandError::Content)?;
            bags.push(KeyBag::Rekey(RekeyKeyBag {
                spi: *spi,
                sa_keys: vec![wrapped(key)?],
                unknown: Vec::new(),
            }));
        }
        _ => {
            return Err(InbandError::Content(
                "a Rekey SA needs one policy and one key bag",
            ));
        }
    }
    for (spi, key) in data {
        bags.push(KeyBag::Data(DataKeyBag {
            protocol: ProtocolId::ESP,
            spi: *spi,
            sa_key: wrapped(key)?,
            unknown: Vec::new(),
        }));
    }
    let keys = KeyDownload { bags };
    download::data_keys(gsa, &keys, &default_key).map_err(InbandError::Content)?;
    let gsa = if sa.peer.ours {
        gsa.clone()
    } else {
        gsa.clone().without_private_attributes()
    };
    Ok(vec![
        Payload::GroupSecurityAssociation(gsa),
        Payload::KeyDownload(keys),
    ])
}
