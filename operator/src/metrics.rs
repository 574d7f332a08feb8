//! What the operator tells Prometheus. Labels come from closed lists only.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// A kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// Its name.
    pub kind: &'static str,
}

/// A kind, and how work on an object of it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// Its name.
    pub kind: &'static str,
    /// `Success`, or a stable word for the error.
    pub outcome: &'static str,
}

/// A step of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StepLabel {
    /// `HandOver`, `Remove` or `Replace`.
    pub step: &'static str,
}

/// What the webhook decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DecisionLabel {
    /// `NotSelected`, `AlreadyInjected`, `Injected`, `Skipped` or `Refused`.
    pub decision: &'static str,
}

/// How a request for enrolment ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EnrolmentLabel {
    /// `enrol` or `watch`.
    pub request: &'static str,
    /// `Accepted`, or the reason of the refusal.
    pub outcome: &'static str,
}

/// All figures; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// 1 while this replica acts.
    pub leader: Gauge,
    /// Objects worked on.
    pub reconciles: Family<OutcomeLabel, Counter>,
    /// How long it took.
    pub reconcile_seconds: Family<KindLabel, Histogram>,
    /// Objects applied to the API server.
    pub applies: Family<KindLabel, Counter>,
    /// Status written.
    pub status_writes: Family<KindLabel, Counter>,
    /// Certificates issued.
    pub certificates: Counter,
    /// Policies given to key servers.
    pub policies: Counter,
    /// Steps of rollouts.
    pub steps: Family<StepLabel, Counter>,
    /// Pods that the webhook judged.
    pub injections: Family<DecisionLabel, Counter>,
    /// How long the webhook took.
    pub injection_seconds: Histogram,
    /// Requests for enrolment.
    pub enrolments: Family<EnrolmentLabel, Counter>,
}

impl Metrics {
    /// New figures, and the registry that shows them. Other parts add theirs to `more`.
    pub fn new(more: impl FnOnce(&mut Registry)) -> (Self, Arc<Registry>) {
        let mut registry = Registry::with_prefix("getvpn_operator");
        let metrics = Self {
            leader: Gauge::default(),
            reconciles: Family::default(),
            reconcile_seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.005, 2.0, 14))
            }),
            applies: Family::default(),
            status_writes: Family::default(),
            certificates: Counter::default(),
            policies: Counter::default(),
            steps: Family::default(),
            injections: Family::default(),
            injection_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 14)),
            enrolments: Family::default(),
        };
        registry.register(
            "injections",
            "Pods that the admission webhook judged, by decision",
            metrics.injections.clone(),
        );
        registry.register(
            "injection_seconds",
            "Time of the admission webhook for one pod",
            metrics.injection_seconds.clone(),
        );
        registry.register(
            "enrolments",
            "Requests of members for enrolment, by request and outcome",
            metrics.enrolments.clone(),
        );
        registry.register(
            "leader",
            "1 while this replica acts",
            metrics.leader.clone(),
        );
        registry.register(
            "reconciles",
            "Objects worked on, by kind and outcome",
            metrics.reconciles.clone(),
        );
        registry.register(
            "reconcile_seconds",
            "Time of work on one object",
            metrics.reconcile_seconds.clone(),
        );
        registry.register(
            "applies",
            "Objects applied to the API server",
            metrics.applies.clone(),
        );
        registry.register(
            "status_writes",
            "Status written",
            metrics.status_writes.clone(),
        );
        registry.register(
            "certificates_issued",
            "Certificates issued for key servers and administrators",
            metrics.certificates.clone(),
        );
        registry.register(
            "policies_programmed",
            "Policies given to key servers",
            metrics.policies.clone(),
        );
        registry.register(
            "rollout_steps",
            "Steps taken with key servers",
            metrics.steps.clone(),
        );
        registry.register(
            "build",
            "What runs",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        more(&mut registry);
        (metrics, Arc::new(registry))
    }
}
