//! Tells users, by Events on pods, why a pod waits for its keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use operator_api::enrolment::{GroupReport, MemberReport};
use operator_core::key_server::events::Notice;

use super::Refused;
use super::caller::Caller;
use crate::events::Events;
use crate::reports::PodKey;

/// How long a pod is refused or waits before that is news: the first moments of a pod are no trouble.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long the same thing is not said again of a pod; it tries again every few seconds.
const QUIET: Duration = Duration::from_secs(60);
/// What a member reports while it registers for the first time.
const UNDER_WAY: &str = "Registering";
/// Pods remembered; beyond that the ones that were told longest ago are forgotten and may be told again early.
const MOST: usize = 4096;

/// What was said of which pod. Clones share it.
#[derive(Clone, Default)]
pub struct Announced {
    last: Arc<Mutex<HashMap<PodKey, Said>>>,
}

/// What is the matter with a pod.
struct Said {
    note: String,
    /// Since when.
    since: Instant,
    /// When it was said.
    at: Option<Instant>,
}

impl Announced {
    /// Says that a pod gets no certificates and no configuration, and why.
    pub(super) fn refused(&self, events: &Events, caller: &Caller, refused: &Refused) {
        self.tell(events, caller, refused.reason, refused.message.clone());
    }

    /// Says that a pod's member holds no keys of a group, and why.
    pub(super) fn report(&self, events: &Events, caller: &Caller, report: &MemberReport) {
        // A first attempt that is under way is no news.
        let waiting = |group: &&GroupReport| {
            !group.registered && !["", UNDER_WAY].contains(&group.reason.as_str())
        };
        let Some(group) = report.groups.iter().find(waiting) else {
            return;
        };
        let note = format!(
            "the member has no keys of group {} yet: {}; until then its traffic is dropped or exposed as `failureMode` says",
            group.group_id, group.reason
        );
        self.tell(events, caller, "NotRegistered", note);
    }

    fn tell(&self, events: &Events, caller: &Caller, reason: &'static str, note: String) {
        if !self.is_news(&caller.key, &note, runtime::clock::now()) {
            return;
        }
        let notice = Notice {
            warning: true,
            reason,
            action: "Enrol",
            note,
        };
        let (events, pod): (Events, Arc<Pod>) = (events.clone(), Arc::clone(&caller.pod));
        tokio::spawn(async move { events.tell(&*pod, &notice).await });
    }

    /// Whether this has been so for a while and was not said a moment ago; remembers that it is said now.
    fn is_news(&self, pod: &PodKey, note: &str, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= MOST && !last.contains_key(pod) {
            let oldest = last.iter().min_by_key(|(_, said)| said.since);
            if let Some(oldest) = oldest.map(|(pod, _)| pod.clone()) {
                last.remove(&oldest);
            }
        }
        let new = || Said {
            note: note.to_owned(),
            since: now,
            at: None,
        };
        let said = last.entry(pod.clone()).or_insert_with(new);
        if said.note != note {
            *said = new();
        }
        let lasting = now.saturating_duration_since(said.since) >= PATIENCE;
        let quiet = said
            .at
            .is_none_or(|at| now.saturating_duration_since(at) >= QUIET);
        if lasting && quiet {
            said.at = Some(now);
        }
        lasting && quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> PodKey {
        PodKey {
            namespace: "wan".to_owned(),
            name: name.to_owned(),
            uid: name.to_owned(),
        }
    }

    #[test]
    fn what_lasts_is_said_once_a_minute_and_something_else_after_a_moment_as_well() {
        let (announced, start) = (Announced::default(), Instant::now());
        let say = |name: &str, note: &str, after: u64| {
            announced.is_news(&pod(name), note, start + Duration::from_secs(after))
        };
        assert!(!say("a", "no key server", 0));
        assert!(say("a", "no key server", 4));
        assert!(!say("a", "no key server", 59));
        assert!(!say("b", "no key server", 59));
        assert!(say("a", "no key server", 64));
        assert!(!say("a", "not selected", 65));
        assert!(say("a", "not selected", 70));
    }

    #[test]
    fn memory_stays_bounded() {
        let (announced, start) = (Announced::default(), Instant::now());
        for number in 0..MOST + 10 {
            let at = start + Duration::from_millis(number as u64);
            announced.is_news(&pod(&number.to_string()), "waits", at);
        }
        assert_eq!(announced.last.lock().expect("no panic").len(), MOST);
    }
}
