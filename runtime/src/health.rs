//! Readiness as a set of named blockers: a process is ready when nothing blocks it, and when it is
//! not, the answer says what does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Shared readiness and liveness of one process.
#[derive(Clone, Debug, Default)]
pub struct Health {
    inner: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    blockers: BTreeMap<&'static str, String>,
    dead: Option<String>,
}

impl Health {
    /// A process that nothing blocks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares `name` as not done yet; `why` is shown to whoever asks.
    pub fn block(&self, name: &'static str, why: impl Into<String>) {
        self.with(|state| {
            state.blockers.insert(name, why.into());
        });
    }

    /// Withdraws the blocker `name`.
    pub fn unblock(&self, name: &'static str) {
        self.with(|state| {
            state.blockers.remove(name);
        });
    }

    /// Declares the process beyond recovery: liveness fails from now on.
    pub fn fail(&self, why: impl Into<String>) {
        self.with(|state| state.dead = Some(why.into()));
    }

    /// `Ok` when ready, else one line per blocker.
    ///
    /// # Errors
    /// The blockers as `name: why`, one a line.
    pub fn ready(&self) -> Result<(), String> {
        self.with(|state| {
            if state.blockers.is_empty() && state.dead.is_none() {
                return Ok(());
            }
            let mut lines: Vec<String> = state
                .blockers
                .iter()
                .map(|(name, why)| format!("{name}: {why}"))
                .collect();
            lines.extend(state.dead.as_ref().map(|why| format!("failed: {why}")));
            Err(lines.join("\n"))
        })
    }

    /// `Ok` while the process can still do its work.
    ///
    /// # Errors
    /// The reason given to [`Health::fail`].
    pub fn live(&self) -> Result<(), String> {
        self.with(|state| state.dead.clone().map_or(Ok(()), Err))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // A panic elsewhere must not take the health endpoint with it.
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_names_every_blocker_until_all_are_gone() {
        let health = Health::new();
        health.block("keys", "not registered");
        health.block("guard", "drop rules missing");
        assert_eq!(
            health.ready(),
            Err("guard: drop rules missing\nkeys: not registered".to_owned())
        );
        health.unblock("keys");
        health.unblock("guard");
        assert_eq!(health.ready(), Ok(()));
    }

    #[test]
    fn a_failed_process_is_neither_live_nor_ready() {
        let health = Health::new();
        health.fail("disk full");
        assert_eq!(health.live(), Err("disk full".to_owned()));
        assert_eq!(health.ready(), Err("failed: disk full".to_owned()));
    }
}
