//! What a key server tells Prometheus. Labels come from closed lists and group names only.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use keyserver_api::status::GroupStatus;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Label of a figure that exists once per group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct GroupLabel {
    /// Name of the group.
    pub group: String,
}

/// Label of a figure with a result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// A stable word.
    pub result: &'static str,
}

/// Label of a figure with a reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// A stable word.
    pub reason: &'static str,
}

/// Label of a count of key servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StateLabel {
    /// `reachable` or `unreachable`.
    pub state: &'static str,
}

/// Label of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct UseLabel {
    /// What the certificate is for.
    pub r#use: &'static str,
}

/// All figures of one key server; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// 1 while this key server is primary.
    pub primary: Gauge,
    /// Term of the consensus.
    pub term: Gauge,
    /// Log entries that are not applied yet.
    pub commit_lag: Gauge,
    /// Voting key servers, by whether the primary reaches them; nothing elsewhere.
    pub voters: Family<StateLabel, Gauge>,
    /// Connections and messages between key servers that were refused.
    pub peers_refused: Counter,
    /// Members of each group.
    pub members: Family<GroupLabel, Gauge>,
    /// Sender-IDs each group can still grant.
    pub sender_ids_free: Family<GroupLabel, Gauge>,
    /// Sender-IDs each group can grant in an epoch.
    pub sender_ids_capacity: Family<GroupLabel, Gauge>,
    /// When the next planned rekey of each group is due, in seconds of UNIX time.
    pub next_rekey: Family<GroupLabel, Gauge<f64, AtomicU64>>,
    /// When the last key a member can hold ends, in seconds of UNIX time.
    pub traffic_key_expiry: Family<GroupLabel, Gauge<f64, AtomicU64>>,
    /// Rekeys, by how they ended.
    pub rekeys: Family<ResultLabel, Counter>,
    /// From commit of a rekey to each acknowledgement.
    pub acknowledgement_seconds: Histogram,
    /// From the first datagram of a registration to its end.
    pub registration_seconds: Family<ResultLabel, Histogram>,
    /// Registrations and messages that were refused.
    pub registration_rejected: Family<ReasonLabel, Counter>,
    /// When each certificate in use ends, in seconds of UNIX time.
    pub certificate_expiry: Family<UseLabel, Gauge>,
}

impl Metrics {
    /// Makes the figures and the registry that publishes them under `getvpn_`.
    pub fn new() -> (Self, Arc<Registry>) {
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let metrics = Self {
            primary: Gauge::default(),
            term: Gauge::default(),
            commit_lag: Gauge::default(),
            voters: Family::default(),
            peers_refused: Counter::default(),
            members: Family::default(),
            sender_ids_free: Family::default(),
            sender_ids_capacity: Family::default(),
            next_rekey: Family::default(),
            traffic_key_expiry: Family::default(),
            rekeys: Family::default(),
            acknowledgement_seconds: seconds(),
            registration_seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 16))
            }),
            registration_rejected: Family::default(),
            certificate_expiry: Family::default(),
        };
        let mut registry = Registry::with_prefix("getvpn");
        let all = metrics.clone();
        registry.register(
            "keyserver_primary",
            "1 while this key server is primary",
            all.primary,
        );
        registry.register("keyserver_raft_term", "Term of the consensus", all.term);
        registry.register(
            "keyserver_raft_commit_lag_entries",
            "Log entries that are not applied here yet",
            all.commit_lag,
        );
        registry.register(
            "keyserver_voters",
            "Voting key servers by whether the primary reaches them; only the primary says so",
            all.voters,
        );
        registry.register(
            "keyserver_peers_refused",
            "Connections and messages that did not come from a key server of this group",
            all.peers_refused,
        );
        registry.register(
            "keyserver_members",
            "Members registered with a group",
            all.members,
        );
        registry.register(
            "sender_ids_free",
            "Sender-IDs a group can grant before a new epoch",
            all.sender_ids_free,
        );
        registry.register(
            "sender_ids_capacity",
            "Sender-IDs a group can grant in one epoch",
            all.sender_ids_capacity,
        );
        registry.register(
            "next_rekey_timestamp_seconds",
            "When the next planned rekey of a group is due",
            all.next_rekey,
        );
        registry.register(
            "traffic_key_expiry_timestamp_seconds",
            "When the last traffic key members hold ends",
            all.traffic_key_expiry,
        );
        registry.register("rekey", "Rekeys by result", all.rekeys);
        registry.register(
            "rekey_acknowledgement_seconds",
            "From commit of a rekey to an acknowledgement of it",
            all.acknowledgement_seconds,
        );
        registry.register(
            "registration_seconds",
            "From the first datagram of a registration to its end",
            all.registration_seconds,
        );
        registry.register(
            "registration_rejected",
            "Registrations and messages that were refused",
            all.registration_rejected,
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When a certificate in use ends",
            all.certificate_expiry,
        );
        registry.register(
            "build",
            "What runs",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        (metrics, Arc::new(registry))
    }

    /// Takes over how many voting key servers the primary reaches, and does not; `None` where nobody knows.
    pub fn observe_voters(&self, voters: Option<(usize, usize)>) {
        self.voters.clear();
        let Some((reachable, unreachable)) = voters else {
            return;
        };
        for (state, count) in [("reachable", reachable), ("unreachable", unreachable)] {
            self.voters
                .get_or_create(&StateLabel { state })
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Takes the figures of all groups over from their status.
    ///
    /// `unix_seconds` is the present wall-clock time.
    pub fn observe_groups(&self, groups: &[GroupStatus], unix_seconds: f64) {
        self.members.clear();
        self.sender_ids_free.clear();
        self.sender_ids_capacity.clear();
        self.next_rekey.clear();
        self.traffic_key_expiry.clear();
        for group in groups {
            let label = GroupLabel {
                group: group.name.clone(),
            };
            self.members
                .get_or_create(&label)
                .set(i64::from(group.members));
            let free = group
                .sender_ids_capacity
                .saturating_sub(group.sender_ids_used);
            self.sender_ids_free
                .get_or_create(&label)
                .set(i64::try_from(free).unwrap_or(i64::MAX));
            self.sender_ids_capacity
                .get_or_create(&label)
                .set(i64::try_from(group.sender_ids_capacity).unwrap_or(i64::MAX));
            if let Some(next) = group
                .next_rekey_ms
                .and_then(|next| u32::try_from(next / 1000).ok())
            {
                self.next_rekey
                    .get_or_create(&label)
                    .set(unix_seconds + f64::from(next));
            }
            let last = group
                .traffic_keys
                .iter()
                .map(|key| key.lifetime_left_ms)
                .max();
            if let Some(last) = last.and_then(|last| u32::try_from(last / 1000).ok()) {
                self.traffic_key_expiry
                    .get_or_create(&label)
                    .set(unix_seconds + f64::from(last));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_published_with_its_prefix() {
        let (metrics, registry) = Metrics::new();
        metrics.primary.set(1);
        metrics
            .registration_rejected
            .get_or_create(&ReasonLabel { reason: "identity" })
            .inc();
        metrics.observe_voters(Some((2, 1)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        assert!(
            text.contains("getvpn_keyserver_voters{state=\"unreachable\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("getvpn_keyserver_primary 1\n"), "{text}");
        assert!(
            text.contains("getvpn_registration_rejected_total{reason=\"identity\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("getvpn_build_info{version="), "{text}");
    }
}
