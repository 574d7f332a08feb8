//! One group in replicated state, and how commands change it.

use std::collections::BTreeMap;

use keyserver_api::policy::GroupPolicy;
use serde::{Deserialize, Serialize};

use super::key_tree::GroupTree;
use super::membership::{Member, Membership};
use super::rekey_sa::{RekeySa, SentRekey, SentRekeys};
use super::sender_id::SenderIds;
use super::signing_key::SigningKey;
use super::traffic_key::Associations;
use crate::command::{Register, Rekey, RekeyDatagrams, RekeyReason, SetSigningKey};
use crate::log_time::LogTime;
use crate::outcome::{Outcome, Refused};

/// One group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The policy in force.
    pub policy: GroupPolicy,
    /// Raised with every change of the policy.
    pub policy_revision: u64,
    /// Raised when everybody has to register again.
    pub epoch: u64,
    /// Raised with every change of keys, policy or signing key.
    pub generation: u64,
    /// Signs rekeys.
    pub signing_key: Option<SigningKey>,
    /// Will sign rekeys once a rekey has told the members.
    pub next_signing_key: Option<SigningKey>,
    /// The Rekey SA; `None` until the group has keys.
    pub rekey_sa: Option<RekeySa>,
    /// Security associations with their traffic keys.
    pub associations: Associations,
    /// Key tree.
    pub tree: GroupTree,
    /// Members.
    pub members: Membership,
    /// Sender-IDs of this epoch.
    pub sender_ids: SenderIds,
    /// Last rekeys.
    pub sent: SentRekeys,
    /// A member was evicted and the new traffic keys have not been sent yet.
    pub eviction_pending: bool,
    /// A registration found no Sender-ID left.
    pub epoch_wanted: bool,
    /// A registration found no leaf left, and there are leaves of members that are gone.
    pub exclusion_wanted: bool,
    /// Pseudotime is zero here; `None` before the first member.
    pub pseudotime_origin: Option<LogTime>,
    /// Rekeys by reason.
    pub rekeys: BTreeMap<RekeyReason, u64>,
}

/// What a change needs to know from outside the group.
pub(super) struct Moment {
    pub(super) time: LogTime,
    /// When the command was proposed, as its proposer counted.
    pub(super) proposed: LogTime,
    pub(super) unix_ms: u64,
    pub(super) next_registration_id: u64,
}

impl Group {
    pub(super) fn new(policy: GroupPolicy) -> Self {
        Self {
            policy,
            policy_revision: 1,
            epoch: 1,
            generation: 1,
            signing_key: None,
            next_signing_key: None,
            rekey_sa: None,
            associations: Associations::default(),
            tree: GroupTree::default(),
            members: Membership::default(),
            sender_ids: SenderIds::default(),
            sent: SentRekeys::default(),
            eviction_pending: false,
            epoch_wanted: false,
            exclusion_wanted: false,
            pseudotime_origin: None,
            rekeys: BTreeMap::new(),
        }
    }

    /// Group pseudotime in milliseconds at `time`.
    pub fn pseudotime_ms(&self, time: LogTime) -> u64 {
        self.pseudotime_origin
            .map_or(0, |origin| time.millis_since(origin))
    }

    /// Members of this epoch.
    pub fn current_members(&self) -> impl Iterator<Item = &Member> {
        self.members
            .iter()
            .filter(|member| member.epoch == self.epoch)
    }

    /// Sets the policy of a group without keys.
    pub(super) fn put_policy(&mut self, policy: &GroupPolicy) -> Outcome {
        if self.rekey_sa.is_some() {
            // The proposer saw a group without keys; now a rekey has to carry the policy to the members.
            return if self.policy == *policy {
                Outcome::Done
            } else {
                Outcome::Superseded
            };
        }
        if self.policy != *policy {
            self.policy = policy.clone();
            self.policy_revision += 1;
            self.generation += 1;
        }
        Outcome::Done
    }

    /// Sets the key of a group without keys; otherwise stores it until a rekey tells the members.
    pub(super) fn set_signing_key(&mut self, change: &SetSigningKey) -> Outcome {
        if let Some(own) = &self.signing_key {
            if own.label == change.label && own.public_key == change.public_key {
                return Outcome::Done;
            }
            if !change.overwrite && own.label == change.label && own.algorithm == change.algorithm {
                return Outcome::Refused(Refused::SigningKeyConflict);
            }
        }
        let key = SigningKey {
            label: change.label.clone(),
            algorithm: change.algorithm,
            private_key: change.private_key.clone(),
            public_key: change.public_key.clone(),
        };
        if self.rekey_sa.is_some() {
            self.next_signing_key = Some(key);
        } else {
            self.signing_key = Some(key);
        }
        self.generation += 1;
        Outcome::Done
    }

    pub(super) fn register(&mut self, request: &Register, moment: &Moment) -> Outcome {
        if self.rekey_sa.is_none() {
            return Outcome::Refused(Refused::NoKeys);
        }
        if self.members.evicted().contains(&request.identity) {
            return Outcome::Refused(Refused::Evicted);
        }
        // A command whose fate was unknown may come into the log after its member gave up and registered elsewhere. It
        // must not take the place of the registration that the member holds.
        let known = self.members.by_identity(&request.identity);
        if known.is_some_and(|known| moment.proposed < known.registered_at) {
            return Outcome::Refused(Refused::Overtaken);
        }
        let mut sender_id_counter = self.sender_ids.clone();
        let Some(sender_ids) =
            sender_id_counter.grant(request.sender_ids, self.policy.sender_id_bits)
        else {
            self.epoch_wanted = true;
            return Outcome::Refused(Refused::SenderIdsExhausted);
        };
        let previous = self
            .members
            .by_identity(&request.identity)
            .map(|m| (m.registration_id, m.leaf, m.epoch));
        let leaf = match previous {
            Some((_, leaf, epoch)) if epoch == self.epoch => {
                self.tree.rejoin(leaf, &request.tree_entropy).map(|()| leaf)
            }
            _ => self.tree.join(&request.tree_entropy),
        };
        let Some(leaf) = leaf else {
            self.exclusion_wanted = !self.members.departed().is_empty();
            return Outcome::Refused(Refused::GroupFull);
        };
        self.sender_ids = sender_id_counter;
        let replaced = previous
            .and_then(|(id, _, _)| self.members.take(id))
            .map(|member| member.registration_id);
        self.members.insert(Member {
            registration_id: moment.next_registration_id,
            identity: request.identity.clone(),
            leaf,
            epoch: self.epoch,
            local: request.local,
            remote: request.remote,
            acknowledges: request.acknowledges,
            acknowledgement_key: request.acknowledgement_key.clone(),
            fragmentation: request.fragmentation,
            sender_ids,
            registered_at: moment.time,
            registered_unix_ms: moment.unix_ms,
            key_server: request.key_server.clone(),
            missed_rekeys: 0,
        });
        self.pseudotime_origin.get_or_insert(moment.time);
        Outcome::Registered {
            registration_id: moment.next_registration_id,
            replaced,
        }
    }

    pub(super) fn remove_members(&mut self, registration_ids: &[u64]) {
        for id in registration_ids {
            let outdated = self
                .members
                .get(*id)
                .is_some_and(|member| member.epoch != self.epoch);
            if outdated {
                self.members.take(*id)
            } else {
                self.members.depart(*id)
            };
        }
    }

    pub(super) fn delivered(&mut self, number: u64, silent: &[u64]) {
        let Some(rekey) = self.sent.finish(number, silent.len()).cloned() else {
            return;
        };
        let (outdated, told): (Vec<_>, Vec<_>) = self
            .members
            .iter()
            .filter(|member| rekey.addresses(member))
            .map(|member| (member.registration_id, member.epoch))
            .partition(|(_, epoch)| *epoch != self.epoch);
        // Whoever belongs to an earlier epoch was told to register again, or cannot be reached.
        for (id, _) in outdated {
            self.members.take(id);
        }
        self.members
            .acknowledged(silent, told.into_iter().map(|(id, _)| id));
        self.sent.forget_delivered();
    }

    /// Whether a rekey can be carried out: it is for this state and does not contradict itself.
    pub(super) fn check_rekey(&self, rekey: &Rekey) -> Result<(), Outcome> {
        let inconsistent = Err(Outcome::Refused(Refused::Inconsistent));
        if rekey.expected.generation != self.generation
            || rekey
                .expected
                .next_key_id
                .is_some_and(|id| id != self.tree.tree().next_key_id())
        {
            return Err(Outcome::Superseded);
        }
        match (&self.rekey_sa, &rekey.message) {
            (None, None)
                if rekey.rekey_sa.is_some() && rekey.reason == RekeyReason::Established => {}
            (Some(sa), Some(message))
                if sa.spi == message.spi && sa.next_message_id == message.message_id => {}
            (Some(_), Some(_)) => return Err(Outcome::Superseded),
            _ => return inconsistent,
        }
        if rekey.reason == RekeyReason::Epoch && rekey.rekey_sa.is_none() {
            return inconsistent;
        }
        // Somebody who cannot take fragments came between plan and commit.
        let cut = rekey.message.as_ref().is_some_and(RekeyDatagrams::is_cut);
        if cut && self.members.iter().any(|member| !member.fragmentation) {
            return Err(Outcome::Superseded);
        }
        let starts = |key: &crate::command::NewTrafficKey| {
            let known = rekey
                .new_associations
                .iter()
                .any(|new| new.number == key.association)
                || self
                    .associations
                    .in_force()
                    .any(|association| association.number == key.association);
            known && [4, 6].contains(&key.family) && key.activates < key.ends
        };
        if !rekey.traffic_keys.iter().all(starts) {
            return inconsistent;
        }
        let policy = rekey.policy.as_deref().unwrap_or(&self.policy);
        let numbers =
            (self.associations.highest().saturating_add(1)..).zip(&rekey.new_associations);
        for (number, new) in numbers {
            if number != new.number
                || !policy
                    .security_associations
                    .iter()
                    .any(|sa| sa.name == new.name)
            {
                return inconsistent;
            }
        }
        Ok(())
    }

    /// Carries out a rekey that [`Self::check_rekey`] accepted.
    pub(super) fn rekey(&mut self, rekey: &Rekey, moment: &Moment) -> Outcome {
        let told_epoch = self.epoch;
        self.associations = self.associations_after(rekey);
        if let Some(policy) = &rekey.policy {
            self.policy = policy.as_ref().clone();
            self.policy_revision += 1;
        }
        if rekey.reason == RekeyReason::Epoch {
            self.begin_epoch();
        }
        if rekey.adopts_signing_key
            && let Some(key) = self.next_signing_key.take()
        {
            self.signing_key = Some(key);
        }
        if let (Some(sa), Some(_)) = (&mut self.rekey_sa, &rekey.message) {
            sa.next_message_id = sa.next_message_id.saturating_add(1);
        }
        if let Some(new) = &rekey.rekey_sa {
            for excluded in &new.excluded {
                self.members.evict(excluded.registration_id);
            }
            if let Some(update) = &new.tree {
                // Cannot fail: the Key ID it was planned for is part of the expectation.
                if self.tree.apply(update).is_ok() {
                    self.members.freed(update.removed_leaves());
                    self.exclusion_wanted = false;
                }
            }
            self.rekey_sa = Some(RekeySa {
                spi: new.spi,
                keying_material: new.keying_material.clone(),
                next_message_id: 0,
                began: moment.time,
                ends: new.ends,
            });
        }
        match rekey.reason {
            RekeyReason::Eviction => self.eviction_pending = true,
            RekeyReason::EvictionTrafficKeys | RekeyReason::Epoch => self.eviction_pending = false,
            _ => {}
        }
        self.generation += 1;
        let number = rekey.message.as_ref().map(|message| {
            *self.rekeys.entry(rekey.reason).or_default() += 1;
            let mut sent = SentRekey {
                number: self.sent.next_number(),
                reason: rekey.reason,
                message: message.clone(),
                committed: moment.time,
                committed_unix_ms: moment.unix_ms,
                epoch: told_epoch,
                before_registration: moment.next_registration_id,
                addressed: 0,
                silent: 0,
                delivered: false,
            };
            let addressed = self
                .members
                .iter()
                .filter(|member| sent.addresses(member))
                .count();
            sent.addressed = u32::try_from(addressed).unwrap_or(u32::MAX);
            sent.delivered = addressed == 0;
            let number = sent.number;
            self.sent.push(sent);
            number
        });
        Outcome::Rekeyed {
            generation: self.generation,
            number,
        }
    }

    /// The security associations with their keys as `rekey` makes them.
    pub(crate) fn associations_after(&self, rekey: &Rekey) -> Associations {
        let policies = &rekey
            .policy
            .as_deref()
            .unwrap_or(&self.policy)
            .security_associations;
        let mut after = self.associations.clone();
        if rekey.reason == RekeyReason::Epoch {
            after.drop_keys();
        }
        after.follow(policies);
        for new in &rekey.new_associations {
            if let Some(policy) = policies.iter().find(|policy| policy.name == new.name) {
                after.begin(new.number, policy.clone());
            }
        }
        for change in &rekey.rescheduled {
            if let Some(key) = after.key_mut(change.spi) {
                key.activates = change.activates;
                key.ends = change.ends;
            }
        }
        for (spi, at) in &rekey.retired {
            if let Some(key) = after.key_mut(*spi) {
                key.retired = Some(*at);
            }
        }
        for new in &rekey.traffic_keys {
            if let Some(chain) = after.chain_mut(new.association, new.family) {
                chain.push(
                    new.spi,
                    new.keying_material.clone(),
                    new.activates,
                    new.ends,
                );
            }
        }
        after
    }

    /// Everybody is out: their keys, leaves and Sender-IDs mean nothing any more.
    fn begin_epoch(&mut self) {
        self.epoch += 1;
        self.epoch_wanted = false;
        self.sender_ids = SenderIds::default();
        self.tree = GroupTree::default();
        self.members.forget_departed();
    }

    pub(super) fn prune(&mut self, time: LogTime) {
        self.associations.prune(time);
    }
}
