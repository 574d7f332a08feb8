//! Traffic encryption keys of a group: one chain per security association and address family.

use std::collections::BTreeMap;

use keyserver_api::policy::{Action, SecurityAssociationPolicy};
use serde::{Deserialize, Serialize};

use super::spi::DataSpi;
use crate::log_time::LogTime;
use crate::secret::SecretBytes;

/// One traffic encryption key (Data-Security SA).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrafficKey {
    /// Its number in the chain, from 1.
    pub number: u64,
    /// SPI.
    pub spi: DataSpi,
    /// Key and salt.
    pub keying_material: SecretBytes,
    /// When senders start to use it.
    pub activates: LogTime,
    /// When it must not be used any more.
    pub ends: LogTime,
    /// When receivers forget it because it was deleted; at or before `ends`.
    pub retired: Option<LogTime>,
}

impl TrafficKey {
    /// When the last receiver forgets it.
    pub fn gone(&self) -> LogTime {
        self.retired
            .map_or(self.ends, |retired| retired.min(self.ends))
    }
}

/// The keys of one security association for one address family, in order of activation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    keys: Vec<TrafficKey>,
    numbered: u64,
}

impl Chain {
    /// All keys that still exist.
    pub fn keys(&self) -> &[TrafficKey] {
        &self.keys
    }

    /// The key senders use at `time`: the newest active one.
    pub fn current(&self, time: LogTime) -> Option<&TrafficKey> {
        self.keys
            .iter()
            .rev()
            .find(|key| key.activates <= time && key.gone() > time)
    }

    /// Keys that become current after `time` and are not deleted.
    pub fn staged(&self, time: LogTime) -> impl Iterator<Item = &TrafficKey> {
        self.keys
            .iter()
            .filter(move |key| key.activates > time && key.retired.is_none())
    }

    /// The key that comes last.
    pub fn last(&self) -> Option<&TrafficKey> {
        self.keys.iter().rev().find(|key| key.retired.is_none())
    }

    pub(super) fn push(
        &mut self,
        spi: DataSpi,
        keying_material: SecretBytes,
        activates: LogTime,
        ends: LogTime,
    ) {
        self.numbered += 1;
        self.keys.push(TrafficKey {
            number: self.numbered,
            spi,
            keying_material,
            activates,
            ends,
            retired: None,
        });
    }
}

/// A security association of the policy in force, or one that just left it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Association {
    /// Its number, never reused in the group.
    pub number: u16,
    /// Its policy. Everything but order and lifetimes is the same as long as the association lives.
    pub policy: SecurityAssociationPolicy,
    /// Whether it left the policy; its keys run out.
    pub removed: bool,
    /// Keys by address family, 4 and 6.
    pub chains: BTreeMap<u8, Chain>,
}

impl Association {
    /// Whether `policy` can go on with this association's keys: only order and lifetimes differ.
    pub fn continues(&self, policy: &SecurityAssociationPolicy) -> bool {
        let own = &self.policy;
        !self.removed
            && own.name == policy.name
            && own.encryption == policy.encryption
            && own.anti_replay == policy.anti_replay
            && own.encapsulation == policy.encapsulation
            && own.rules == policy.rules
    }
}

/// The address families a security association encrypts.
pub fn families(policy: &SecurityAssociationPolicy) -> impl Iterator<Item = u8> + '_ {
    [4_u8, 6].into_iter().filter(|family| {
        policy.rules.iter().any(|rule| {
            rule.action == Action::Permit
                && matches!(rule.source, ipnet::IpNet::V4(_)) == (*family == 4)
        })
    })
}

/// The security associations of a group with their keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Associations {
    by_number: BTreeMap<u16, Association>,
    highest: u16,
}

impl Associations {
    /// All, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Association> {
        self.by_number.values()
    }

    /// Those of the policy in force.
    pub fn in_force(&self) -> impl Iterator<Item = &Association> {
        self.iter().filter(|association| !association.removed)
    }

    /// The association that goes on under `policy`.
    pub fn continuing(&self, policy: &SecurityAssociationPolicy) -> Option<&Association> {
        self.in_force()
            .find(|association| association.continues(policy))
    }

    /// The highest number given.
    pub fn highest(&self) -> u16 {
        self.highest
    }

    /// All chains with the association they belong to and their family.
    pub fn chains(&self) -> impl Iterator<Item = (&Association, u8, &Chain)> {
        self.iter().flat_map(|association| {
            association
                .chains
                .iter()
                .map(move |(family, chain)| (association, *family, chain))
        })
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &TrafficKey> {
        self.chains().flat_map(|(_, _, chain)| chain.keys())
    }

    pub(super) fn key_mut(&mut self, spi: DataSpi) -> Option<&mut TrafficKey> {
        self.by_number
            .values_mut()
            .flat_map(|association| association.chains.values_mut())
            .flat_map(|chain| chain.keys.iter_mut())
            .find(|key| key.spi == spi)
    }

    pub(super) fn chain_mut(&mut self, number: u16, family: u8) -> Option<&mut Chain> {
        let association = self
            .by_number
            .get_mut(&number)
            .filter(|association| !association.removed)?;
        families(&association.policy)
            .any(|other| other == family)
            .then(|| association.chains.entry(family).or_default())
    }

    /// Begins an association; its number must be the next one.
    pub(super) fn begin(&mut self, number: u16, policy: SecurityAssociationPolicy) -> bool {
        if self.highest.checked_add(1) != Some(number) {
            return false;
        }
        self.highest = number;
        self.by_number.insert(
            number,
            Association {
                number,
                policy,
                removed: false,
                chains: BTreeMap::new(),
            },
        );
        true
    }

    /// Takes over order and lifetimes of the associations that go on, and marks the others as removed.
    pub(super) fn follow(&mut self, policies: &[SecurityAssociationPolicy]) {
        for association in self.by_number.values_mut() {
            match policies.iter().find(|policy| association.continues(policy)) {
                Some(policy) => association.policy = policy.clone(),
                None => association.removed = true,
            }
        }
    }

    /// Forgets keys nobody has any more, and removed associations without keys.
    pub(super) fn prune(&mut self, time: LogTime) {
        for association in self.by_number.values_mut() {
            for chain in association.chains.values_mut() {
                chain.keys.retain(|key| key.gone() > time);
            }
        }
        self.by_number.retain(|_, association| {
            !association.removed
                || association
                    .chains
                    .values()
                    .any(|chain| !chain.keys.is_empty())
        });
    }

    /// A new epoch: nothing of the old keys is handed out any more.
    pub(super) fn drop_keys(&mut self) {
        for association in self.by_number.values_mut() {
            association
                .chains
                .values_mut()
                .for_each(|chain| chain.keys.clear());
        }
    }
}
