//! Who may join a group, and what a member gets when it joins (RFC 9838 §2.3).

use gikev2::responder::{Grant, GrantKeys, Refusal, RegistrationRequest, RekeyKey, RekeyKeyGrant};
use gikev2::wire::{EncryptionId, KeyWrapId, Proposal, ProtocolId, TransformType};
use keyserver_api::policy::{EspEncryption, GroupPolicy};

use crate::audit::RefusalCause;
use crate::group_policy::{self, GroupWide};
use crate::identity::MemberIdentity;
use crate::log_time::LogTime;
use crate::outcome::Refused;
use crate::rekey::signing;
use crate::state::group::Group;

/// Decides whether an authenticated member may join. The log decides the rest: eviction, Sender-IDs, leaves.
///
/// # Errors
/// Why not: the cause for the audit trail; [`refusal`] says what the member hears.
pub fn authorise(
    group: &Group,
    identity: &MemberIdentity,
    request: &RegistrationRequest,
) -> Result<(), RefusalCause> {
    let authorization = &group.policy.authorization;
    let named = |kind| {
        authorization
            .identities
            .iter()
            .any(|pattern| pattern.matches(kind, identity.value()))
    };
    if !authorization.identities.is_empty() && !identity.kind().is_some_and(named) {
        return Err(RefusalCause::Identity);
    }
    let address = request.remote.ip().to_canonical();
    if !authorization.addresses.is_empty()
        && !authorization
            .addresses
            .iter()
            .any(|net| net.contains(&address))
    {
        return Err(RefusalCause::Address);
    }
    if group.members.evicted().contains(identity) {
        return Err(RefusalCause::Evicted);
    }
    if let Some(capabilities) = &request.capabilities
        && !covers(capabilities, &group.policy)
    {
        return Err(RefusalCause::Capabilities);
    }
    if group.rekey_sa.is_none() || group.signing_key.is_none() {
        return Err(RefusalCause::NoKeys);
    }
    Ok(())
}

/// What the member hears.
pub fn refusal(cause: RefusalCause) -> Refusal {
    match cause {
        RefusalCause::Group => Refusal::InvalidGroupId,
        RefusalCause::Identity | RefusalCause::Address | RefusalCause::Evicted => {
            Refusal::AuthorizationFailed
        }
        RefusalCause::Capabilities => Refusal::NoProposalChosen,
        RefusalCause::NoKeys
        | RefusalCause::NoQuorum
        | RefusalCause::SenderIds
        | RefusalCause::Full
        | RefusalCause::TimedOut
        | RefusalCause::Internal => Refusal::RegistrationFailed,
    }
}

/// The cause that goes with the log's refusal.
pub fn cause_of(refused: Refused) -> RefusalCause {
    match refused {
        Refused::GroupNotFound => RefusalCause::Group,
        Refused::NoKeys => RefusalCause::NoKeys,
        Refused::SenderIdsExhausted => RefusalCause::SenderIds,
        Refused::GroupFull => RefusalCause::Full,
        Refused::Evicted => RefusalCause::Evicted,
        Refused::GroupIdTaken
        | Refused::GroupIdImmutable
        | Refused::SigningKeyConflict
        | Refused::SpiTaken
        | Refused::Inconsistent
        | Refused::Overtaken => RefusalCause::Internal,
    }
}

/// What a just registered member gets: the keys of this moment with their remaining lives.
///
/// `None` when the registration or the group's keys are gone again.
pub fn grant(group: &Group, registration_id: u64, time: LogTime) -> Option<Grant> {
    let member = group
        .members
        .get(registration_id)
        .filter(|member| member.epoch == group.epoch)?;
    let rekey_sa = group.rekey_sa.as_ref()?;
    let signing_key = group.signing_key.as_ref()?;
    let algorithm = signing::algorithm_identifier(signing_key.algorithm);
    let keys = group_policy::current_and_staged(&group.associations, time);

    let mut policies = vec![group_policy::rekey_policy(
        rekey_sa,
        &group.policy,
        time,
        Some(&algorithm),
    )];
    policies.extend(
        keys.iter()
            .map(|entry| group_policy::data_policy(entry, time)),
    );
    let group_wide = group_policy::group_wide(&GroupWide {
        policy: &group.policy,
        revision: group.policy_revision,
        associations: &group.associations,
        pseudotime_ms: group.pseudotime_ms(time),
        sender: !member.sender_ids.is_empty(),
        complete: true,
    });

    let path = group
        .tree
        .tree()
        .registration_keys(member.leaf, &rekey_sa.keying_material.to_secret())
        .ok()?;
    Some(Grant {
        gsa: group_policy::payload(policies, group_wide),
        keys: GrantKeys {
            rekey: Some(RekeyKeyGrant {
                spi: rekey_sa.spi.into(),
                key: RekeyKey::Wrapped(path.sa_key),
            }),
            data: keys
                .iter()
                .map(|entry| (entry.key.spi.into(), entry.key.keying_material.to_secret()))
                .collect(),
            plain_wrap_keys: vec![(path.leaf_key_id, path.leaf_key)],
            wrap_keys: path.wrap_keys,
            auth_key: Some(signing_key.public_key.clone()),
            sender_ids: member.sender_ids.clone(),
        },
        registration_id,
    })
}

/// Whether capabilities (SAg, RFC 9838 §4.3) cover a group's policy: one linked set of proposals must have a cipher
/// for every security association and the key wrap of the Rekey SA.
fn covers(capabilities: &[Proposal], policy: &GroupPolicy) -> bool {
    let mut numbers: Vec<u8> = capabilities
        .iter()
        .map(|proposal| proposal.number)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into_iter().any(|number| {
        let of = |protocol| {
            capabilities
                .iter()
                .filter(move |proposal| proposal.number == number && proposal.protocol == protocol)
        };
        let ciphers = policy.security_associations.iter().all(|association| {
            of(ProtocolId::ESP).any(|proposal| can_encrypt(proposal, association.encryption))
        });
        // Without a GIKE_UPDATE proposal the member says nothing about rekeys, so nothing speaks against them.
        let mut rekey = of(ProtocolId::GIKE_UPDATE).peekable();
        ciphers && (rekey.peek().is_none() || rekey.any(can_unwrap))
    })
}

fn can_encrypt(proposal: &Proposal, encryption: EspEncryption) -> bool {
    let (id, bits) = match encryption {
        EspEncryption::Aes256Gcm => (EncryptionId::AES_GCM_16, Some(256)),
        EspEncryption::Aes128Gcm => (EncryptionId::AES_GCM_16, Some(128)),
        EspEncryption::ChaCha20Poly1305 => (EncryptionId::CHACHA20_POLY1305, None),
    };
    proposal
        .of_type(TransformType::ENCRYPTION)
        .any(|transform| {
            transform.id == id.0
                && transform.key_length() == bits
                && !transform.has_unknown_attribute()
        })
}

fn can_unwrap(proposal: &Proposal) -> bool {
    proposal
        .of_type(TransformType::KEY_WRAP)
        .any(|transform| transform.id == KeyWrapId::KW_5649_256.0)
}
