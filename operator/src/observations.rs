//! What the group controller last heard of key servers, for those who report about members.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use keyserver_api::status::MemberRow;

/// Registered members by host name in lower case.
pub type Rows = BTreeMap<String, MemberRow>;

/// Members by namespace and group.
type ByGroup = HashMap<(String, String), Arc<Rows>>;

/// The members of each group, by namespace and name. Clones share them.
#[derive(Clone, Default)]
pub struct Observations {
    rows: Arc<RwLock<ByGroup>>,
}

impl Observations {
    /// Remembers the members of a group; `None` when nobody can be asked. Says whether who is a member changed, or who
    /// lags.
    pub fn put(&self, namespace: &str, group: &str, rows: Option<Arc<Rows>>) -> bool {
        let key = (namespace.to_owned(), group.to_owned());
        let mut all = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        let digest = |rows: &Rows| {
            rows.iter()
                .map(|(name, row)| (name.clone(), row.missed_rekeys > 0))
                .collect::<Vec<_>>()
        };
        let before = match &rows {
            Some(rows) => all.insert(key, rows.clone()),
            None => all.remove(&key),
        };
        before.as_deref().map(digest) != rows.as_deref().map(digest)
    }

    /// The members of a group; `None` while nobody could be asked.
    pub fn get(&self, namespace: &str, group: &str) -> Option<Arc<Rows>> {
        let key = (namespace.to_owned(), group.to_owned());
        let all = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&key).cloned()
    }
}
