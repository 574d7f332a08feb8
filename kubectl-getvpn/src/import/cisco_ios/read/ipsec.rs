//! IPsec: transform sets, profiles and global lifetimes.

use super::Reader;
use crate::import::cisco_ios::device::{IpsecProfile, TransformSet};
use crate::import::cisco_ios::statement::Statement;

impl Reader<'_> {
    /// `crypto ipsec transform-set NAME TRANSFORM…`.
    pub(super) fn transform_set(&mut self, statement: &Statement) {
        let transforms = statement.words.get(4..).unwrap_or_default();
        let set = TransformSet {
            line: statement.line,
            transforms: transforms
                .iter()
                .map(|word| word.to_ascii_lowercase())
                .collect(),
        };
        self.device
            .transform_sets
            .insert(statement.word(3).to_owned(), set);
        for line in &statement.below {
            if line.starts(&["mode", "transport"]) {
                self.hint(
                    line,
                    "packets keep their addresses in a header of their own, as in tunnel mode of a group",
                );
            } else if !line.is(0, "mode") {
                self.not_understood(line);
            }
        }
    }

    /// `crypto ipsec profile NAME`.
    pub(super) fn ipsec_profile(&mut self, statement: &Statement) {
        let mut profile = IpsecProfile {
            line: statement.line,
            ..IpsecProfile::default()
        };
        for line in &statement.below {
            if line.starts(&["set", "transform-set"]) {
                profile.transform_set = Some(line.word(2).to_owned());
                if line.words.len() > 3 {
                    self.changed(line, "only the first transform set is taken");
                }
            } else if line.starts(&["set", "security-association", "lifetime"]) {
                match lifetime(line, 3) {
                    Some(Lifetime::Seconds(seconds)) => {
                        profile.lifetime_seconds = Some((line.line, seconds));
                    }
                    Some(Lifetime::Kilobytes(kilobytes)) => {
                        profile.lifetime_kilobytes = Some((line.line, kilobytes));
                    }
                    None => self.not_understood(line),
                }
            } else if line.starts(&["set", "security-association", "replay"]) {
                self.hint(
                    line,
                    "protection against replays is taken from `sa ipsec` of the group",
                );
            } else if line.starts(&["set", "pfs"]) {
                self.hint(line, "group keys are never negotiated between members");
            } else if !line.is(0, "description") && !line.is(0, "default") {
                self.not_understood(line);
            }
        }
        self.device
            .ipsec_profiles
            .insert(statement.word(3).to_owned(), profile);
    }

    /// `crypto ipsec security-association …` for all groups.
    pub(super) fn ipsec_global(&mut self, statement: &Statement) {
        if statement.is(3, "lifetime") {
            match lifetime(statement, 4) {
                Some(Lifetime::Seconds(seconds)) => {
                    self.device.lifetime_seconds = Some((statement.line, seconds));
                }
                Some(Lifetime::Kilobytes(kilobytes)) => {
                    self.device.lifetime_kilobytes = Some((statement.line, kilobytes));
                }
                None => self.not_understood(statement),
            }
        } else if statement.is(3, "replay") {
            if statement.is(4, "disable") {
                self.device.replay_disabled = true;
            }
        } else if !statement.is(3, "multi-sn") {
            self.not_understood(statement);
        }
    }
}

enum Lifetime {
    Seconds(i64),
    Kilobytes(Option<i64>),
}

/// `seconds N`, `days N`, `kilobytes N` or `kilobytes disable`.
fn lifetime(statement: &Statement, at: usize) -> Option<Lifetime> {
    let number = || statement.parse::<i64>(at + 1);
    if statement.is(at, "seconds") {
        Some(Lifetime::Seconds(number()?))
    } else if statement.is(at, "days") {
        Some(Lifetime::Seconds(number()?.checked_mul(86_400)?))
    } else if statement.is(at, "kilobytes") {
        Some(Lifetime::Kilobytes(if statement.is(at + 1, "disable") {
            None
        } else {
            Some(number()?)
        }))
    } else {
        None
    }
}
