//! The tree of a configuration as a [`Device`].

mod access_list;
mod group;
mod ike;
mod ipsec;
mod member;

use super::Source;
use super::device::Device;
use super::note::{Notes, Weight};
use super::statement::{self, Statement};

/// A device under way, and the notes about it.
pub(super) struct Reader<'a> {
    device: Device,
    notes: &'a mut Notes,
}

impl Reader<'_> {
    fn note(&mut self, statement: &Statement, weight: Weight, why: &str) {
        let message = format!("`{}`: {why}", statement.text());
        self.notes
            .add(self.device.source, statement.line, weight, message);
    }

    fn lost(&mut self, statement: &Statement, why: &str) {
        self.note(statement, Weight::Lost, why);
    }

    fn hint(&mut self, statement: &Statement, why: &str) {
        self.note(statement, Weight::Hint, why);
    }

    fn changed(&mut self, statement: &Statement, why: &str) {
        self.note(statement, Weight::Changed, why);
    }

    fn not_understood(&mut self, statement: &Statement) {
        self.lost(statement, "is not understood here");
    }
}

/// Reads one configuration. Commands that have nothing to do with GET VPN are passed over.
pub(super) fn device(source: &Source<'_>, notes: &mut Notes) -> Device {
    let mut reader = Reader {
        device: Device {
            source: notes.current(),
            ..Device::default()
        },
        notes,
    };
    for statement in statement::tree(source.text) {
        reader.command(&statement);
    }
    reader
        .device
        .ike
        .policies
        .sort_by_key(|policy| policy.number);
    reader.device
}

impl Reader<'_> {
    fn command(&mut self, statement: &Statement) {
        let word = |index| statement.word(index).to_ascii_lowercase();
        let (first, second, third) = (word(0), word(1), word(2));
        match (first.as_str(), second.as_str(), third.as_str()) {
            ("hostname", name, _) if !name.is_empty() => {
                self.device.hostname = Some(statement.word(1).to_owned());
            }
            ("crypto", "gdoi" | "gkm", "group") => self.group(statement),
            ("crypto", "gdoi" | "gkm", _) => self.not_understood(statement),
            ("crypto", "isakmp", _) => self.isakmp(statement),
            ("crypto", "ikev2", "proposal") => self.ikev2_proposal(statement),
            ("crypto", "ikev2", "keyring") => self.ikev2_keyring(statement),
            ("crypto", "identity", _) => self.crypto_identity(statement),
            ("crypto", "ipsec", "transform-set") => self.transform_set(statement),
            ("crypto", "ipsec", "profile") => self.ipsec_profile(statement),
            ("crypto", "ipsec", "security-association") => self.ipsec_global(statement),
            ("crypto", "map", _) => self.crypto_map(statement),
            ("access-list", _, _) => self.numbered_list(statement),
            ("ip" | "ipv6", "access-list", _) => self.named_list(statement),
            ("object-group", "network", _) => self.object_group(statement),
            ("interface", _, _) => self.interface(statement),
            // No part of GET VPN.
            _ => {}
        }
    }
}
