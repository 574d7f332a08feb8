//! Metrics for Prometheus, from the same report that the control socket shows.
//!
//! The runner leaves a fresh report once a second; a scrape never waits for it. Labels are closed
//! lists: groups of the configuration, drop reasons, phases.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::control::report::{GroupReport, Report};

/// The report that scrapes read.
#[derive(Clone, Debug, Default)]
pub struct LatestReport(Arc<Mutex<Report>>);

impl LatestReport {
    /// Replaces the report.
    pub fn set(&self, report: Report) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    /// The report.
    pub fn get(&self) -> Report {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A registry whose metrics are those of `latest`.
pub fn registry(latest: LatestReport) -> Registry {
    let mut registry = Registry::with_prefix("getvpn_member");
    registry.register(
        "build",
        "What runs",
        Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
    );
    registry.register_collector(Box::new(ReportCollector(latest)));
    registry
}

#[derive(Debug)]
struct ReportCollector(LatestReport);

/// One sample: labels and value.
type Sample = (Vec<(&'static str, String)>, f64);

impl Collector for ReportCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let report = self.0.get();
        gauges(
            &mut encoder,
            "ready",
            "Whether keys, receive path and drop rules are in place",
            &[(Vec::new(), flag(report.ready))],
        )?;
        gauges(
            &mut encoder,
            "fail_closed",
            "Whether everything not allowed is dropped, because a group was never joined",
            &[(Vec::new(), flag(report.guard.closed))],
        )?;
        encode_packets(&mut encoder, &report)?;
        encode_groups(&mut encoder, &report.groups)
    }
}

fn encode_packets(encoder: &mut DescriptorEncoder<'_>, report: &Report) -> fmt::Result {
    let packets = &report.packets;
    let direction =
        |direction: &str, count: u64| (vec![("direction", direction.to_owned())], as_value(count));
    counters(
        encoder,
        "packets",
        "Packets encrypted and sent, or received and decrypted",
        &[
            direction("outbound", packets.sent),
            direction("inbound", packets.received),
        ],
    )?;
    counters(
        encoder,
        "octets",
        "Octets of the inner packets encrypted and sent, or received and decrypted",
        &[
            direction("outbound", packets.sent_octets),
            direction("inbound", packets.received_octets),
        ],
    )?;
    let drops: Vec<Sample> = report
        .drops
        .iter()
        .map(|(reason, count)| (vec![("reason", reason.clone())], as_value(*count)))
        .collect();
    counters(
        encoder,
        "drops",
        "Packets dropped by the packet path",
        &drops,
    )?;
    let guard: Vec<Sample> = report
        .guard
        .drops
        .iter()
        .map(|(rule, count)| (vec![("rule", rule.clone())], as_value(*count)))
        .collect();
    counters(
        encoder,
        "guard_drops",
        "Clear packets dropped by the kernel",
        &guard,
    )
}

fn encode_groups(encoder: &mut DescriptorEncoder<'_>, groups: &[GroupReport]) -> fmt::Result {
    let each = |value: fn(&GroupReport) -> Option<f64>| -> Vec<Sample> {
        groups
            .iter()
            .filter_map(|group| Some((vec![("group", group.group_id.to_string())], value(group)?)))
            .collect()
    };
    gauges(
        encoder,
        "registered",
        "Whether a key server has admitted the member",
        &each(|group| Some(flag(group.registered))),
    )?;
    gauges(
        encoder,
        "traffic_key_remaining_seconds",
        "Time until the last traffic key ends",
        &each(|group| {
            let remaining = group.traffic_keys.iter().map(|key| key.remaining_seconds);
            remaining.reduce(f64::max)
        }),
    )?;
    gauges(
        encoder,
        "rekey_sa_remaining_seconds",
        "Time until the Rekey SA ends",
        &each(|group| group.rekey_sa_remaining_seconds),
    )?;
    gauges(
        encoder,
        "policy_revision",
        "Revision of the group's policy",
        &each(|group| group.policy_revision.map(as_value)),
    )?;
    counters(
        encoder,
        "registrations",
        "Registrations that succeeded",
        &each(|group| Some(as_value(group.registrations))),
    )?;
    counters(
        encoder,
        "registration_failures",
        "Attempts to register that failed",
        &each(|group| Some(as_value(group.failed_attempts))),
    )?;
    let mut rekeys = Vec::new();
    for group in groups {
        let labels = |result: &str| {
            vec![
                ("group", group.group_id.to_string()),
                ("result", result.to_owned()),
            ]
        };
        rekeys.push((labels("accepted"), as_value(group.rekeys_accepted)));
        rekeys.push((labels("repeated"), as_value(group.rekeys_repeated)));
        for (cause, count) in &group.rekeys_refused {
            rekeys.push((labels(cause), as_value(*count)));
        }
    }
    counters(
        encoder,
        "rekeys",
        "Rekey messages received, by what became of them",
        &rekeys,
    )
}

fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: &[Sample],
) -> fmt::Result {
    let template = ConstGauge::new(0.0_f64);
    let mut metric = encoder.encode_descriptor(name, help, None, template.metric_type())?;
    for (labels, value) in samples {
        let gauge = ConstGauge::new(*value);
        if labels.is_empty() {
            return gauge.encode(metric);
        }
        gauge.encode(metric.encode_family(labels)?)?;
    }
    Ok(())
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: &[Sample],
) -> fmt::Result {
    let template = ConstCounter::new(0.0_f64);
    let mut metric = encoder.encode_descriptor(name, help, None, template.metric_type())?;
    for (labels, value) in samples {
        ConstCounter::new(*value).encode(metric.encode_family(labels)?)?;
    }
    Ok(())
}

fn flag(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

/// Prometheus counts in floating point; above 2^53 the last digits are lost, as everywhere there.
fn as_value(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_shows_the_latest_report() {
        let latest = LatestReport::default();
        let registry = registry(latest.clone());
        let mut report = Report {
            ready: true,
            ..Report::default()
        };
        report.drops.insert("unknown_spi".to_owned(), 3);
        report.groups.push(GroupReport {
            group_id: 7,
            registered: true,
            rekeys_accepted: 2,
            ..GroupReport::default()
        });
        latest.set(report);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        for line in [
            "getvpn_member_ready 1.0",
            concat!(
                "getvpn_member_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
            "getvpn_member_drops_total{reason=\"unknown_spi\"} 3.0",
            "getvpn_member_registered{group=\"7\"} 1.0",
            "getvpn_member_rekeys_total{group=\"7\",result=\"accepted\"} 2.0",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }
}
