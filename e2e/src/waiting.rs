//! Waits for something that only looking can tell.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Looks again and again, with a pause between, until the answer is something.
///
/// # Errors
/// At the deadline, with the last reason.
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    pause: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let last = match look() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => "not yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() > deadline {
            bail!("waited {} s for {what}: {last}", limit.as_secs());
        }
        std::thread::sleep(pause);
    }
}
