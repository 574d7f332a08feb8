//! The state of a member as text for people.

use std::fmt::Write as _;

use super::report::{GroupReport, Report, TrafficKeyReport};

/// A report as lines of text.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let ready = match (&report.not_ready, report.ready) {
        (_, true) => "ready".to_owned(),
        (Some(why), false) => format!("not ready ({})", why.replace('\n', "; ")),
        (None, false) => "not ready".to_owned(),
    };
    let guard = match (report.guard.installed, report.guard.closed) {
        (false, _) => "MISSING",
        (true, true) => "closed: only allowed flows pass",
        (true, false) if report.guard.exposed => {
            "EXPOSED: not registered, and what a group may protect goes in clear"
        }
        (true, false) => "open: protected flows only encrypted",
    };
    let _ = writeln!(text, "member {}: {ready}", report.name);
    let _ = writeln!(text, "drop rules      {guard}");
    let _ = writeln!(
        text,
        "device          {} mtu {}",
        report.device.name, report.device.mtu
    );
    let _ = writeln!(
        text,
        "packets         {} sent encrypted, {} received encrypted",
        report.packets.sent, report.packets.received
    );
    for (rule, count) in report.guard.drops.iter().filter(|(_, count)| **count > 0) {
        let _ = writeln!(text, "dropped         {count} by drop rule {rule}");
    }
    for (reason, count) in &report.drops {
        let _ = writeln!(text, "dropped         {count} {reason}");
    }
    if !report.access_list.is_empty() {
        text.push_str("access list\n");
    }
    for entry in &report.access_list {
        let _ = writeln!(
            text,
            "  {:<5}{:<12}{:<25}{}",
            entry.number, entry.origin, entry.action, entry.flow
        );
    }
    for group in &report.groups {
        render_group(&mut text, group);
    }
    text
}

fn render_group(text: &mut String, group: &GroupReport) {
    let _ = writeln!(text, "\ngroup {}", group.group_id);
    let none = || "-".to_owned();
    let number = |value: Option<u64>| value.map_or_else(none, |value| value.to_string());
    let seconds = |value: Option<f64>| value.map_or_else(none, |value| format!("{value:.0} s"));
    let server = match (&group.key_server, &group.key_server_identity) {
        (Some(address), Some(identity)) => format!("{address} ({identity})"),
        _ => "none".to_owned(),
    };
    let _ = writeln!(
        text,
        "  registered    {}",
        if group.registered { "yes" } else { "no" }
    );
    let _ = writeln!(text, "  key server    {server}");
    if let Some(error) = &group.last_error {
        let _ = writeln!(text, "  last failure  {error}");
    }
    let _ = writeln!(
        text,
        "  sender-id     {}   policy revision {}   pseudotime {} ms",
        number(group.sender_id.map(u64::from)),
        number(group.policy_revision),
        number(group.pseudotime_milliseconds),
    );
    let _ = writeln!(
        text,
        "  last rekey    number {}, {} ago; rekey SA ends in {}",
        number(group.last_rekey_message_id.map(u64::from)),
        seconds(group.last_rekey_seconds),
        seconds(group.rekey_sa_remaining_seconds),
    );
    if !group.traffic_keys.is_empty() {
        let _ = writeln!(
            text,
            "  {:<12}{:<6}{:<4}{:<18}{:<10}{:>8}{:>9}{:>11}{:>11}",
            "SPI", "ASSOC", "IP", "ALGORITHM", "PHASE", "STARTS", "ENDS", "SENT", "RECEIVED"
        );
    }
    for key in &group.traffic_keys {
        render_key(text, key);
    }
}

fn render_key(text: &mut String, key: &TrafficKeyReport) {
    let _ = writeln!(
        text,
        "  {:<12}{:<6}{:<4}{:<18}{:<10}{:>7.0}s{:>8.0}s{:>11}{:>11}",
        key.spi,
        key.association,
        key.ip_version,
        key.algorithm,
        key.phase,
        key.activates_in_seconds,
        key.remaining_seconds,
        key.sent_packets,
        key.received_packets
    );
}
