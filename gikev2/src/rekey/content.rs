//! What an authentic GSA_REKEY message says: rules of RFC 9838 §2.4.1.5 and §5, and the way to its keys (§3.3).

use std::time::{Duration, Instant};

use crate::Secret;
use crate::crypto::public_key::PublicKey;
use crate::exchange::download;
use crate::exchange::payloads::Payloads;
use crate::exchange::policy::{self, Carrier};
use crate::initiator::{InbandRekey, Registration};
use crate::keys::tree::WorkingKeyPath;
use crate::wire::payload::Chain;
use crate::wire::private::PrivateUse;
use crate::wire::{
    Delete, GroupControllerAuthenticationId, GroupSecurityAssociation, KeyDownload, Notify,
    RekeySaPolicy, RekeySpi, Spi, TransformType,
};

use super::RekeyError;
use super::receiver::Deletes;
use super::rekey_sa::RekeySa;

/// Longest life a Rekey SA is given whatever its policy says: ten years.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Everything a message changes.
pub(super) struct Content {
    pub(super) gsa: Option<GroupSecurityAssociation>,
    pub(super) data: Vec<(Spi, Secret)>,
    pub(super) new_rekey_sa: Option<RekeySa>,
    pub(super) new_path: Option<WorkingKeyPath>,
    pub(super) auth_key: Option<PublicKey>,
    pub(super) deletes: Deletes,
    pub(super) deleted_rekey_sas: Vec<RekeySpi>,
    pub(super) notifies: Vec<Notify>,
}

/// The Rekey SA of a registration, if it has one. Unsigned rekeys are not accepted: the policy must name a digital
/// signature, and the AUTH_KEY must fit it.
pub(super) fn registered_rekey_sa(
    now: Instant,
    registration: &Registration,
) -> Result<Option<RekeySa>, RekeyError> {
    let Some(policy) = registration.gsa.rekey() else {
        return Ok(None);
    };
    let (spi, material) = registration
        .rekey
        .as_ref()
        .ok_or(RekeyError::Setup("no key for the Rekey SA"))?;
    if *spi != policy.spi {
        return Err(RekeyError::Setup("the key is for another Rekey SA"));
    }
    let method = policy
        .transform(TransformType::GROUP_CONTROLLER_AUTHENTICATION)
        .filter(|method| method.id == GroupControllerAuthenticationId::DIGITAL_SIGNATURE.0)
        .ok_or(RekeyError::Setup("rekeys are not signed"))?;
    let algorithm = method
        .signature_algorithm()
        .ok_or(RekeyError::Setup("no signature algorithm"))?;
    let auth_key = registration
        .auth_key
        .as_deref()
        .ok_or(RekeyError::Setup("no AUTH_KEY"))?;
    let auth_key = fitting_key(auth_key, algorithm)
        .ok_or(RekeyError::Setup("AUTH_KEY does not fit the algorithm"))?;
    let keys = download::rekey_keys(policy, material).map_err(RekeyError::Setup)?;
    let expires = expiry(now, policy).ok_or(RekeyError::Setup("no lifetime"))?;
    let first = policy.initial_message_id.unwrap_or(0);
    Ok(Some(RekeySa::new(
        policy.spi,
        keys,
        algorithm.to_vec(),
        auth_key,
        first,
        expires,
    )))
}

/// The Rekey SA of a GSA_INBAND_REKEY, if it has one. Who signs its messages, and how, stays as it is with `current`:
/// neither GCAUTH nor AUTH_KEY has a place there (RFC 9838 §5).
pub(super) fn inband_rekey_sa(
    now: Instant,
    current: Option<&RekeySa>,
    rekey: &InbandRekey,
) -> Result<Option<RekeySa>, RekeyError> {
    let policy = rekey.gsa.as_ref().and_then(GroupSecurityAssociation::rekey);
    let (Some(policy), Some((_, material))) = (policy, &rekey.rekey) else {
        return Ok(None);
    };
    let current = current.ok_or(RekeyError::Setup("nothing tells who signs rekeys"))?;
    if current.spi == policy.spi {
        return Err(RekeyError::Setup(
            "the new Rekey SA has the SPI of the old one",
        ));
    }
    let keys = download::rekey_keys(policy, material).map_err(RekeyError::Setup)?;
    Ok(Some(RekeySa::new(
        policy.spi,
        keys,
        current.algorithm_identifier.clone(),
        current.auth_key.clone(),
        0,
        expiry(now, policy).unwrap_or(now + LONGEST_LIFE),
    )))
}

/// The public key in an AUTH_KEY, if the algorithm can be used with it.
fn fitting_key(auth_key: &[u8], algorithm_identifier: &[u8]) -> Option<PublicKey> {
    PublicKey::from_spki(auth_key)
        .ok()
        .filter(|key| key.supports(algorithm_identifier))
}

fn expiry(now: Instant, policy: &RekeySaPolicy) -> Option<Instant> {
    let seconds = policy.lifetime_seconds.filter(|seconds| *seconds > 0)?;
    Some(now + Duration::from_secs(seconds.into()).min(LONGEST_LIFE))
}

/// Reads and validates a message that came over `sa`.
pub(super) fn read(
    now: Instant,
    sa: &RekeySa,
    path: &WorkingKeyPath,
    chain: &Chain,
    private: PrivateUse,
) -> Result<Content, RekeyError> {
    let payloads = chain
        .parse_from(private)
        .and_then(Payloads::sort)
        .map_err(RekeyError::Malformed)?;
    let (deletes, deleted_rekey_sas) = read_deletes(&payloads.deletes);
    let mut content = Content {
        gsa: None,
        data: Vec::new(),
        new_rekey_sa: None,
        new_path: None,
        auth_key: None,
        deletes,
        deleted_rekey_sas,
        notifies: payloads.notifies,
    };
    let (gsa, keys) = match (payloads.policy, payloads.key_download) {
        (Some(gsa), Some(keys)) => (gsa, keys),
        (None, None) if !payloads.deletes.is_empty() => return Ok(content),
        (None, None) => return Err(RekeyError::Content("neither policy nor deletion")),
        _ => return Err(RekeyError::Content("policy and keys must come together")),
    };
    check_rules(sa, &gsa, &content.notifies, &keys)?;
    let default_key = sa.keys.key_wrap();
    content.data = download::data_keys(&gsa, &keys, default_key).map_err(RekeyError::Content)?;
    if let Some(auth_key) = keys.member().and_then(|bag| bag.auth_key.as_deref()) {
        let key = fitting_key(auth_key, &sa.algorithm_identifier).ok_or(RekeyError::Content(
            "the new AUTH_KEY does not fit the algorithm",
        ))?;
        content.auth_key = Some(key);
    }
    if let (Some(policy), Some(bag)) = (gsa.rekey(), keys.rekey()) {
        let wrap_keys = keys
            .member()
            .map(|bag| bag.wrap_keys.as_slice())
            .unwrap_or_default();
        let found = path
            .follow(default_key, &bag.sa_keys, wrap_keys)
            .map_err(|_| RekeyError::Excluded(policy.spi))?;
        let new_keys = download::rekey_keys(policy, &found.key).map_err(RekeyError::Content)?;
        let auth_key = content
            .auth_key
            .clone()
            .unwrap_or_else(|| sa.auth_key.clone());
        let expires =
            expiry(now, policy).ok_or(RekeyError::Content("a Rekey SA without lifetime"))?;
        let first = policy.initial_message_id.unwrap_or(0);
        let algorithm = sa.algorithm_identifier.clone();
        content.new_rekey_sa = Some(RekeySa::new(
            policy.spi, new_keys, algorithm, auth_key, first, expires,
        ));
        content.new_path = found.path;
    }
    content.gsa = Some(gsa);
    Ok(content)
}

/// What a GSA_REKEY may not contain (RFC 9838 §2.4.1, §4.4.2.1.1, §5).
fn check_rules(
    sa: &RekeySa,
    gsa: &GroupSecurityAssociation,
    notifies: &[Notify],
    keys: &KeyDownload,
) -> Result<(), RekeyError> {
    policy::check(gsa, notifies, Carrier::Rekey).map_err(RekeyError::Content)?;
    if keys.member().is_some_and(|bag| !bag.sender_ids.is_empty()) {
        return Err(RekeyError::Content("GM_SENDER_ID is only for registration"));
    }
    match (gsa.rekey(), keys.rekey()) {
        (None, None) => {}
        (Some(policy), Some(bag)) => {
            if policy.spi != bag.spi || policy.spi == sa.spi {
                return Err(RekeyError::Content(
                    "the new Rekey SA's key has another SPI",
                ));
            }
            if bag.sa_keys.iter().any(|key| key.key_id != 0) {
                return Err(RekeyError::Content("an SA_KEY has a Key ID"));
            }
        }
        _ => {
            return Err(RekeyError::Content(
                "a Rekey SA needs one policy and one key bag",
            ));
        }
    }
    let wrap_keys = keys
        .member()
        .map(|bag| bag.wrap_keys.as_slice())
        .unwrap_or_default();
    if wrap_keys.iter().any(|key| key.key_id == 0) {
        return Err(RekeyError::Content("a WRAP_KEY has no Key ID"));
    }
    Ok(())
}

/// Sums up the Delete payloads. The Delete of an IKE SA has no meaning here and is ignored.
pub(crate) fn read_deletes(payloads: &[Delete]) -> (Deletes, Vec<RekeySpi>) {
    let mut deletes = Deletes::default();
    let mut rekey_sas = Vec::new();
    for delete in payloads {
        match delete {
            Delete::IkeSa => {}
            Delete::Everything => {
                deletes.all_data = true;
                deletes.excluded = true;
            }
            Delete::Data { spis, .. } => {
                for spi in spis {
                    if *spi == Spi::ZERO {
                        deletes.all_data = true;
                    } else {
                        deletes.data.push(*spi);
                    }
                }
            }
            Delete::Rekey(spis) => {
                for spi in spis {
                    if *spi == RekeySpi::ZERO {
                        deletes.excluded = true;
                    } else {
                        rekey_sas.push(*spi);
                    }
                }
            }
        }
    }
    (deletes, rekey_sas)
}
