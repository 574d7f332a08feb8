//! Commands on their way into the log.
//!
//! A proposal stays until its command was applied. Whatever happens to it, it is proposed again under the same name:
//! when it was committed after all, applying it twice changes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::command::{Action, Command, CommandKey};
use crate::log_time::LogTime;

/// How long an unknown outcome is waited for before the command is proposed again.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// How soon after a known failure the command is proposed again.
const FAILED_RETRY_AFTER: Duration = Duration::from_millis(200);

/// A command to be committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// Its name, for [`KeyServer::handle_proposal_failed`](super::KeyServer::handle_proposal_failed).
    pub key: CommandKey,
    /// The command.
    pub command: Command,
}

/// Commands on their way into the log.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    waiting: BTreeMap<CommandKey, Waiting>,
    ready: VecDeque<CommandKey>,
}

#[derive(Debug)]
struct Waiting {
    command: Command,
    retry: Instant,
    ready: bool,
    /// Whether it was given out: it never changes from then on.
    given: bool,
}

impl Proposals {
    pub(super) fn add(&mut self, now: Instant, command: Command) {
        let key = command.key;
        self.waiting.insert(
            key,
            Waiting {
                command,
                retry: now + RETRY_AFTER,
                ready: true,
                given: false,
            },
        );
        self.ready.push_back(key);
    }

    /// The command was applied. Answers whether it was one of ours.
    pub(super) fn settle(&mut self, key: &CommandKey) -> bool {
        self.waiting.remove(key).is_some()
    }

    /// The command is not wanted any more.
    pub(super) fn withdraw(&mut self, key: &CommandKey) {
        self.waiting.remove(key);
    }

    pub(super) fn contains(&self, key: &CommandKey) -> bool {
        self.waiting.contains_key(key)
    }

    pub(super) fn has_tick(&self) -> bool {
        self.waiting
            .values()
            .any(|waiting| matches!(waiting.command.action, Action::Tick))
    }

    pub(super) fn failed(&mut self, now: Instant, key: &CommandKey) {
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.retry = now + FAILED_RETRY_AFTER;
        }
    }

    pub(super) fn retry_all(&mut self, now: Instant) {
        self.waiting
            .values_mut()
            .for_each(|waiting| waiting.retry = waiting.retry.min(now + FAILED_RETRY_AFTER));
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for (key, waiting) in &mut self.waiting {
            if waiting.retry <= now {
                waiting.retry = now + RETRY_AFTER;
                if !waiting.ready {
                    waiting.ready = true;
                    self.ready.push_back(*key);
                }
            }
        }
    }

    /// The next one to give out. `time` is what one is stamped with that was held back until now.
    pub(super) fn poll(&mut self, time: Option<LogTime>) -> Option<Proposal> {
        while let Some(key) = self.ready.pop_front() {
            if let Some(waiting) = self.waiting.get_mut(&key) {
                waiting.ready = false;
                if let Some(time) = time.filter(|_| !waiting.given) {
                    waiting.command.time = waiting.command.time.max(time);
                }
                waiting.given = true;
                return Some(Proposal {
                    key,
                    command: waiting.command.clone(),
                });
            }
        }
        None
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.retry).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(key: u8) -> Command {
        let key = CommandKey([key; 16]);
        Command {
            key,
            time: LogTime::ZERO,
            unix_ms: 0,
            proposer: String::new(),
            action: Action::Tick,
        }
    }

    #[test]
    fn a_proposal_of_unknown_fate_is_repeated_unchanged_until_it_is_applied() {
        let now = Instant::now();
        let mut proposals = Proposals::default();
        proposals.add(now, command(1));
        let first = proposals.poll(None).expect("proposed");
        assert_eq!(proposals.poll(None), None);
        proposals.handle_timeout(now + RETRY_AFTER);
        assert_eq!(proposals.poll(None), Some(first.clone()));
        assert!(proposals.settle(&first.key));
        proposals.handle_timeout(now + 4 * RETRY_AFTER);
        assert_eq!(proposals.poll(None), None);
    }

    #[test]
    fn a_known_failure_is_repeated_sooner() {
        let now = Instant::now();
        let mut proposals = Proposals::default();
        proposals.add(now, command(1));
        let key = proposals.poll(None).expect("proposed").key;
        proposals.failed(now, &key);
        assert_eq!(proposals.poll_timeout(), Some(now + FAILED_RETRY_AFTER));
    }
}
