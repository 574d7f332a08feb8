//! What the key server did and refused: audit log, metrics, and the signing keys it asks for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gikev2::responder::RejectReason;
use keyserver_core::audit::AuditEvent;

use crate::metrics::{Metrics, ReasonLabel, ResultLabel};

/// Most registrations and rekeys whose begin is remembered for the metrics.
const MOST_REMEMBERED: usize = 4096;
/// After which the begin of one that never ended is forgotten.
const LONGEST: Duration = Duration::from_secs(60);
/// Peers that do not prove who they are can be many; the log tells of one in this time, the metrics count all.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// A signing key that has to be made.
pub(super) struct SigningKeyWanted {
    pub(super) group_id: u32,
    pub(super) group: String,
    pub(super) algorithm: keyserver_api::policy::SignatureAlgorithm,
}

/// Writes the audit log and keeps the figures that come from it.
pub(super) struct Journal {
    metrics: Metrics,
    registrations: Begins<SocketAddr>,
    rekeys: Begins<(String, u32)>,
    told: Option<Instant>,
}

impl Journal {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            registrations: Begins::default(),
            rekeys: Begins::default(),
            told: None,
        }
    }

    /// Whether the log may tell of one more peer that did not prove who it is.
    fn may_tell(&mut self, now: Instant) -> bool {
        let due = self
            .told
            .is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if due {
            self.told = Some(now);
        }
        due
    }

    /// A datagram that opens a registration came from `remote`.
    pub(super) fn registration_begins(&mut self, now: Instant, remote: SocketAddr) {
        self.registrations.begin(now, remote);
    }

    /// Records `event`; gives back what it asks for.
    pub(super) fn record(&mut self, now: Instant, event: AuditEvent) -> Option<SigningKeyWanted> {
        let code = event.code();
        match event {
            AuditEvent::Registered {
                group,
                identity,
                registration_id,
                remote,
                sender_ids,
            } => {
                self.registered(now, &remote, "granted");
                tracing::info!(code, group, identity, registration = format!("{registration_id:016x}"), %remote, ?sender_ids, "member registered");
            }
            AuditEvent::Refused {
                group,
                identity,
                remote,
                cause,
            } => {
                self.registered(now, &remote, "refused");
                self.rejected(cause.code());
                tracing::info!(code, group, identity, %remote, cause = cause.code(), "registration refused");
            }
            AuditEvent::Authenticated { identity, remote } => {
                tracing::info!(code, identity, %remote, "peer authenticated");
            }
            AuditEvent::Rejected {
                remote,
                identity,
                reason,
            } => {
                self.rejected(reason.label());
                if matches!(reason, RejectReason::Authentication(_)) && self.may_tell(now) {
                    tracing::warn!(code, %remote, identity, cause = chain(&reason), "peer refused");
                } else {
                    // Anybody can cause one of these with a single datagram.
                    tracing::debug!(code, %remote, identity, ?reason, "message rejected");
                }
            }
            AuditEvent::Left {
                group,
                identity,
                remote,
                policy_unusable,
            } => {
                if policy_unusable {
                    tracing::warn!(code, group, identity, %remote, "a member cannot use the group's policy");
                } else {
                    tracing::info!(code, group, identity, %remote, "member leaves");
                }
            }
            AuditEvent::Removed {
                group,
                registration_ids,
            } => {
                tracing::info!(
                    code,
                    group,
                    members = registration_ids.len(),
                    "members removed"
                );
            }
            AuditEvent::Rekeyed {
                group,
                reason,
                message_id,
                members,
                datagrams,
            } => {
                tracing::info!(
                    code,
                    group,
                    reason = reason.as_str(),
                    message_id,
                    members,
                    datagrams,
                    "rekey committed"
                );
                self.rekeys.begin(now, (group, message_id));
            }
            AuditEvent::Acknowledged {
                group,
                registration_id,
                message_id,
            } => {
                tracing::debug!(
                    code,
                    group,
                    registration = format!("{registration_id:016x}"),
                    message_id,
                    "rekey acknowledged"
                );
                if let Some(took) = self.rekeys.since(now, &(group, message_id)) {
                    self.metrics
                        .acknowledgement_seconds
                        .observe(took.as_secs_f64());
                }
            }
            AuditEvent::Delivered {
                group,
                message_id,
                addressed,
                silent,
            } => {
                let result = if silent == 0 {
                    "acknowledged"
                } else {
                    "silent_members"
                };
                self.metrics
                    .rekeys
                    .get_or_create(&ResultLabel { result })
                    .inc();
                tracing::info!(
                    code,
                    group,
                    message_id,
                    addressed,
                    silent,
                    "rekey delivered"
                );
                self.rekeys.end(&(group, message_id));
            }
            AuditEvent::PlanFailed { group, error } => {
                self.metrics
                    .rekeys
                    .get_or_create(&ResultLabel { result: "failed" })
                    .inc();
                tracing::warn!(code, group, %error, "a rekey could not be planned; it is tried again");
            }
            AuditEvent::SigningKeyNeeded {
                group_id,
                group,
                algorithm,
            } => {
                tracing::info!(
                    code,
                    group,
                    ?algorithm,
                    "generating the signing key of a group"
                );
                return Some(SigningKeyWanted {
                    group_id,
                    group,
                    algorithm,
                });
            }
        }
        None
    }

    fn registered(&mut self, now: Instant, remote: &SocketAddr, result: &'static str) {
        if let Some(took) = self.registrations.since(now, remote) {
            self.metrics
                .registration_seconds
                .get_or_create(&ResultLabel { result })
                .observe(took.as_secs_f64());
        }
        self.registrations.end(remote);
    }

    fn rejected(&self, reason: &'static str) {
        self.metrics
            .registration_rejected
            .get_or_create(&ReasonLabel { reason })
            .inc();
    }
}

/// When things began that may never end; bounded.
struct Begins<K> {
    begun: BTreeMap<K, Instant>,
}

impl<K> Default for Begins<K> {
    fn default() -> Self {
        Self {
            begun: BTreeMap::new(),
        }
    }
}

impl<K: Ord> Begins<K> {
    fn begin(&mut self, now: Instant, key: K) {
        if self.begun.len() >= MOST_REMEMBERED {
            self.begun.retain(|_, at| now.duration_since(*at) < LONGEST);
        }
        if self.begun.len() < MOST_REMEMBERED {
            self.begun.entry(key).or_insert(now);
        }
    }

    fn since(&self, now: Instant, key: &K) -> Option<Duration> {
        self.begun.get(key).map(|at| now.duration_since(*at))
    }

    fn end(&mut self, key: &K) {
        self.begun.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ends_is_forgotten_and_memory_stays_bounded() {
        let start = runtime::clock::now();
        let mut begins = Begins::default();
        for key in 0..MOST_REMEMBERED {
            begins.begin(start, key);
        }
        begins.begin(start, MOST_REMEMBERED);
        assert_eq!(begins.since(start, &MOST_REMEMBERED), None);
        begins.begin(start + LONGEST, MOST_REMEMBERED);
        assert_eq!(begins.begun.len(), 1);
    }
}
