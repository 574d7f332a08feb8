//! What a key server's configuration says about itself and the others. It may change while the
//! key server runs.

use std::collections::BTreeSet;

use super::types::KeyServerNode;

/// One of the key servers that form the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    /// Its name.
    pub name: String,
    /// `host:port` of its consensus endpoint.
    pub address: String,
    /// 1 to 100.
    pub priority: u8,
}

/// What the configuration says now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// What this key server tells the others about itself.
    pub own: KeyServerNode,
    /// Who forms the group, in order.
    pub initial_members: Vec<InitialMember>,
}

impl Roster {
    /// Name of the key server that forms the group; empty when nobody is named.
    pub fn founder(&self) -> &str {
        self.initial_members
            .first()
            .map_or("", |member| member.name.as_str())
    }

    /// Whether `name` is one of the configured key servers.
    pub fn names(&self, name: &str) -> bool {
        self.initial_members
            .iter()
            .any(|member| member.name == name)
    }

    /// The configured key servers besides this one.
    pub fn others(&self) -> impl Iterator<Item = &InitialMember> {
        self.initial_members
            .iter()
            .filter(|member| member.name != self.own.name)
    }

    /// Consensus addresses of the configured key servers besides this one.
    pub(super) fn addresses(&self) -> BTreeSet<String> {
        self.others().map(|member| member.address.clone()).collect()
    }
}
