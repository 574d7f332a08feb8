//! `crypto gdoi group`, on a key server and on a member.

use super::Reader;
use crate::import::cisco_ios::device::{Association, Group, GroupIdentity, Replay, Server};
use crate::import::cisco_ios::statement::Statement;

impl Reader<'_> {
    /// `crypto gdoi group [ipv6] NAME`.
    pub(super) fn group(&mut self, statement: &Statement) {
        let at = if statement.is(3, "ipv6") && statement.words.len() > 4 {
            4
        } else {
            3
        };
        let name = statement.word(at).to_owned();
        if name.is_empty() {
            return self.not_understood(statement);
        }
        let mut group = Group {
            line: statement.line,
            name,
            ..Group::default()
        };
        for line in &statement.below {
            self.group_line(&mut group, line);
        }
        self.device.groups.push(group);
    }

    fn group_line(&mut self, group: &mut Group, line: &Statement) {
        let word = |index| line.word(index).to_ascii_lowercase();
        match (word(0).as_str(), word(1).as_str()) {
            ("identity", "number") => match line.parse(2) {
                Some(number) => group.identity = Some(GroupIdentity::Number(number)),
                None => self.not_understood(line),
            },
            ("identity", "address") => match line.words.last().and_then(|word| word.parse().ok()) {
                Some(address) => group.identity = Some(GroupIdentity::Address(address)),
                None => self.not_understood(line),
            },
            ("server", "local") => {
                let server = self.server(line);
                group.server = Some(server);
            }
            ("server", "address") => match line.words.last().and_then(|word| word.parse().ok()) {
                Some(address) => group.key_servers.push((line.line, address)),
                None => self.not_understood(line),
            },
            ("server", "hostname") => self.lost(
                line,
                "members are told addresses of key servers; in a cluster they learn them by themselves",
            ),
            ("client", "registration") if line.is(2, "interface") => {
                group.registration_interface = Some((line.line, line.word(3).to_owned()));
            }
            ("client", "protocol") => self.hint(line, "members speak G-IKEv2 (RFC 9838) only"),
            ("client", "rekey" | "transform-sets") => self.hint(
                line,
                "a member takes every algorithm there is; all of them encrypt and authenticate",
            ),
            ("client", "recovery-check") => self.hint(
                line,
                "members register again by themselves when they meet an SPI they do not know, at most once a minute",
            ),
            ("client", "bypass-policy") => self.hint(
                line,
                "registration and rekeys of the member itself always go in clear",
            ),
            ("client", _) => self.lost(line, "there is no such setting of a member"),
            ("passive", _) => group.passive = true,
            ("no", "passive") => group.passive = false,
            ("no", _) => {}
            _ => self.not_understood(line),
        }
    }

    /// `server local`.
    fn server(&mut self, statement: &Statement) -> Server {
        let mut server = Server {
            line: statement.line,
            ..Server::default()
        };
        for line in &statement.below {
            let word = |index| line.word(index).to_ascii_lowercase();
            match (word(0).as_str(), word(1).as_str()) {
                ("rekey", _) => self.rekey(&mut server, line),
                ("no", "rekey") if line.starts(&["no", "rekey", "transport", "unicast"]) => {
                    server.unicast = false;
                }
                ("authorization", "address") => {
                    server.authorization_address = Some((line.line, last(line)));
                }
                ("authorization", "identity") => {
                    server.authorization_identity = Some((line.line, last(line)));
                }
                ("sa", "receive-only") => server.receive_only = true,
                ("sa", "ipsec") => {
                    let association = self.association(line);
                    server.associations.push(association);
                }
                ("sa", _) => self.lost(line, "there is no such kind of security association"),
                ("address", _) => {
                    server.address = line.words.last().and_then(|word| word.parse().ok());
                }
                ("redundancy", _) => self.redundancy(&mut server, line),
                ("registration", "interface") => self.lost(
                    line,
                    "interfaces have other names here; set `keyServers.registration.interfaceName` if one alone shall answer",
                ),
                ("registration", _) => {
                    self.lost(line, "revocation lists are not fetched in this version")
                }
                ("identifier", _) => self.hint(
                    line,
                    "sender identifiers are given out by the key servers together; their length is `traffic.senderIDBits`",
                ),
                ("gikev2" | "gdoi", _) => self.hint(line, "key servers speak G-IKEv2 (RFC 9838) only"),
                ("pfs", _) => self.hint(
                    line,
                    "an eviction always replaces the keys so that the member cannot read on",
                ),
                ("no", _) => {}
                _ => self.not_understood(line),
            }
        }
        server
    }

    fn rekey(&mut self, server: &mut Server, line: &Statement) {
        match line.word(1).to_ascii_lowercase().as_str() {
            "transport" => server.unicast = line.is(2, "unicast"),
            "address" => server.rekey_address = Some((line.line, last(line))),
            "lifetime" => {
                let seconds = line.parse::<i64>(3).and_then(|number| {
                    if line.is(2, "days") {
                        number.checked_mul(86_400)
                    } else {
                        Some(number)
                    }
                });
                match seconds {
                    Some(seconds) => server.rekey_lifetime = Some((line.line, seconds)),
                    None => self.not_understood(line),
                }
            }
            "retransmit" => match line.parse::<i64>(2) {
                Some(period) => {
                    let number = line
                        .after("number")
                        .and_then(|word| word.parse().ok())
                        // What IOS takes when the number is left out.
                        .unwrap_or(2);
                    server.retransmit = Some((line.line, period, number));
                    if line
                        .words
                        .iter()
                        .any(|word| word.eq_ignore_ascii_case("periodic"))
                    {
                        self.changed(
                            line,
                            "a rekey is not repeated for ever; silent members are asked and in the end removed",
                        );
                    }
                }
                None => self.not_understood(line),
            },
            "authentication" => server.signing_key = Some((line.line, last(line))),
            "algorithm" => {
                if !line.starts(&["rekey", "algorithm", "aes", "256"]) {
                    self.changed(line, "rekeys are always encrypted with AES-256-GCM");
                }
            }
            "sig-hash" => {
                if !line.is(3, "sha256") {
                    self.changed(line, "rekeys are signed over SHA-256 (or by Ed25519)");
                }
            }
            "acknowledgement" => {
                self.hint(line, "unicast rekeys are acknowledged as RFC 9838 says");
            }
            _ => self.not_understood(line),
        }
    }

    fn redundancy(&mut self, server: &mut Server, statement: &Statement) {
        server.redundancy = true;
        for line in &statement.below {
            if line.starts(&["local", "priority"]) {
                match line.parse(2) {
                    Some(priority) => server.priority = Some((line.line, priority)),
                    None => self.not_understood(line),
                }
            } else if line.starts(&["peer", "address"]) {
                match line.words.last().and_then(|word| word.parse().ok()) {
                    Some(address) => server.peers.push(address),
                    None => self.not_understood(line),
                }
            } else if line.is(0, "protocol") {
                self.hint(
                    line,
                    "key servers agree by Raft, whose timers need no setting",
                );
            } else if !line.is(0, "no") {
                self.not_understood(line);
            }
        }
    }

    /// `sa ipsec NUMBER`.
    fn association(&mut self, statement: &Statement) -> Association {
        let mut association = Association {
            line: statement.line,
            number: statement.parse(2).unwrap_or(0),
            ..Association::default()
        };
        for line in &statement.below {
            if line.is(0, "profile") {
                association.profile = Some((line.line, line.word(1).to_owned()));
            } else if line.starts(&["match", "address"]) {
                association.lists.push((line.line, last(line)));
            } else if line.starts(&["no", "replay"]) {
                association.replay = Some(Replay::Disabled);
            } else if line.starts(&["replay", "counter"]) {
                association.replay = Some(Replay::Counter);
                self.hint(line, "the window of counters has a fixed size");
            } else if line.starts(&["replay", "time", "window-size"]) {
                let window = if line.is(3, "msec") {
                    line.parse::<i64>(4)
                } else {
                    line.parse::<i64>(3)
                        .and_then(|seconds| seconds.checked_mul(1000))
                };
                match window {
                    Some(window) => association.replay = Some(Replay::Time(window)),
                    None => self.not_understood(line),
                }
            } else if line.is(0, "no") {
                // What is off is not carried over.
            } else if line.is(0, "tag") {
                self.lost(line, "security group tags are not carried");
            } else {
                self.not_understood(line);
            }
        }
        association
    }
}

/// The last word: names follow keywords of which some are optional, such as `ipv4`.
fn last(line: &Statement) -> String {
    line.words.last().cloned().unwrap_or_default()
}
