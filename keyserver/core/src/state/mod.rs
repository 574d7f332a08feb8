//! Replicated state: what the committed commands made. The same on every key server, bit for bit.
//!
//! [`State::apply`] is the only way to change it. It reads no clock and draws no randomness; every map is ordered.

pub mod group;
pub mod idempotency;
pub mod key_tree;
pub mod membership;
pub mod rekey_sa;
pub mod sender_id;
pub mod signing_key;
pub mod spi;
pub mod traffic_key;

use std::collections::BTreeMap;

use keyserver_api::policy::GroupPolicy;
use serde::{Deserialize, Serialize};

use self::group::{Group, Moment};
use self::idempotency::RecentOutcomes;
use self::spi::SpiAllocator;
use crate::command::{Action, Command, Rekey};
use crate::error::CodecError;
use crate::log_time::LogTime;
use crate::outcome::{Outcome, Refused};

/// First octet of an encoded state.
const FORMAT: u8 = 2;

/// Longest step a command may move replicated time forward, in milliseconds: 30 days. A longer silence only makes
/// time late, never early.
const MAXIMUM_STEP_MS: u64 = 30 * 86_400_000;

/// Replicated state of a group of cooperative key servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    groups: BTreeMap<u32, Group>,
    spis: SpiAllocator,
    registrations: u64,
    recent: RecentOutcomes,
    time: LogTime,
    unix_ms: u64,
}

impl State {
    /// State before the first command.
    pub fn new() -> Self {
        Self::default()
    }

    /// All groups, by number.
    pub fn groups(&self) -> &BTreeMap<u32, Group> {
        &self.groups
    }

    /// The group of a number.
    pub fn group(&self, group_id: u32) -> Option<&Group> {
        self.groups.get(&group_id)
    }

    /// The group of a name, with its number.
    pub fn group_named(&self, name: &str) -> Option<(u32, &Group)> {
        self.groups
            .iter()
            .find(|(_, group)| group.policy.name == name)
            .map(|(id, group)| (*id, group))
    }

    /// Time of the last command.
    pub fn time(&self) -> LogTime {
        self.time
    }

    /// Wall clock of the proposer of the last command, in milliseconds of UNIX time.
    pub fn unix_ms(&self) -> u64 {
        self.unix_ms
    }

    /// The allocator of data SA SPIs.
    pub fn spis(&self) -> &SpiAllocator {
        &self.spis
    }

    /// The outcome of a command that was applied not long ago.
    pub fn outcome_of(&self, key: &crate::command::CommandKey) -> Option<&Outcome> {
        self.recent.get(key)
    }

    /// The octets of a snapshot. They contain keys.
    ///
    /// # Errors
    /// [`CodecError::Encode`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        crate::snapshot::encode(FORMAT, self)
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    /// [`CodecError`] when it is of another version or damaged.
    pub fn decode(octets: &[u8]) -> Result<Self, CodecError> {
        crate::snapshot::decode(FORMAT, octets)
    }

    /// Applies a committed command. A command that was applied before gives its outcome again and changes nothing.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        if let Some(outcome) = self.recent.get(&command.key) {
            return outcome.clone();
        }
        self.spis.seed(command.key.0);
        if command.time > self.time {
            let limit = if self.time == LogTime::ZERO {
                u64::MAX
            } else {
                MAXIMUM_STEP_MS
            };
            self.time = self
                .time
                .plus_millis(command.time.millis_since(self.time).min(limit));
            self.unix_ms = command.unix_ms;
        }
        let outcome = self.act(&command.action, command.time);
        for group in self.groups.values_mut() {
            group.prune(self.time);
        }
        self.recent.prune(self.time);
        if !matches!(command.action, Action::Tick) {
            self.recent
                .remember(self.time, command.key, outcome.clone());
        }
        outcome
    }

    fn act(&mut self, action: &Action, proposed: LogTime) -> Outcome {
        let moment = Moment {
            time: self.time,
            proposed,
            unix_ms: self.unix_ms,
            next_registration_id: self.registrations.saturating_add(1),
        };
        let not_found = Outcome::Refused(Refused::GroupNotFound);
        match action {
            Action::Tick => Outcome::Done,
            Action::PutGroup(policy) => self.put_group(policy),
            Action::DeleteGroup { group_id } => self
                .groups
                .remove(group_id)
                .map_or(not_found, |_| Outcome::Done),
            Action::SetSigningKey(change) => self
                .groups
                .get_mut(&change.group_id)
                .map_or(not_found, |group| group.set_signing_key(change)),
            Action::Register(request) => {
                let Some(group) = self.groups.get_mut(&request.group_id) else {
                    return not_found;
                };
                let outcome = group.register(request, &moment);
                if let Outcome::Registered {
                    registration_id, ..
                } = outcome
                {
                    self.registrations = registration_id;
                }
                outcome
            }
            Action::RemoveMembers {
                group_id,
                registration_ids,
            } => {
                let Some(group) = self.groups.get_mut(group_id) else {
                    return not_found;
                };
                group.remove_members(registration_ids);
                Outcome::Done
            }
            Action::Admit { group_id, identity } => {
                let Some(group) = self.groups.get_mut(group_id) else {
                    return not_found;
                };
                group.members.admit(identity);
                Outcome::Done
            }
            Action::Rekey(rekey) => self.rekey(rekey, &moment),
            Action::Delivered {
                group_id,
                number,
                silent,
            } => {
                let Some(group) = self.groups.get_mut(group_id) else {
                    return not_found;
                };
                group.delivered(*number, silent);
                Outcome::Done
            }
        }
    }

    fn put_group(&mut self, policy: &GroupPolicy) -> Outcome {
        let named = self.group_named(&policy.name).map(|(id, _)| id);
        if named.is_some_and(|id| id != policy.group_id) {
            return Outcome::Refused(Refused::GroupIdImmutable);
        }
        match self.groups.get_mut(&policy.group_id) {
            Some(group) if group.policy.name != policy.name => {
                Outcome::Refused(Refused::GroupIdTaken)
            }
            Some(group) => group.put_policy(policy),
            None => {
                self.groups
                    .insert(policy.group_id, Group::new(policy.clone()));
                Outcome::Done
            }
        }
    }

    fn rekey(&mut self, rekey: &Rekey, moment: &Moment) -> Outcome {
        let Some(group) = self.groups.get(&rekey.group_id) else {
            return Outcome::Refused(Refused::GroupNotFound);
        };
        if let Err(outcome) = group.check_rekey(rekey) {
            return outcome;
        }
        if !rekey.traffic_keys.is_empty() && rekey.expected.spis_allocated != self.spis.allocated()
        {
            return Outcome::Superseded;
        }
        if let Some(new) = &rekey.rekey_sa {
            let taken = self
                .groups
                .values()
                .filter_map(|group| group.rekey_sa.as_ref())
                .any(|sa| sa.spi == new.spi);
            if taken || !new.spi.is_valid() {
                return Outcome::Refused(Refused::SpiTaken);
            }
        }
        if !self
            .spis
            .allocate(rekey.traffic_keys.iter().map(|key| key.spi))
        {
            return Outcome::Refused(Refused::SpiTaken);
        }
        match self.groups.get_mut(&rekey.group_id) {
            Some(group) => group.rekey(rekey, moment),
            None => Outcome::Refused(Refused::GroupNotFound),
        }
    }
}
