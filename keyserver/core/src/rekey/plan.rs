//! Plans a change of keys: the [`Rekey`] command with its final datagrams, for the state it is planned against.
//!
//! Planning spends all randomness and time; nothing of a plan is used before it is committed.

mod message;
mod timeline;

use gikev2::Entropy;
use keyserver_api::policy::GroupPolicy;

use self::timeline::Timeline;
use crate::command::{Excluded, Expectation, NewAssociation, NewRekeySa, Rekey, RekeyReason};
use crate::error::PlanError;
use crate::group_policy::REKEY_KEYING_MATERIAL_OCTETS;
use crate::log_time::LogTime;
use crate::rekey::schedule::Need;
use crate::secret::SecretBytes;
use crate::state::State;
use crate::state::group::Group;
use crate::state::key_tree::TreeUpdate;
use crate::state::membership::Member;
use crate::state::spi::RekeySaSpi;
use crate::state::traffic_key::Associations;

/// Shortest activation delay, used for the traffic keys after an eviction: the evicted member reads until then.
const EVICTION_ACTIVATION_DELAY_MS: u64 = 1_000;

/// A change somebody wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// What the schedule says.
    Due(Need),
    /// Another policy.
    Policy(Box<GroupPolicy>),
    /// The staged keys become current now; with `replace` all old ones are deleted.
    Trigger {
        /// Whether old keys are deleted.
        replace: bool,
    },
    /// A new key encryption key.
    KeyEncryptionKey,
    /// The exclusion of a member.
    Evict {
        /// Its registration.
        registration_id: u64,
    },
}

/// What a plan needs besides the change.
pub struct Planner<'a> {
    /// The state to plan against.
    pub state: &'a State,
    /// Number of the group.
    pub group_id: u32,
    /// Now.
    pub time: LogTime,
    /// Most octets of a datagram.
    pub fragment_size: usize,
    /// Whether every member is known to have the keys of earlier rekeys, so that this one may leave them out.
    pub all_acknowledged: bool,
}

impl Planner<'_> {
    /// Plans `change`. `None` when there is nothing to do any more.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn plan(
        &self,
        change: &Change,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<Rekey>, PlanError> {
        let Some(group) = self.state.group(self.group_id) else {
            return Ok(None);
        };
        let mut rekey = match self.draft(group, change, entropy)? {
            Some(rekey) => rekey,
            None => return Ok(None),
        };
        let associations = group.associations_after(&rekey);
        if group.rekey_sa.is_some() {
            rekey.message = Some(message::build(self, group, &associations, &rekey)?);
        }
        Ok(Some(rekey))
    }

    fn draft(
        &self,
        group: &Group,
        change: &Change,
        entropy: &mut dyn Entropy,
    ) -> Result<Option<Rekey>, PlanError> {
        let mut rekey = self.empty(group, reason_of(change));
        let policy = &group.policy;
        match change {
            Change::Due(Need::SigningKey) => return Ok(None),
            Change::Due(Need::Establish) => {
                rekey.rekey_sa = Some(self.new_rekey_sa(policy, entropy));
                let associations = self.begin_associations(group, policy, &mut rekey)?;
                self.timeline(&mut rekey, policy, entropy)
                    .every_chain(&associations, self.time)?;
            }
            Change::Due(Need::TrafficKeys) => {
                self.timeline(&mut rekey, policy, entropy)
                    .due_chains(&group.associations)?;
                self.retire_superseded(group, &mut rekey);
                if rekey.traffic_keys.is_empty() {
                    return Ok(None);
                }
            }
            Change::Due(Need::KeyEncryptionKey) | Change::KeyEncryptionKey => {
                self.replace_rekey_sa(group, &[], &mut rekey, entropy)?;
            }
            Change::Due(Need::AdoptSigningKey) => rekey.adopts_signing_key = true,
            Change::Due(Need::Epoch) => self.begin_epoch(group, policy, &mut rekey, entropy)?,
            Change::Due(Need::EvictionTrafficKeys) => {
                let at = u64::from(policy.activation_delay_ms).min(EVICTION_ACTIVATION_DELAY_MS);
                self.replace_traffic_keys(group, at, &mut rekey, entropy)?;
            }
            Change::Trigger { replace: true } => {
                self.replace_traffic_keys(
                    group,
                    u64::from(policy.activation_delay_ms),
                    &mut rekey,
                    entropy,
                )?;
            }
            Change::Trigger { replace: false } => {
                self.timeline(&mut rekey, policy, entropy)
                    .bring_forward(&group.associations)?;
                self.retire_superseded(group, &mut rekey);
            }
            Change::Evict { registration_id } => {
                if group.members.get(*registration_id).is_none() {
                    return Ok(None);
                }
                self.replace_rekey_sa(group, &[*registration_id], &mut rekey, entropy)?;
            }
            Change::Policy(new) => {
                if **new == group.policy {
                    return Ok(None);
                }
                self.change_policy(group, new, &mut rekey, entropy)?;
            }
        }
        Ok(Some(rekey))
    }

    fn empty(&self, group: &Group, reason: RekeyReason) -> Rekey {
        Rekey {
            group_id: self.group_id,
            expected: Expectation {
                generation: group.generation,
                spis_allocated: self.state.spis().allocated(),
                next_key_id: None,
            },
            reason,
            policy: None,
            new_associations: Vec::new(),
            rekey_sa: None,
            traffic_keys: Vec::new(),
            rescheduled: Vec::new(),
            retired: Vec::new(),
            adopts_signing_key: false,
            message: None,
        }
    }

    fn timeline<'t>(
        &'t self,
        rekey: &'t mut Rekey,
        policy: &'t GroupPolicy,
        entropy: &'t mut dyn Entropy,
    ) -> Timeline<'t> {
        Timeline::new(self, rekey, policy, entropy)
    }

    fn new_rekey_sa(&self, policy: &GroupPolicy, entropy: &mut dyn Entropy) -> NewRekeySa {
        NewRekeySa {
            spi: RekeySaSpi::random(entropy),
            keying_material: SecretBytes::random(REKEY_KEYING_MATERIAL_OCTETS, entropy),
            ends: self
                .time
                .plus_millis(u64::from(policy.rekey.kek_lifetime_seconds).saturating_mul(1_000)),
            excluded: Vec::new(),
            tree: None,
        }
    }

    /// A new Rekey SA that neither the `excluded` registrations nor members that left before can follow.
    fn replace_rekey_sa(
        &self,
        group: &Group,
        excluded: &[u64],
        rekey: &mut Rekey,
        entropy: &mut dyn Entropy,
    ) -> Result<(), PlanError> {
        let mut sa = self.new_rekey_sa(&group.policy, entropy);
        let mut leaves = group.members.departed().clone();
        for member in excluded.iter().filter_map(|id| group.members.get(*id)) {
            let Member {
                registration_id,
                local,
                remote,
                ..
            } = *member;
            sa.excluded.push(Excluded {
                registration_id,
                local,
                remote,
            });
            if member.epoch == group.epoch {
                leaves.insert(member.leaf);
            }
        }
        if !leaves.is_empty() {
            let leaves: Vec<u32> = leaves.into_iter().collect();
            let change = group.tree.tree().plan_exclusion(&leaves, entropy)?;
            sa.tree = Some(TreeUpdate::from(&change));
            rekey.expected.next_key_id = Some(group.tree.tree().next_key_id());
        }
        rekey.rekey_sa = Some(sa);
        Ok(())
    }

    /// New current and staged keys everywhere; all others are deleted.
    fn replace_traffic_keys(
        &self,
        group: &Group,
        activation_delay_ms: u64,
        rekey: &mut Rekey,
        entropy: &mut dyn Entropy,
    ) -> Result<(), PlanError> {
        let deletion = self.deletion(&group.policy);
        rekey.retired.extend(
            group
                .associations
                .keys()
                .filter(|key| key.retired.is_none())
                .map(|key| (key.spi, deletion)),
        );
        let first = self.time.plus_millis(activation_delay_ms);
        self.timeline(rekey, &group.policy, entropy)
            .every_chain(&group.associations, first)
    }

    fn begin_epoch(
        &self,
        group: &Group,
        policy: &GroupPolicy,
        rekey: &mut Rekey,
        entropy: &mut dyn Entropy,
    ) -> Result<(), PlanError> {
        rekey.adopts_signing_key = group.next_signing_key.is_some();
        rekey.rekey_sa = Some(self.new_rekey_sa(policy, entropy));
        let associations = self.begin_associations(group, policy, rekey)?;
        self.timeline(rekey, policy, entropy)
            .every_chain(&associations, self.time)
    }

    fn change_policy(
        &self,
        group: &Group,
        new: &GroupPolicy,
        rekey: &mut Rekey,
        entropy: &mut dyn Entropy,
    ) -> Result<(), PlanError> {
        rekey.policy = Some(Box::new(new.clone()));
        if new.sender_id_bits != group.policy.sender_id_bits {
            // The IVs of old and new members would overlap under one key.
            rekey.reason = RekeyReason::Epoch;
            return self.begin_epoch(group, new, rekey, entropy);
        }
        let associations = self.begin_associations(group, new, rekey)?;
        let begun: Vec<u16> = rekey
            .new_associations
            .iter()
            .map(|new| new.number)
            .collect();
        let first = self.time.plus_millis(u64::from(new.activation_delay_ms));
        self.timeline(rekey, new, entropy)
            .chains_of(&associations, first, |number| begun.contains(&number))?;
        let deletion = self.deletion(new);
        for association in associations
            .iter()
            .filter(|association| association.removed)
        {
            let keys = association.chains.values().flat_map(|chain| chain.keys());
            rekey.retired.extend(
                keys.filter(|key| key.retired.is_none())
                    .map(|key| (key.spi, deletion)),
            );
        }
        if new.rekey.transport != group.policy.rekey.transport {
            // Where rekeys come from is part of the Rekey SA's policy. Nobody is excluded here: the message carries
            // traffic keys too (RFC 9838 §3.2.1).
            rekey.rekey_sa = Some(self.new_rekey_sa(new, entropy));
        }
        Ok(())
    }

    /// Numbers the associations that `policy` begins; the associations as they will be.
    fn begin_associations(
        &self,
        group: &Group,
        policy: &GroupPolicy,
        rekey: &mut Rekey,
    ) -> Result<Associations, PlanError> {
        let mut highest = group.associations.highest();
        for association in &policy.security_associations {
            if group.associations.continuing(association).is_none() {
                highest = highest.checked_add(1).ok_or(PlanError::NumbersExhausted)?;
                rekey.new_associations.push(NewAssociation {
                    number: highest,
                    name: association.name.clone(),
                });
            }
        }
        Ok(group.associations_after(rekey))
    }

    /// Deletes keys that no sender uses any more: their successor is active for longer than the deactivation delay.
    fn retire_superseded(&self, group: &Group, rekey: &mut Rekey) {
        let settled = self
            .time
            .minus_millis(u64::from(group.policy.deactivation_delay_ms));
        let deletion = self.deletion(&group.policy);
        for (_, _, chain) in group.associations.chains() {
            let Some(newest) = chain
                .keys()
                .iter()
                .rposition(|key| key.activates <= settled)
            else {
                continue;
            };
            let superseded = chain
                .keys()
                .iter()
                .take(newest)
                .filter(|key| key.retired.is_none());
            rekey
                .retired
                .extend(superseded.map(|key| (key.spi, deletion)));
        }
    }

    fn deletion(&self, policy: &GroupPolicy) -> LogTime {
        self.time
            .plus_millis(u64::from(policy.deactivation_delay_ms))
    }
}

const fn reason_of(change: &Change) -> RekeyReason {
    match change {
        Change::Due(Need::SigningKey | Need::AdoptSigningKey) => RekeyReason::SigningKey,
        Change::Due(Need::Establish) => RekeyReason::Established,
        Change::Due(Need::EvictionTrafficKeys) => RekeyReason::EvictionTrafficKeys,
        Change::Due(Need::Epoch) => RekeyReason::Epoch,
        Change::Due(Need::TrafficKeys) => RekeyReason::TrafficKey,
        Change::Due(Need::KeyEncryptionKey) | Change::KeyEncryptionKey => {
            RekeyReason::KeyEncryptionKey
        }
        Change::Policy(_) => RekeyReason::Policy,
        Change::Trigger { replace: false } => RekeyReason::Triggered,
        Change::Trigger { replace: true } => RekeyReason::Replaced,
        Change::Evict { .. } => RekeyReason::Eviction,
    }
}
