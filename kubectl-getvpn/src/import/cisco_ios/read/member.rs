//! Where a member joins: crypto maps and the interfaces that carry them.

use super::Reader;
use crate::import::cisco_ios::device::{CryptoMap, FailClose, Interface};
use crate::import::cisco_ios::statement::Statement;

impl Reader<'_> {
    /// `crypto map [ipv6] NAME …`.
    pub(super) fn crypto_map(&mut self, statement: &Statement) {
        let at = if statement.is(2, "ipv6") && statement.words.len() > 3 {
            3
        } else {
            2
        };
        let name = statement.word(at).to_owned();
        let gdoi = |index| statement.is(index, "gdoi") || statement.is(index, "gkm");
        if statement.is(at + 1, "local-address") {
            self.device
                .local_addresses
                .insert(name, statement.word(at + 2).to_owned());
        } else if gdoi(at + 1) && statement.is(at + 2, "fail-close") {
            self.fail_close(name, statement);
        } else if gdoi(at + 2) {
            self.gdoi_entry(name, statement);
        } else if statement.parse::<u32>(at + 1).is_some() {
            self.lost(
                statement,
                "an entry for tunnels between two routers; only group members are imported",
            );
        }
    }

    fn gdoi_entry(&mut self, name: String, statement: &Statement) {
        let mut map = CryptoMap {
            line: statement.line,
            name,
            ..CryptoMap::default()
        };
        for line in &statement.below {
            if line.starts(&["set", "group"]) {
                map.group = Some(line.word(2).to_owned());
            } else if line.starts(&["match", "address"]) {
                map.list = Some((line.line, line.words.last().cloned().unwrap_or_default()));
            } else if !line.is(0, "description") {
                self.not_understood(line);
            }
        }
        self.device.crypto_maps.push(map);
    }

    fn fail_close(&mut self, name: String, statement: &Statement) {
        let mut fail_close = FailClose {
            line: statement.line,
            ..FailClose::default()
        };
        for line in &statement.below {
            if line.is(0, "activate") {
                fail_close.active = true;
            } else if line.starts(&["no", "activate"]) {
                fail_close.active = false;
            } else if line.starts(&["match", "address"]) {
                let list = line.words.last().cloned().unwrap_or_default();
                fail_close.list = Some((line.line, list));
            } else {
                self.not_understood(line);
            }
        }
        self.device.fail_close.insert(name, fail_close);
    }

    /// `interface NAME`; only those with a crypto map matter.
    pub(super) fn interface(&mut self, statement: &Statement) {
        let name = statement.words.get(1..).unwrap_or_default().concat();
        let mut interface = Interface {
            line: statement.line,
            name,
            ..Interface::default()
        };
        for line in &statement.below {
            if line.starts(&["crypto", "map"]) || line.starts(&["ipv6", "crypto", "map"]) {
                interface.crypto_map = line.words.last().cloned().unwrap_or_default();
            } else if line.starts(&["vrf", "forwarding"]) {
                interface.vrf = Some((line.line, line.word(2).to_owned()));
            } else if line.starts(&["ip", "vrf", "forwarding"]) {
                interface.vrf = Some((line.line, line.word(3).to_owned()));
            } else if line.starts(&["tunnel", "protection"]) {
                interface.tunnel_protection = Some(line.line);
            } else if line.starts(&["ip", "mtu"]) {
                interface.mtu = line.parse(2).map(|mtu| (line.line, mtu));
            }
        }
        if !interface.crypto_map.is_empty() {
            self.device.interfaces.push(interface);
        }
    }
}
