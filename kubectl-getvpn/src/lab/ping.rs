//! Pings between nodes, many pairs at a time.

use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::LabError;
use super::state::{Lab, Node};

/// Pings under way at a time.
const AT_A_TIME: usize = 16;

/// Every ordered pair of members.
#[must_use]
pub fn all_pairs(lab: &Lab) -> Vec<(&Node, &Node)> {
    let mut pairs = Vec::new();
    for from in lab.members() {
        for to in lab.members().filter(|to| to.name != from.name) {
            pairs.push((from, to));
        }
    }
    pairs
}

/// Sends one echo request for each pair and waits at most this long for each answer; the pairs
/// without one, in order.
///
/// # Errors
/// When `ping` cannot be run.
pub fn unanswered<'a>(
    pairs: &[(&'a Node, &'a Node)],
    ipv6: bool,
    wait_seconds: u32,
) -> Result<Vec<(&'a Node, &'a Node)>, LabError> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<bool, LabError>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME.min(pairs.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((from, to)) = pairs.get(index) else {
                        return;
                    };
                    let address: IpAddr = if ipv6 {
                        to.addresses.ipv6.into()
                    } else {
                        to.addresses.ipv4.into()
                    };
                    let answered = once(from, address, wait_seconds);
                    if let Ok(mut results) = results.lock() {
                        results.push((index, answered));
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(index, _)| *index);
    let mut silent = Vec::new();
    for (index, answered) in results {
        if !answered? {
            silent.extend(pairs.get(index));
        }
    }
    Ok(silent)
}

/// Whether one echo request is answered.
fn once(from: &Node, to: IpAddr, wait_seconds: u32) -> Result<bool, LabError> {
    let status = Command::new("ip")
        .args(["netns", "exec", &from.namespace])
        .args([
            "ping",
            "-n",
            "-q",
            "-c",
            "1",
            "-W",
            &wait_seconds.to_string(),
        ])
        .arg(to.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(LabError::system("run ping"))?;
    Ok(status.success())
}
