//! Answers the kubelet's probes by asking the running member.

use std::path::Path;

use crate::control::client;

/// What is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Probe {
    /// Keys, receive path and drop rules are in place: other containers may start
    Startup,
    /// The same, later
    Ready,
    /// The member answers
    Live,
}

/// Asks the member at `socket`.
///
/// # Errors
/// What is missing, in one line.
pub fn ask(probe: Probe, socket: &Path) -> Result<(), String> {
    let report = client::status(socket).map_err(|error| error.to_string())?;
    match probe {
        Probe::Live => Ok(()),
        Probe::Startup | Probe::Ready if report.ready => Ok(()),
        Probe::Startup | Probe::Ready => Err(report
            .not_ready
            .unwrap_or_else(|| "the member is not ready".to_owned())),
    }
}
