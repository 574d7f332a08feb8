//! Members of a group: one record per registration.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::identity::MemberIdentity;
use crate::log_time::LogTime;
use crate::secret::SecretBytes;

/// A registered member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Its registration ID, unique among all groups and never reused.
    pub registration_id: u64,
    /// Who it is.
    pub identity: MemberIdentity,
    /// Its leaf in the key tree.
    pub leaf: u32,
    /// The epoch it registered in; a member of an earlier epoch has to register again.
    pub epoch: u64,
    /// The key server's address and port it registered at.
    pub local: SocketAddr,
    /// Where its rekeys are sent.
    pub remote: SocketAddr,
    /// Whether it acknowledges rekeys.
    pub acknowledges: bool,
    /// Key of its acknowledgements.
    pub acknowledgement_key: SecretBytes,
    /// Whether it negotiated IKE fragmentation (RFC 7383).
    pub fragmentation: bool,
    /// Its Sender-IDs; empty when it only receives.
    pub sender_ids: Vec<u32>,
    /// When it registered.
    pub registered_at: LogTime,
    /// The same in milliseconds of UNIX time, for display.
    pub registered_unix_ms: u64,
    /// Name of the key server it registered with.
    pub key_server: String,
    /// Rekeys in a row it did not acknowledge.
    pub missed_rekeys: u32,
}

/// The members of one group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Membership {
    members: BTreeMap<u64, Member>,
    by_identity: BTreeMap<MemberIdentity, u64>,
    /// Leaves whose members are gone but know keys that are still in use; freed by the next exclusion.
    departed: BTreeSet<u32>,
    /// Identities that were evicted and may not come back.
    evicted: BTreeSet<MemberIdentity>,
}

impl Membership {
    /// All members, by registration ID.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The member of a registration.
    pub fn get(&self, registration_id: u64) -> Option<&Member> {
        self.members.get(&registration_id)
    }

    /// The member with an identity.
    pub fn by_identity(&self, identity: &MemberIdentity) -> Option<&Member> {
        self.by_identity
            .get(identity)
            .and_then(|id| self.members.get(id))
    }

    /// The member an administrator means: an identity with or without kind, or a registration ID in hexadecimal.
    pub fn named(&self, name: &str) -> Option<&Member> {
        self.iter().find(|member| {
            member.identity.is_named(name) || format!("{:016x}", member.registration_id) == name
        })
    }

    /// Leaves of members that are gone.
    pub fn departed(&self) -> &BTreeSet<u32> {
        &self.departed
    }

    /// Identities that were evicted.
    pub fn evicted(&self) -> &BTreeSet<MemberIdentity> {
        &self.evicted
    }

    pub(super) fn insert(&mut self, member: Member) {
        self.by_identity
            .insert(member.identity.clone(), member.registration_id);
        self.members.insert(member.registration_id, member);
    }

    /// Takes a member out; its leaf stays marked until its keys are replaced.
    pub(super) fn depart(&mut self, registration_id: u64) -> Option<Member> {
        let member = self.take(registration_id)?;
        self.departed.insert(member.leaf);
        Some(member)
    }

    /// Takes a member out whose leaf goes on with another registration.
    pub(super) fn take(&mut self, registration_id: u64) -> Option<Member> {
        let member = self.members.remove(&registration_id)?;
        if self.by_identity.get(&member.identity) == Some(&registration_id) {
            self.by_identity.remove(&member.identity);
        }
        Some(member)
    }

    /// Takes a member out for good.
    pub(super) fn evict(&mut self, registration_id: u64) {
        if let Some(member) = self.take(registration_id) {
            self.evicted.insert(member.identity);
        }
    }

    pub(super) fn admit(&mut self, identity: &MemberIdentity) -> bool {
        self.evicted.remove(identity)
    }

    /// The keys these leaves knew are replaced.
    pub(super) fn freed(&mut self, leaves: impl Iterator<Item = u32>) {
        for leaf in leaves {
            self.departed.remove(&leaf);
        }
    }

    /// A new tree: leaves of the old one mean nothing.
    pub(super) fn forget_departed(&mut self) {
        self.departed.clear();
    }

    pub(super) fn acknowledged(&mut self, silent: &[u64], recipients: impl Iterator<Item = u64>) {
        for registration_id in recipients {
            if let Some(member) = self
                .members
                .get_mut(&registration_id)
                .filter(|member| member.acknowledges)
            {
                member.missed_rekeys = if silent.contains(&registration_id) {
                    member.missed_rekeys.saturating_add(1)
                } else {
                    0
                };
            }
        }
    }
}
