//! Key servers with an empty data directory that ask to be taken in.
//!
//! A grown StatefulSet starts a replica before every other one has read the new configuration;
//! the new one is known from its own words.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::types::{Incarnation, KeyServerNode};

/// How long a caller is remembered after its last word. It speaks about twice a second.
const REMEMBERED: Duration = Duration::from_secs(10);
/// Most callers remembered; a group has at most eight key servers.
const MOST: usize = 16;

/// Who asked to be taken in lately. Callers are authenticated by the transport before.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By consensus address: since when, and the name.
    calls: BTreeMap<String, (Instant, String)>,
    /// A formation that spoke to this key server while its own data directory is empty.
    formed: Option<Incarnation>,
}

impl Callers {
    /// `node` asked at `now`.
    pub(crate) fn note(&self, now: Instant, node: KeyServerNode) {
        let mut inner = self.inner();
        inner.calls.retain(|_, (at, _)| fresh(now, *at));
        if inner.calls.len() < MOST || inner.calls.contains_key(&node.raft_address) {
            inner.calls.insert(node.raft_address, (now, node.name));
        }
    }

    /// Addresses and names of those that asked lately.
    pub(crate) fn recent(&self, now: Instant) -> Vec<(String, String)> {
        let inner = self.inner();
        let recent = inner.calls.iter().filter(|(_, (at, _))| fresh(now, *at));
        recent
            .map(|(address, (_, name))| (address.clone(), name.clone()))
            .collect()
    }

    /// A key server of a formed group asked who this one is.
    pub(crate) fn heard_formed(&self, incarnation: Incarnation) {
        self.inner().formed = Some(incarnation);
    }

    /// The formed group that spoke to this key server, if one did.
    pub(crate) fn formed(&self) -> Option<Incarnation> {
        self.inner().formed
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fresh(now: Instant, at: Instant) -> bool {
    now.saturating_duration_since(at) < REMEMBERED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: usize) -> KeyServerNode {
        KeyServerNode {
            name: format!("ks-{number}"),
            raft_address: format!("ks-{number}.ks:9443"),
            ..KeyServerNode::default()
        }
    }

    #[test]
    fn a_caller_is_forgotten_when_it_falls_silent_and_memory_stays_bounded() {
        let callers = Callers::default();
        let start = runtime::clock::now();
        for number in 0..MOST + 5 {
            callers.note(start, node(number));
        }
        assert_eq!(callers.recent(start).len(), MOST);
        callers.note(start + REMEMBERED, node(0));
        assert_eq!(
            callers.recent(start + REMEMBERED),
            [("ks-0.ks:9443".to_owned(), "ks-0".to_owned())]
        );
    }
}
