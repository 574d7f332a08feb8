//! TCP by `iperf3`, with CUBIC on every machine, and what the daemons of the data path spend on it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use runtime::shutdown::Shutdown;
use serde_json::Value;

use super::child::{Daemon, go_on, inside, run};
use super::{FAR, NEAR};
use crate::load::process::Usage;

/// TCP port of `iperf3`.
const PORT: u16 = 5300;
/// What a run may take besides the time of its traffic.
const SLACK: Duration = Duration::from_secs(12);
/// How long the server may take to listen.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one run gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Flow {
    /// Gbit/s at the receivers, all streams and directions together.
    pub rate: f64,
    /// Processor seconds of the daemons per Gbit; none without daemons.
    pub processor: Option<f64>,
}

/// Which streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Streams {
    /// This many, all from the near to the far end.
    There(u8),
    /// One in each direction at once.
    Both,
}

/// Sends TCP to `to` for `seconds`.
///
/// # Errors
/// When `iperf3` fails or a daemon ends.
pub(super) fn measure(
    to: Ipv4Addr,
    streams: Streams,
    seconds: u8,
    daemons: &[u32],
    shutdown: &Shutdown,
) -> Result<Flow> {
    let directory = tempfile::Builder::new()
        .prefix("getvpn-bench-iperf3-")
        .tempdir()?;
    let port = PORT.to_string();
    let mut command = inside(FAR.namespace, "iperf3");
    command.args(["-s", "-1", "-p", &port]);
    let server = Daemon::start(&mut command, &directory.path().join("log"))?;
    wait_for_listener(&server, shutdown)?;

    let time = seconds.to_string();
    let count = match streams {
        Streams::There(count) => count.to_string(),
        Streams::Both => "1".to_owned(),
    };
    let mut command = inside(NEAR.namespace, "iperf3");
    command
        .args([
            "-c",
            &to.to_string(),
            "-p",
            &port,
            "-t",
            &time,
            "-P",
            &count,
        ])
        .args(["-C", "cubic", "-J", "--connect-timeout", "3000"]);
    if streams == Streams::Both {
        command.arg("--bidir");
    }
    let before = Usage::of(daemons)?;
    let told = run(
        &mut command,
        Duration::from_secs(seconds.into()) + SLACK,
        shutdown,
    )?;
    let spent = Usage::of(daemons)?.processor - before.processor;
    let told = serde_json::from_str(&told).context("the report of iperf3")?;
    let (rate, gigabits) = carried(&told, streams).context("iperf3 reports no received octets")?;
    ensure!(gigabits > 0.0, "iperf3 carried nothing");
    Ok(Flow {
        rate,
        processor: (!daemons.is_empty()).then(|| spent.as_secs_f64() / gigabits),
    })
}

/// Gbit/s and Gbit at the receivers.
fn carried(report: &Value, streams: Streams) -> Option<(f64, f64)> {
    let one = |key: &str| {
        let sum = report.get("end")?.get(key)?;
        let rate = sum.get("bits_per_second")?.as_f64()? / 1e9;
        Some((rate, rate * sum.get("seconds")?.as_f64()?))
    };
    let there = one("sum_received")?;
    match streams {
        Streams::There(_) => Some(there),
        Streams::Both => {
            let back = one("sum_received_bidir_reverse")?;
            Some((there.0 + back.0, there.1 + back.1))
        }
    }
}

/// Waits until the server listens; a connection to find out would be the one that it serves.
fn wait_for_listener(server: &Daemon, shutdown: &Shutdown) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !listens(server.id()) {
        go_on(shutdown)?;
        ensure!(
            Instant::now() < deadline,
            "iperf3 does not listen: {}",
            server.said()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Whether somebody listens in the namespace of this process, as its own view of `/proc` tells.
fn listens(process: u32) -> bool {
    ["tcp", "tcp6"].iter().any(|table| {
        let table = fs::read_to_string(Path::new("/proc").join(format!("{process}/net/{table}")));
        table.is_ok_and(|table| has_listener(&table))
    })
}

fn has_listener(table: &str) -> bool {
    let port = format!(":{PORT:04X}");
    table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|local| local.ends_with(&port)) && words.nth(1) == Some("0A")
    })
}

#[cfg(test)]
mod self_tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_directions_are_added_up() {
        let report = json!({ "end": {
            "sum_received": { "bits_per_second": 2e9, "seconds": 4.0 },
            "sum_received_bidir_reverse": { "bits_per_second": 1e9, "seconds": 4.0 },
        }});
        assert_eq!(carried(&report, Streams::There(4)), Some((2.0, 8.0)));
        assert_eq!(carried(&report, Streams::Both), Some((3.0, 12.0)));
        assert_eq!(carried(&json!({ "error": "no" }), Streams::There(1)), None);
    }

    #[test]
    fn only_a_listener_on_the_port_counts() {
        let head = "  sl  local_address rem_address   st tx_queue\n";
        let line = |local: &str, state: &str| {
            format!("{head}   0: 00000000:{local} 00000000:0000 {state} 00000000:00000000\n")
        };
        assert!(has_listener(&line("14B4", "0A")));
        assert!(!has_listener(&line("14B4", "06")));
        assert!(!has_listener(&line("14B5", "0A")));
        assert!(!has_listener(head));
    }
}
