//! The Rekey SA (key encryption key) of a group, and the rekeys sent over it.

use serde::{Deserialize, Serialize};

use super::membership::Member;
use super::spi::RekeySaSpi;
use crate::command::{RekeyDatagrams, RekeyReason};
use crate::log_time::LogTime;
use crate::secret::SecretBytes;

/// Message ID at which a Rekey SA is replaced whatever its age: IDs never wrap.
pub const LAST_MESSAGE_ID: u32 = 1 << 31;

/// Rekeys kept for delivery; an older one is given up.
const KEPT_REKEYS: usize = 4;

/// The Rekey SA of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RekeySa {
    /// SPI.
    pub spi: RekeySaSpi,
    /// GSK_e ‖ GSK_w.
    pub keying_material: SecretBytes,
    /// Message ID of the next rekey.
    pub next_message_id: u32,
    /// When it began.
    pub began: LogTime,
    /// When it must have been replaced.
    pub ends: LogTime,
}

/// A committed rekey with its final datagrams.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SentRekey {
    /// Its number in the group, from 1.
    pub number: u64,
    /// Why it was made.
    pub reason: RekeyReason,
    /// The datagrams.
    pub message: RekeyDatagrams,
    /// When it was committed.
    pub committed: LogTime,
    /// The same in milliseconds of UNIX time, for display.
    pub committed_unix_ms: u64,
    /// Members of this epoch are told …
    pub epoch: u64,
    /// … when their registration ID is lower than this: later ones registered with these keys.
    pub before_registration: u64,
    /// Members that were to be told when it was committed.
    pub addressed: u32,
    /// Members that did not acknowledge, once delivery is over.
    pub silent: u32,
    /// Whether delivery is over.
    pub delivered: bool,
}

impl SentRekey {
    /// Whether `member` is to be told.
    pub fn addresses(&self, member: &Member) -> bool {
        member.epoch == self.epoch && member.registration_id < self.before_registration
    }
}

/// The last rekeys of a group, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SentRekeys {
    rekeys: Vec<SentRekey>,
    numbered: u64,
}

impl SentRekeys {
    /// Rekeys whose delivery is not over, oldest first.
    pub fn undelivered(&self) -> impl Iterator<Item = &SentRekey> {
        self.rekeys.iter().filter(|rekey| !rekey.delivered)
    }

    /// The last one.
    pub fn last(&self) -> Option<&SentRekey> {
        self.rekeys.last()
    }

    /// The one of a number.
    pub fn get(&self, number: u64) -> Option<&SentRekey> {
        self.rekeys.iter().find(|rekey| rekey.number == number)
    }

    /// The number the next one gets.
    pub(super) fn next_number(&self) -> u64 {
        self.numbered.saturating_add(1)
    }

    pub(super) fn push(&mut self, rekey: SentRekey) {
        self.numbered = rekey.number;
        self.rekeys.push(rekey);
        self.forget_delivered();
        let excess = self.rekeys.len().saturating_sub(KEPT_REKEYS);
        self.rekeys.drain(..excess);
    }

    /// Ends the delivery of a rekey; the rekey, when it was still going on.
    pub(super) fn finish(&mut self, number: u64, silent: usize) -> Option<&SentRekey> {
        let rekey = self
            .rekeys
            .iter_mut()
            .find(|rekey| rekey.number == number && !rekey.delivered)?;
        rekey.delivered = true;
        rekey.silent = u32::try_from(silent).unwrap_or(u32::MAX);
        Some(rekey)
    }

    /// The last rekey stays for the status; of the others only what still has to be sent.
    pub(super) fn forget_delivered(&mut self) {
        let last = self.numbered;
        self.rekeys
            .retain(|rekey| !rekey.delivered || rekey.number == last);
    }
}
