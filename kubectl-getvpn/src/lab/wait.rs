//! Waits for something to be so, with a deadline, and gives up early when a process ended.

use std::time::{Duration, Instant};

use super::error::LabError;
use super::state::Node;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Lines of a log shown when its process ended.
const LOG_LINES: usize = 15;

/// What one look showed.
pub enum Look<T> {
    /// It is so.
    Done(T),
    /// Not yet; what was seen instead, for the message at the deadline.
    NotYet(String),
}

/// Looks again and again until it is so.
///
/// # Errors
/// [`LabError::Deadline`] at the deadline, or the error of a look.
pub fn until<T>(
    waiting_for: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Look<T>, LabError>,
) -> Result<T, LabError> {
    let start = Instant::now();
    loop {
        let seen = match look()? {
            Look::Done(value) => return Ok(value),
            Look::NotYet(seen) => seen,
        };
        if start.elapsed() >= limit {
            return Err(LabError::Deadline {
                waiting_for: waiting_for.to_owned(),
                after: limit,
                last: seen,
            });
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Fails when one of these nodes' processes does not run any more.
///
/// # Errors
/// [`LabError::ProcessEnded`] with the end of the node's log.
pub fn all_running<'a>(
    nodes: impl IntoIterator<Item = &'a Node>,
    waiting_for: &str,
) -> Result<(), LabError> {
    let ended = nodes.into_iter().find(|node| !node.is_running());
    ended.map_or(Ok(()), |node| {
        Err(LabError::ProcessEnded {
            node: node.name.clone(),
            waiting_for: waiting_for.to_owned(),
            log: node.log.clone(),
            tail: node.log_tail(LOG_LINES),
        })
    })
}
