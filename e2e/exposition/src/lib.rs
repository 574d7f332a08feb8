//! What our programs publish for Prometheus, with every figure present: for the reference, and to hold alerts and the
//! dashboard to names that exist.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use gm_sidecar::control::report::{GroupReport, Report, TrafficKeyReport};
use gm_sidecar::metrics::LatestReport;
use keyserver::metrics::{GroupLabel, ReasonLabel, ResultLabel, UseLabel};
use operator::metrics::{DecisionLabel, EnrolmentLabel, KindLabel, OutcomeLabel, StepLabel};
use prometheus_client::registry::Registry;

/// One figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// `gauge`, `counter`, `histogram` or `info`.
    pub kind: String,
    /// What it means.
    pub help: String,
    /// Names of its labels.
    pub labels: BTreeSet<String>,
    /// Names by which it can be asked for: several for a histogram.
    pub series: BTreeSet<String>,
}

/// Figures by the name people look for: of a counter with `_total`, of a histogram without any ending.
pub type Metrics = BTreeMap<String, Metric>;

/// The figures of a key server.
///
/// # Errors
/// When they cannot be written or read.
pub fn key_server() -> Result<Metrics> {
    let (metrics, registry) = keyserver::metrics::Metrics::new();
    let group = GroupLabel {
        group: String::from("voice"),
    };
    metrics.observe_voters(Some((2, 1)));
    for figure in [
        &metrics.members,
        &metrics.sender_ids_free,
        &metrics.sender_ids_capacity,
    ] {
        figure.get_or_create(&group).set(1);
    }
    for figure in [&metrics.traffic_key_expiry, &metrics.next_rekey] {
        figure.get_or_create(&group).set(1.0);
    }
    let granted = ResultLabel { result: "granted" };
    metrics.rekeys.get_or_create(&granted).inc();
    let seconds = metrics.registration_seconds.get_or_create(&granted);
    seconds.observe(1.0);
    drop(seconds);
    let reason = ReasonLabel { reason: "identity" };
    metrics.registration_rejected.get_or_create(&reason).inc();
    let purpose = UseLabel { r#use: "ike" };
    metrics.certificate_expiry.get_or_create(&purpose).set(1);
    read(&registry)
}

/// The figures of a group member.
///
/// # Errors
/// When they cannot be written or read.
pub fn member() -> Result<Metrics> {
    let mut report = Report::default();
    report.drops.insert(String::from("replayed"), 1);
    report.guard.drops.insert(String::from("clear_inbound"), 1);
    report.groups.push(GroupReport {
        policy_revision: Some(1),
        rekey_sa_remaining_seconds: Some(1.0),
        traffic_keys: vec![TrafficKeyReport::default()],
        ..GroupReport::default()
    });
    let latest = LatestReport::default();
    latest.set(report);
    read(&gm_sidecar::metrics::registry(latest))
}

/// The figures of the operator.
///
/// # Errors
/// When they cannot be written or read.
pub fn operator() -> Result<Metrics> {
    let (metrics, registry) = operator::metrics::Metrics::new(|_| {});
    let kind = KindLabel {
        kind: "GetVpnGroup",
    };
    metrics.reconcile_seconds.get_or_create(&kind).observe(1.0);
    for figure in [&metrics.applies, &metrics.status_writes] {
        figure.get_or_create(&kind).inc();
    }
    let outcome = OutcomeLabel {
        kind: "GetVpnGroup",
        outcome: "Success",
    };
    metrics.reconciles.get_or_create(&outcome).inc();
    let step = StepLabel { step: "Replace" };
    metrics.steps.get_or_create(&step).inc();
    let decision = DecisionLabel {
        decision: "Injected",
    };
    metrics.injections.get_or_create(&decision).inc();
    let enrolment = EnrolmentLabel {
        request: "enrol",
        outcome: "Accepted",
    };
    metrics.enrolments.get_or_create(&enrolment).inc();
    read(&registry)
}

fn read(registry: &Registry) -> Result<Metrics> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    parse(&text)
}

/// Reads the OpenMetrics text format.
fn parse(text: &str) -> Result<Metrics> {
    let mut found = Metrics::new();
    let mut current = String::new();
    let mut families: BTreeMap<String, Metric> = BTreeMap::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').context("HELP without a text")?;
            current = name.to_owned();
            families.insert(
                current.clone(),
                Metric {
                    kind: String::new(),
                    help: help.trim_end_matches('.').to_owned(),
                    labels: BTreeSet::new(),
                    series: BTreeSet::new(),
                },
            );
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').context("TYPE without a kind")?;
            let family = families.get_mut(name).context("TYPE without HELP")?;
            family.kind = kind.to_owned();
        } else if !line.starts_with('#') {
            let family = families
                .get_mut(&current)
                .context("a sample before its family")?;
            let (name, labels) = sample(line);
            family.series.insert(name);
            family
                .labels
                .extend(labels.into_iter().filter(|label| label != "le"));
        }
    }
    for (name, family) in families {
        let name = match family.kind.as_str() {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name,
        };
        found.insert(name, family);
    }
    Ok(found)
}

/// Name and names of labels of a sample.
fn sample(line: &str) -> (String, Vec<String>) {
    let Some((name, rest)) = line.split_once('{') else {
        let name = line.split(' ').next().unwrap_or_default();
        return (name.to_owned(), Vec::new());
    };
    let labels = rest.rsplit_once('}').map_or("", |(labels, _)| labels);
    let labels = labels
        .split(',')
        .filter_map(|label| label.split_once('='))
        .map(|(label, _)| label.to_owned())
        .collect();
    (name.to_owned(), labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_figure_is_read_with_its_labels_and_series() {
        let found = parse(
            "# HELP a_b Counted.\n# TYPE a_b counter\na_b_total{x=\"1\",y=\"2\"} 3\n\
             # HELP h Timed.\n# TYPE h histogram\nh_sum{x=\"1\"} 1\nh_count{x=\"1\"} 1\nh_bucket{le=\"1\",x=\"1\"} 1\n# EOF\n",
        )
        .expect("valid");
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["a_b_total", "h"]);
        let histogram = &found["h"];
        assert_eq!(histogram.labels, BTreeSet::from([String::from("x")]));
        assert!(histogram.series.contains("h_bucket"));
        assert_eq!(found["a_b_total"].help, "Counted");
    }
}
