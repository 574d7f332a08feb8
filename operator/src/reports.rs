//! What members said about themselves, as far as this replica heard it.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use operator_api::enrolment::MemberReport;
use tokio::sync::broadcast;

/// A pod by name, with the identity that tells it from an earlier pod of that name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

/// One report.
#[derive(Clone, Debug)]
pub struct Reported {
    /// What the member said.
    pub report: MemberReport,
    /// When this replica heard it.
    pub at: Instant,
}

/// The last report of each pod. Clones share one map.
#[derive(Clone, Debug)]
pub struct Reports {
    latest: Arc<RwLock<HashMap<PodKey, Reported>>>,
    changed: broadcast::Sender<PodKey>,
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            latest: Arc::default(),
            changed: broadcast::channel(1024).0,
        }
    }
}

impl Reports {
    /// Remembers `report`. Tells listeners only when it differs from the one before.
    pub fn put(&self, pod: PodKey, report: MemberReport) {
        let mut latest = self
            .latest
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let at = runtime::clock::now();
        let before = latest.insert(
            pod.clone(),
            Reported {
                report: report.clone(),
                at,
            },
        );
        drop(latest);
        if before.is_none_or(|before| before.report != report) {
            // Nobody listens while this replica does not lead.
            let _ = self.changed.send(pod);
        }
    }

    /// The last report of a pod, when it is not older than `age`.
    pub fn get(&self, pod: &PodKey, age: Duration) -> Option<MemberReport> {
        let latest = self
            .latest
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        latest
            .get(pod)
            .filter(|reported| runtime::clock::now().duration_since(reported.at) <= age)
            .map(|reported| reported.report.clone())
    }

    /// Forgets a pod that is gone.
    pub fn forget(&self, pod: &PodKey) {
        self.latest
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .remove(pod);
    }

    /// Pods whose report changed from now on. A listener that falls behind by 1024 is told so.
    pub fn changes(&self) -> broadcast::Receiver<PodKey> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> PodKey {
        PodKey {
            namespace: "wan".to_owned(),
            name: "web-0".to_owned(),
            uid: "1".to_owned(),
        }
    }

    #[test]
    fn listeners_hear_of_changes_only() {
        let reports = Reports::default();
        let mut changes = reports.changes();
        reports.put(pod(), MemberReport::default());
        reports.put(pod(), MemberReport::default());
        assert_eq!(changes.try_recv().ok(), Some(pod()));
        assert!(changes.try_recv().is_err());
        assert!(reports.get(&pod(), Duration::from_secs(60)).is_some());
        reports.forget(&pod());
        assert!(reports.get(&pod(), Duration::from_secs(60)).is_none());
    }
}
