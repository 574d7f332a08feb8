//! Outcomes of recent commands: a command proposed twice is done once.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::command::CommandKey;
use crate::log_time::LogTime;
use crate::outcome::Outcome;

/// How long outcomes are remembered. Longer than anybody proposes a command again.
pub const REMEMBERED_MS: u64 = 600_000;

/// Outcomes of recent commands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecentOutcomes {
    outcomes: BTreeMap<CommandKey, Outcome>,
    order: VecDeque<(LogTime, CommandKey)>,
}

impl RecentOutcomes {
    /// The outcome of a command that was applied before.
    pub fn get(&self, key: &CommandKey) -> Option<&Outcome> {
        self.outcomes.get(key)
    }

    pub(super) fn remember(&mut self, time: LogTime, key: CommandKey, outcome: Outcome) {
        if self.outcomes.insert(key, outcome).is_none() {
            self.order.push_back((time, key));
        }
    }

    pub(super) fn prune(&mut self, time: LogTime) {
        while let Some((remembered, key)) = self.order.front() {
            if time.millis_since(*remembered) <= REMEMBERED_MS {
                break;
            }
            self.outcomes.remove(key);
            self.order.pop_front();
        }
    }
}
