//! When a group's keys are due for a change. Everything here is a function of replicated state and time, so every
//! new primary goes on where the last one stopped.

use keyserver_api::policy::{GroupPolicy, SecurityAssociationPolicy};

use crate::log_time::LogTime;
use crate::state::group::Group;
use crate::state::rekey_sa::{LAST_MESSAGE_ID, RekeySa};
use crate::state::traffic_key::{Associations, Chain};

/// What is due for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A signing key must be made.
    SigningKey,
    /// First keys.
    Establish,
    /// New traffic keys after an eviction.
    EvictionTrafficKeys,
    /// A new epoch.
    Epoch,
    /// The stored next signing key is to be announced.
    AdoptSigningKey,
    /// Traffic keys for chains that have too few staged ones.
    TrafficKeys,
    /// A new key encryption key.
    KeyEncryptionKey,
}

impl Need {
    /// A fixed word for status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SigningKey => "SigningKey",
            Self::Establish => "Established",
            Self::EvictionTrafficKeys => "EvictionTrafficKeys",
            Self::Epoch => "Epoch",
            Self::AdoptSigningKey => "AdoptSigningKey",
            Self::TrafficKeys => "TrafficKey",
            Self::KeyEncryptionKey => "KeyEncryptionKey",
        }
    }
}

/// What a group needs next and when; something overdue has a time in the past.
pub fn next(group: &Group) -> Option<(LogTime, Need)> {
    let now = LogTime::ZERO;
    let newest_key = group
        .next_signing_key
        .as_ref()
        .or(group.signing_key.as_ref());
    if newest_key.is_none_or(|key| key.algorithm != group.policy.rekey.signature) {
        return Some((now, Need::SigningKey));
    }
    let Some(rekey_sa) = &group.rekey_sa else {
        return Some((now, Need::Establish));
    };
    if group.eviction_pending {
        return Some((now, Need::EvictionTrafficKeys));
    }
    if let (Some(own), Some(next)) = (&group.signing_key, &group.next_signing_key) {
        // A member checks one algorithm from its registration on (RFC 9838 §4.4.2.1.1).
        let need = if own.algorithm == next.algorithm {
            Need::AdoptSigningKey
        } else {
            Need::Epoch
        };
        return Some((now, need));
    }
    if group.epoch_wanted {
        return Some((now, Need::Epoch));
    }
    let traffic = due_chains(group)
        .map(|due| (due, Need::TrafficKeys))
        .min_by_key(|(due, _)| *due);
    let rekey = (
        key_encryption_key_due(group, rekey_sa),
        Need::KeyEncryptionKey,
    );
    Some(
        traffic
            .into_iter()
            .chain([rekey])
            .min_by_key(|(due, _)| *due)
            .unwrap_or(rekey),
    )
}

/// When each chain in force is due.
fn due_chains(group: &Group) -> impl Iterator<Item = LogTime> + '_ {
    chains_in_force(&group.associations).map(|(_, _, _, chain)| chain_due(&group.policy, chain))
}

/// Chains of the policy in force: policy of the association, its number, address family, keys. A chain that never
/// had a key is among them.
pub(super) fn chains_in_force(
    associations: &Associations,
) -> impl Iterator<Item = (&SecurityAssociationPolicy, u16, u8, Option<&Chain>)> {
    associations.in_force().flat_map(|association| {
        crate::state::traffic_key::families(&association.policy).map(move |family| {
            (
                &association.policy,
                association.number,
                family,
                association.chains.get(&family),
            )
        })
    })
}

/// When the successor of a key that ends at `ends` becomes current: the key still opens packets for the deactivation
/// delay after that.
pub(super) fn succession(group: &GroupPolicy, ends: LogTime) -> LogTime {
    ends.minus_millis(u64::from(group.deactivation_delay_ms))
}

/// How long before its use a key is sent when none is staged.
fn lead_ms(group: &GroupPolicy) -> u64 {
    u64::from(group.rekey.lead_time_seconds)
        .saturating_mul(1_000)
        .max(u64::from(group.activation_delay_ms))
}

/// When a chain needs a further key. With *k* staged keys that is when the first of the last *k* becomes current.
pub(super) fn chain_due(group: &GroupPolicy, chain: Option<&Chain>) -> LogTime {
    let live: Vec<_> = chain
        .into_iter()
        .flat_map(Chain::keys)
        .filter(|key| key.retired.is_none())
        .collect();
    let Some(last) = live.last() else {
        return LogTime::ZERO;
    };
    let prestaged = usize::from(group.prestaged_keys);
    match prestaged.checked_sub(1) {
        None => succession(group, last.ends).minus_millis(lead_ms(group)),
        Some(_) => live
            .len()
            .checked_sub(prestaged)
            .map_or(LogTime::ZERO, |index| live[index].activates),
    }
}

fn key_encryption_key_due(group: &Group, sa: &RekeySa) -> LogTime {
    if group.exclusion_wanted || sa.next_message_id >= LAST_MESSAGE_ID {
        return LogTime::ZERO;
    }
    let life = sa.ends.millis_since(sa.began);
    let lead = u64::from(group.policy.rekey.lead_time_seconds)
        .saturating_mul(1_000)
        .min(life / 2);
    sa.ends.minus_millis(lead)
}
