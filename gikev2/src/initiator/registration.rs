//! Policy and keys of an admitted member (RFC 9838 §2.3.3, §3.3): everything is checked and unwrapped before
//! anything is handed over.

use crate::Secret;
use crate::exchange::download;
use crate::exchange::key_schedule::KeySchedule;
use crate::exchange::payloads::Payloads;
use crate::exchange::policy::{self, Carrier};
use crate::keys::tree::WorkingKeyPath;
use crate::wire::private::PrivateUse;
use crate::wire::{GroupSecurityAssociation, Identification, KeyDownload, NotifyType, RekeySpi};

use super::{InitiatorError, Registration, RegistrationParameters};

/// Most Sender-IDs accepted, whatever was asked for.
const MOST_SENDER_IDS: usize = 64;

/// What a registration is checked against.
pub(super) struct Terms<'a> {
    /// Keys of the IKE SA.
    pub(super) schedule: &'a KeySchedule,
    /// The key server's identity.
    pub(super) peer: &'a Identification,
    /// What its private-use numbers mean.
    pub(super) private: PrivateUse,
    /// What was asked for.
    pub(super) parameters: &'a RegistrationParameters,
}

/// The registration in an authenticated answer.
pub(super) fn unwrap_registration(
    terms: &Terms<'_>,
    answer: Payloads,
) -> Result<Registration, InitiatorError> {
    let registration_id = answer
        .notify(NotifyType::GETVPN_REGISTRATION_ID)
        .filter(|_| terms.private == PrivateUse::Ours)
        .and_then(|notify| notify.data_u64());
    let gsa = answer.policy.ok_or(InitiatorError::PayloadSet("no GSA"))?;
    let download = answer
        .key_download
        .ok_or(InitiatorError::PayloadSet("no KD"))?;
    policy::check(&gsa, &answer.notifies, Carrier::Registration).map_err(InitiatorError::Keys)?;
    let underivable = |_| InitiatorError::Keys("keys cannot be derived");
    let default_key = terms.schedule.key_wrap_key().map_err(underivable)?;
    let data = download::data_keys(&gsa, &download, &default_key).map_err(InitiatorError::Keys)?;
    let (rekey, working_key_path) = rekey_key(&gsa, &download, &default_key)?;
    let (auth_key, sender_ids) = match download.member() {
        Some(bag) => (bag.auth_key.clone(), bag.sender_ids.clone()),
        None => (None, Vec::new()),
    };
    check_sender_ids(&gsa, terms.parameters, &sender_ids)?;
    Ok(Registration {
        group: terms.parameters.group.clone(),
        gsa,
        rekey,
        data,
        working_key_path,
        auth_key,
        sender_ids,
        registration_id,
        private: terms.private,
        acknowledgement_key: terms.schedule.acknowledgement_key().map_err(underivable)?,
        peer: terms.peer.clone(),
    })
}

/// The Rekey SA's keying material and the key path that led to it.
pub(super) fn rekey_key(
    gsa: &GroupSecurityAssociation,
    download: &KeyDownload,
    default_key: &Secret,
) -> Result<(Option<(RekeySpi, Secret)>, WorkingKeyPath), InitiatorError> {
    let (policy, bag) = match (gsa.rekey(), download.rekey()) {
        (None, None) => return Ok((None, WorkingKeyPath::default())),
        (Some(policy), Some(bag)) if policy.spi == bag.spi => (policy, bag),
        _ => {
            return Err(InitiatorError::Keys(
                "a Rekey SA needs one policy and one key bag",
            ));
        }
    };
    if bag.sa_keys.len() != 1 {
        return Err(InitiatorError::Keys(
            "a registration has exactly one key for the Rekey SA",
        ));
    }
    let wrap_keys = download
        .member()
        .map(|bag| bag.wrap_keys.as_slice())
        .unwrap_or_default();
    let found = WorkingKeyPath::default()
        .follow(default_key, &bag.sa_keys, wrap_keys)
        .map_err(|_| InitiatorError::Keys("the Rekey SA's key cannot be unwrapped"))?;
    download::rekey_keys(policy, &found.key).map_err(InitiatorError::Keys)?;
    Ok((
        Some((policy.spi, found.key)),
        found.path.unwrap_or_default(),
    ))
}

/// Sender-IDs fit the announced width, differ, and are no more than asked for (RFC 9838 §2.5.2).
fn check_sender_ids(
    gsa: &GroupSecurityAssociation,
    parameters: &RegistrationParameters,
    sender_ids: &[u32],
) -> Result<(), InitiatorError> {
    if sender_ids.is_empty() {
        return Ok(());
    }
    let wanted = parameters.sender_ids.map_or(0, |wanted| {
        usize::try_from(wanted.max(1)).unwrap_or(usize::MAX)
    });
    if sender_ids.len() > wanted.min(MOST_SENDER_IDS) {
        return Err(InitiatorError::Keys("more Sender-IDs than asked for"));
    }
    let bits = gsa
        .group_wide
        .as_ref()
        .and_then(|policy| policy.sender_id_bits)
        .unwrap_or(0);
    if !(1..=32).contains(&bits) {
        return Err(InitiatorError::Keys("Sender-IDs without a width"));
    }
    if sender_ids
        .iter()
        .any(|sender_id| u64::from(*sender_id) >> bits != 0)
    {
        return Err(InitiatorError::Keys("a Sender-ID is too wide"));
    }
    let mut different = sender_ids.to_vec();
    different.sort_unstable();
    different.dedup();
    if different.len() != sender_ids.len() {
        return Err(InitiatorError::Keys("a Sender-ID is given twice"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::wrap;
    use crate::wire::{
        AddressRange, EncryptionId, KeyBag, KeyWrapId, RekeyKeyBag, RekeySaPolicy, SaPolicy,
        TrafficSelector, Transform, WrappedKey,
    };

    #[test]
    fn a_registration_has_a_single_key_for_the_rekey_sa() {
        let default_key = Secret::new(vec![1; 32]);
        let spi = RekeySpi([3; 16]);
        let any = TrafficSelector::addresses(AddressRange::ANY_V4);
        let gsa = GroupSecurityAssociation {
            policies: vec![SaPolicy::Rekey(RekeySaPolicy {
                spi,
                source: any,
                destination: any,
                transforms: vec![
                    Transform::encryption(EncryptionId::AES_GCM_16, Some(256)),
                    Transform::key_wrap(KeyWrapId::KW_5649_256),
                ],
                lifetime_seconds: Some(60),
                initial_message_id: None,
                next_spis: Vec::new(),
                unknown: Vec::new(),
            })],
            group_wide: None,
        };
        let sa_key = WrappedKey {
            key_id: 0,
            kwk_id: 0,
            encrypted: wrap::wrap(&default_key, &[5; 68]).expect("a wrapped key"),
        };
        for (count, single) in [(0, false), (1, true), (2, false)] {
            let download = KeyDownload {
                bags: vec![KeyBag::Rekey(RekeyKeyBag {
                    spi,
                    sa_keys: vec![sa_key.clone(); count],
                    unknown: Vec::new(),
                })],
            };
            let found = rekey_key(&gsa, &download, &default_key);
            assert_eq!(found.is_ok(), single, "{count} keys");
        }
    }
}
