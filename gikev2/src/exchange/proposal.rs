//! Which algorithms protect an IKE SA: offers, and the choice among them (RFC 7296 §2.7, §3.3.6, RFC 9370 §2.2.1).
//!
//! Nothing weaker than AES-128, SHA-256 and a 128-bit key exchange exists here, so no peer can negotiate it.

use crate::wire::{
    EncryptionId, KeyExchangeMethod, KeyWrapId, PrfId, Proposal, ProtocolId, Transform,
    TransformType,
};

/// One way to agree on the secret of an IKE SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyExchangeChoice {
    /// X25519 in IKE_SA_INIT and ML-KEM-768 in IKE_INTERMEDIATE (RFC 9370): safe while either holds.
    X25519MlKem768,
    /// X25519 alone.
    X25519,
    /// NIST P-256 alone.
    P256,
    /// NIST P-384 alone.
    P384,
}

impl KeyExchangeChoice {
    /// All of them, the preferred one first.
    pub const PREFERENCE: [Self; 4] = [Self::X25519MlKem768, Self::X25519, Self::P256, Self::P384];

    /// The method of transform type 4, whose KE payload is in IKE_SA_INIT.
    pub fn method(self) -> KeyExchangeMethod {
        match self {
            Self::X25519MlKem768 | Self::X25519 => KeyExchangeMethod::CURVE25519,
            Self::P256 => KeyExchangeMethod::ECP_256,
            Self::P384 => KeyExchangeMethod::ECP_384,
        }
    }

    /// The method of transform type 6, whose KE payload is in IKE_INTERMEDIATE.
    pub fn additional_method(self) -> Option<KeyExchangeMethod> {
        match self {
            Self::X25519MlKem768 => Some(KeyExchangeMethod::ML_KEM_768),
            Self::X25519 | Self::P256 | Self::P384 => None,
        }
    }
}

/// Encryption algorithms of an IKE SA with their Key Length, the preferred one first.
const ENCRYPTION: [(EncryptionId, Option<u16>); 3] = [
    (EncryptionId::AES_GCM_16, Some(256)),
    (EncryptionId::CHACHA20_POLY1305, None),
    (EncryptionId::AES_GCM_16, Some(128)),
];

/// Pseudorandom functions, the preferred one first.
const PRF: [PrfId; 3] = [
    PrfId::HMAC_SHA2_256,
    PrfId::HMAC_SHA2_384,
    PrfId::HMAC_SHA2_512,
];

/// The algorithms of one IKE SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Suite {
    /// Encryption.
    pub(crate) encryption: EncryptionId,
    /// Its Key Length attribute.
    pub(crate) key_bits: Option<u16>,
    /// Pseudorandom function.
    pub(crate) prf: PrfId,
    /// Key exchange method of IKE_SA_INIT.
    pub(crate) method: KeyExchangeMethod,
    /// Additional key exchange method of IKE_INTERMEDIATE.
    pub(crate) additional: Option<KeyExchangeMethod>,
    /// Whether KW_5649_256 was agreed. Without it no group key can be sent.
    pub(crate) key_wrap: bool,
}

/// The proposals an initiator sends: with a key wrap algorithm, and for `childless` authentication with stock peers
/// the same again without it, because those refuse a proposal with a transform type they do not know.
pub(crate) fn offer(choices: &[KeyExchangeChoice], childless: bool) -> Vec<Proposal> {
    let hybrid: Vec<_> = choices
        .iter()
        .filter(|choice| choice.additional_method().is_some())
        .collect();
    let plain: Vec<_> = choices
        .iter()
        .filter(|choice| choice.additional_method().is_none())
        .collect();
    let mut proposals = Vec::new();
    for key_wrap in [true, false] {
        if !key_wrap && !childless {
            continue;
        }
        for group in [&hybrid, &plain] {
            if group.is_empty() {
                continue;
            }
            let mut transforms: Vec<Transform> = ENCRYPTION
                .iter()
                .map(|(id, key_bits)| Transform::encryption(*id, *key_bits))
                .collect();
            transforms.extend(PRF.iter().map(|prf| Transform::prf(*prf)));
            let mut push = |transform: Transform| {
                if !transforms.contains(&transform) {
                    transforms.push(transform);
                }
            };
            for choice in group {
                push(Transform::key_exchange(choice.method()));
            }
            for method in group.iter().filter_map(|choice| choice.additional_method()) {
                push(Transform::additional_key_exchange(method));
            }
            if key_wrap {
                push(Transform::key_wrap(KeyWrapId::KW_5649_256));
            }
            let number = u8::try_from(proposals.len() + 1).unwrap_or(u8::MAX);
            proposals.push(Proposal::new(number, ProtocolId::IKE, transforms));
        }
    }
    proposals
}

/// The responder's choice: the suite and the proposal to answer with. `None` is NO_PROPOSAL_CHOSEN.
///
/// Our order of key exchanges decides; within it proposals with a key wrap algorithm come first.
pub(crate) fn choose(
    offered: &[Proposal],
    choices: &[KeyExchangeChoice],
    childless: bool,
) -> Option<(Suite, Proposal)> {
    let key_wraps: &[bool] = if childless { &[true, false] } else { &[true] };
    key_wraps.iter().find_map(|&key_wrap| {
        choices.iter().find_map(|&choice| {
            offered
                .iter()
                .find_map(|proposal| choose_from(proposal, choice, key_wrap))
        })
    })
}

/// The answer to one proposal, if it allows `choice`: exactly one transform of each type it uses.
fn choose_from(
    proposal: &Proposal,
    choice: KeyExchangeChoice,
    key_wrap: bool,
) -> Option<(Suite, Proposal)> {
    if proposal.protocol != ProtocolId::IKE || !proposal.spi.is_empty() {
        return None;
    }
    let pick = |transform_type: TransformType, id: u16| {
        proposal
            .of_type(transform_type)
            .find(|transform| transform.id == id && transform.attributes.is_empty())
    };
    let has = |transform_type: TransformType| proposal.of_type(transform_type).next().is_some();
    let &(encryption, key_bits) = ENCRYPTION.iter().find(|(id, bits)| {
        proposal
            .transforms
            .contains(&Transform::encryption(*id, *bits))
    })?;
    let prf = *PRF
        .iter()
        .find(|prf| pick(TransformType::PSEUDORANDOM_FUNCTION, prf.0).is_some())?;
    let method = choice.method();
    pick(TransformType::KEY_EXCHANGE, method.0)?;
    let mut chosen = vec![
        Transform::encryption(encryption, key_bits),
        Transform::prf(prf),
        Transform::key_exchange(method),
    ];
    let mut rest: Vec<TransformType> = proposal
        .transforms
        .iter()
        .map(|transform| transform.transform_type)
        .collect();
    rest.sort();
    rest.dedup();
    for transform_type in rest {
        match transform_type {
            TransformType::ENCRYPTION
            | TransformType::PSEUDORANDOM_FUNCTION
            | TransformType::KEY_EXCHANGE => {}
            TransformType::KEY_WRAP if key_wrap => {
                chosen.push(pick(transform_type, KeyWrapId::KW_5649_256.0)?.clone());
            }
            TransformType::ADDITIONAL_KEY_EXCHANGE_1 => {
                let id = choice.additional_method().map_or(0, |method| method.0);
                chosen.push(pick(transform_type, id)?.clone());
            }
            // Only "none" will do: integrity comes with the cipher, and there is one additional key exchange.
            TransformType::INTEGRITY => chosen.push(pick(transform_type, 0)?.clone()),
            other if other.additional_key_exchange().is_some() => {
                chosen.push(pick(other, 0)?.clone())
            }
            _ => return None,
        }
    }
    let complete = has(TransformType::KEY_WRAP) == key_wrap
        && (choice.additional_method().is_none() || has(TransformType::ADDITIONAL_KEY_EXCHANGE_1));
    let suite = Suite {
        encryption,
        key_bits,
        prf,
        method,
        additional: choice.additional_method(),
        key_wrap,
    };
    complete.then(|| {
        (
            suite,
            Proposal::new(proposal.number, ProtocolId::IKE, chosen),
        )
    })
}

/// The suite in a responder's answer, if it is a legal choice from what we offered.
pub(crate) fn chosen(offered: &[Proposal], answer: &[Proposal]) -> Option<Suite> {
    let [answer] = answer else { return None };
    let offer = offered.iter().find(|offer| offer.number == answer.number)?;
    if answer.protocol != ProtocolId::IKE || !answer.spi.is_empty() {
        return None;
    }
    if !answer
        .transforms
        .iter()
        .all(|transform| offer.transforms.contains(transform))
    {
        return None;
    }
    let one = |transform_type: TransformType| {
        let mut found = answer.of_type(transform_type);
        let first = found.next();
        if found.next().is_some() {
            None
        } else {
            Some(first)
        }
    };
    let encryption = one(TransformType::ENCRYPTION)??;
    let prf = one(TransformType::PSEUDORANDOM_FUNCTION)??;
    let method = one(TransformType::KEY_EXCHANGE)??;
    let additional = one(TransformType::ADDITIONAL_KEY_EXCHANGE_1)?;
    let key_wrap = one(TransformType::KEY_WRAP)?;
    let used = |transform_type| offer.of_type(transform_type).next().is_some();
    if used(TransformType::ADDITIONAL_KEY_EXCHANGE_1) != additional.is_some()
        || used(TransformType::KEY_WRAP) != key_wrap.is_some()
    {
        return None;
    }
    Some(Suite {
        encryption: EncryptionId(encryption.id),
        key_bits: encryption.key_length(),
        prf: PrfId(prf.id),
        method: KeyExchangeMethod(method.id),
        additional: additional.map(|transform| KeyExchangeMethod(transform.id)),
        key_wrap: key_wrap.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [KeyExchangeChoice; 4] = KeyExchangeChoice::PREFERENCE;

    #[test]
    fn the_hybrid_key_exchange_is_chosen_when_both_ends_have_it() {
        let offered = offer(&ALL, false);
        let (suite, answer) = choose(&offered, &ALL, false).expect("a choice");
        assert_eq!(suite.method, KeyExchangeMethod::CURVE25519);
        assert_eq!(suite.additional, Some(KeyExchangeMethod::ML_KEM_768));
        assert!(suite.key_wrap);
        assert_eq!(chosen(&offered, &[answer]), Some(suite));
    }

    #[test]
    fn a_plain_offer_is_answered_without_an_additional_key_exchange() {
        let offered = offer(&[KeyExchangeChoice::P384], false);
        let (suite, answer) = choose(&offered, &ALL, false).expect("a choice");
        assert_eq!(
            (suite.method, suite.additional),
            (KeyExchangeMethod::ECP_384, None)
        );
        assert_eq!(chosen(&offered, &[answer]), Some(suite));
        assert!(choose(&offered, &[KeyExchangeChoice::P256], false).is_none());
    }

    #[test]
    fn a_proposal_with_an_unknown_transform_type_is_refused_as_a_whole() {
        let mut offered = offer(&[KeyExchangeChoice::X25519], false);
        offered[0]
            .transforms
            .push(Transform::new(TransformType(200), 1));
        assert!(choose(&offered, &ALL, true).is_none());
    }

    #[test]
    fn an_unknown_id_rules_out_only_that_transform() {
        let mut offered = offer(&[KeyExchangeChoice::X25519], false);
        offered[0]
            .transforms
            .insert(0, Transform::new(TransformType::PSEUDORANDOM_FUNCTION, 999));
        assert!(choose(&offered, &ALL, false).is_some());
    }

    #[test]
    fn no_key_wrap_is_only_good_enough_for_childless_authentication() {
        let offered = offer(&[KeyExchangeChoice::X25519], true);
        assert_eq!(offered.len(), 2);
        let stock = &offered[1..];
        assert!(choose(stock, &ALL, false).is_none());
        let (suite, _) = choose(stock, &ALL, true).expect("a choice");
        assert!(!suite.key_wrap);
        let (suite, _) = choose(&offered, &ALL, true).expect("a choice");
        assert!(suite.key_wrap, "a key wrap algorithm is preferred");
    }

    #[test]
    fn an_additional_key_exchange_of_none_is_a_legal_plain_choice() {
        let mut offered = offer(&[KeyExchangeChoice::X25519MlKem768], false);
        offered[0]
            .transforms
            .push(Transform::additional_key_exchange(KeyExchangeMethod::NONE));
        let (suite, answer) =
            choose(&offered, &[KeyExchangeChoice::X25519], false).expect("a choice");
        assert_eq!(suite.additional, None);
        assert!(
            answer
                .transforms
                .contains(&Transform::additional_key_exchange(KeyExchangeMethod::NONE))
        );
    }

    #[test]
    fn an_answer_may_neither_add_drop_nor_double_a_transform() {
        let offered = offer(&ALL, false);
        let (_, answer) = choose(&offered, &ALL, false).expect("a choice");
        let mut added = answer.clone();
        added
            .transforms
            .push(Transform::new(TransformType::INTEGRITY, 2));
        let mut dropped = answer.clone();
        dropped
            .transforms
            .retain(|transform| transform.transform_type != TransformType::KEY_WRAP);
        let mut doubled = answer.clone();
        doubled
            .transforms
            .push(Transform::prf(PrfId::HMAC_SHA2_512));
        for bad in [added, dropped, doubled] {
            assert_eq!(chosen(&offered, &[bad]), None);
        }
        assert_eq!(chosen(&offered, &[]), None);
        assert_eq!(chosen(&offered, &[answer.clone(), answer]), None);
    }
}
