//! The GSA_REKEY of a plan: what the members are told (RFC 9838 §2.4.1).

use gikev2::Secret;
use gikev2::rekey::key_tree::KeyTreeError;
use gikev2::rekey::sender::{self, KeyUpdate, NewRekeyKey, RekeyMessage};
use gikev2::wire::{Delete, GroupSecurityAssociation, ProtocolId, SaPolicy, Spi, WrappedKey};

use super::Planner;
use crate::command::{NewRekeySa, Rekey, RekeyDatagrams, RekeyReason};
use crate::error::PlanError;
use crate::group_policy::{self, GroupWide, KeyOfGroup};
use crate::rekey::signing;
use crate::state::group::Group;
use crate::state::rekey_sa::RekeySa;
use crate::state::traffic_key::Associations;

/// Most SPIs in one Delete payload.
const SPIS_PER_DELETE: usize = 256;

/// How a new Rekey SA's key reaches the members that stay.
enum Exclusion {
    /// Nobody is excluded.
    None,
    /// Wrapped for those that stay.
    Wrapped {
        sa_keys: Vec<WrappedKey>,
        wrap_keys: Vec<WrappedKey>,
    },
    /// Nobody stays.
    Everybody,
}

/// Builds the message of `rekey`, which makes `associations` of the group's.
pub(super) fn build(
    planner: &Planner<'_>,
    group: &Group,
    associations: &Associations,
    rekey: &Rekey,
) -> Result<RekeyDatagrams, PlanError> {
    let carrier = group.rekey_sa.as_ref().ok_or(PlanError::NotEstablished)?;
    let signing_key = group
        .signing_key
        .as_ref()
        .ok_or(PlanError::NotEstablished)?;
    let announced = rekey
        .rekey_sa
        .as_ref()
        .filter(|_| rekey.reason != RekeyReason::Epoch);
    let exclusion = announced.map_or(Ok(Exclusion::None), |sa| exclusion(group, sa))?;

    let entries = if announces_traffic_keys(rekey.reason) {
        announced_keys(planner, associations, rekey)
    } else {
        Vec::new()
    };
    let policy = rekey.policy.as_deref().unwrap_or(&group.policy);
    let mut policies: Vec<SaPolicy> = Vec::new();
    if let Some(sa) = announced {
        let begun = RekeySa {
            spi: sa.spi,
            keying_material: sa.keying_material.clone(),
            next_message_id: 0,
            began: planner.time,
            ends: sa.ends,
        };
        policies.push(group_policy::rekey_policy(
            &begun,
            policy,
            planner.time,
            None,
        ));
    }
    policies.extend(
        entries
            .iter()
            .map(|entry| group_policy::data_policy(entry, planner.time)),
    );
    let group_wide = group_policy::group_wide(&GroupWide {
        policy,
        revision: group
            .policy_revision
            .saturating_add(u64::from(rekey.policy.is_some())),
        associations,
        pseudotime_ms: group.pseudotime_ms(planner.time),
        sender: false,
        complete: !is_minimal(planner, rekey.reason),
    });
    let gsa = group_policy::payload(policies, group_wide);

    let excludes_all =
        rekey.reason == RekeyReason::Epoch || matches!(exclusion, Exclusion::Everybody);
    let deletes = if excludes_all {
        vec![Delete::all_data(), Delete::exclusion()]
    } else {
        deletes(rekey)
    };
    let secrets: Vec<(Spi, Secret)> = entries
        .iter()
        .map(|entry| (entry.key.spi.into(), entry.key.keying_material.to_secret()))
        .collect();
    let new_sa_key = announced.map(|sa| (sa.spi, sa.keying_material.to_secret()));
    let auth_key = group
        .next_signing_key
        .as_ref()
        .filter(|_| rekey.adopts_signing_key && !excludes_all);

    let mut keys = KeyUpdate {
        data: secrets.iter().map(|(spi, secret)| (*spi, secret)).collect(),
        auth_key: auth_key.map(|key| key.public_key.as_slice()),
        ..KeyUpdate::default()
    };
    if let Some((spi, secret)) = &new_sa_key {
        let new_key = match exclusion {
            Exclusion::Wrapped { sa_keys, wrap_keys } => {
                keys.wrap_keys = wrap_keys;
                NewRekeyKey::Wrapped(sa_keys)
            }
            Exclusion::None | Exclusion::Everybody => NewRekeyKey::Plain(secret),
        };
        keys.rekey = Some(((*spi).into(), new_key));
    }
    let datagrams = seal(
        fragment_size(planner, group),
        carrier,
        signing_key,
        &deletes,
        excludes_all,
        &gsa,
        keys,
    )?;
    Ok(RekeyDatagrams {
        spi: carrier.spi,
        message_id: carrier.next_message_id,
        datagrams,
    })
}

/// A message is cut only when everybody who is to read it negotiated that; otherwise it is one datagram, which IP
/// may have to cut (RFC 9838 §2.4.1.2).
fn fragment_size(planner: &Planner<'_>, group: &Group) -> Option<usize> {
    group
        .members
        .iter()
        .all(|member| member.fragmentation)
        .then_some(planner.fragment_size)
}

fn seal(
    fragment_size: Option<usize>,
    carrier: &RekeySa,
    signing_key: &crate::state::signing_key::SigningKey,
    deletes: &[Delete],
    only_deletes: bool,
    gsa: &GroupSecurityAssociation,
    keys: KeyUpdate<'_>,
) -> Result<Vec<Vec<u8>>, PlanError> {
    let message = RekeyMessage {
        spi: carrier.spi.into(),
        message_id: carrier.next_message_id,
        gsa: (!only_deletes).then_some(gsa),
        keys: if only_deletes {
            KeyUpdate::default()
        } else {
            keys
        },
        deletes,
        notifies: &[],
    };
    let carrier_keys = signing::rekey_sa_keys(&carrier.keying_material)?;
    let signer = signing::signer(signing_key)?;
    Ok(sender::build(
        &message,
        &carrier_keys,
        signer.as_ref(),
        fragment_size,
    )?)
}

/// A message that changes who can follow must not carry traffic keys: the excluded can still read it
/// (RFC 9838 §3.2.1). A deletion carries nothing else either.
const fn announces_traffic_keys(reason: RekeyReason) -> bool {
    match reason {
        RekeyReason::TrafficKey
        | RekeyReason::Policy
        | RekeyReason::SigningKey
        | RekeyReason::Triggered
        | RekeyReason::Replaced
        | RekeyReason::EvictionTrafficKeys => true,
        RekeyReason::Established
        | RekeyReason::KeyEncryptionKey
        | RekeyReason::Eviction
        | RekeyReason::Epoch => false,
    }
}

/// A planned traffic key needs only itself when everybody has the others.
fn is_minimal(planner: &Planner<'_>, reason: RekeyReason) -> bool {
    match reason {
        RekeyReason::TrafficKey => planner.all_acknowledged,
        RekeyReason::KeyEncryptionKey | RekeyReason::Eviction => true,
        _ => false,
    }
}

fn announced_keys<'a>(
    planner: &Planner<'_>,
    associations: &'a Associations,
    rekey: &Rekey,
) -> Vec<KeyOfGroup<'a>> {
    let mut entries = group_policy::current_and_staged(associations, planner.time);
    if is_minimal(planner, rekey.reason) {
        entries.retain(|entry| {
            rekey
                .traffic_keys
                .iter()
                .any(|key| key.spi == entry.key.spi)
        });
    }
    entries
}

fn deletes(rekey: &Rekey) -> Vec<Delete> {
    let spis: Vec<Spi> = rekey.retired.iter().map(|(spi, _)| (*spi).into()).collect();
    spis.chunks(SPIS_PER_DELETE)
        .map(|spis| Delete::Data {
            protocol: ProtocolId::ESP,
            spis: spis.to_vec(),
        })
        .collect()
}

fn exclusion(group: &Group, sa: &NewRekeySa) -> Result<Exclusion, PlanError> {
    let Some(update) = &sa.tree else {
        return Ok(Exclusion::None);
    };
    let mut tree = group.tree.duplicate()?;
    let change = update.to_change();
    tree.apply(&change)?;
    let keys = match tree.exclusion_keys(&change, &sa.keying_material.to_secret()) {
        Ok(keys) => keys,
        Err(KeyTreeError::Malformed) if tree.leaves().next().is_none() => {
            return Ok(Exclusion::Everybody);
        }
        Err(error) => return Err(error.into()),
    };
    if keys.sa_keys.is_empty() {
        return Ok(Exclusion::Everybody);
    }
    Ok(Exclusion::Wrapped {
        sa_keys: keys.sa_keys,
        wrap_keys: keys.wrap_keys,
    })
}
