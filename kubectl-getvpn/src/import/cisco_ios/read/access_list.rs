//! Access lists and object groups of networks.

use std::net::Ipv4Addr;

use super::Reader;
use crate::import::cisco_ios::address;
use crate::import::cisco_ios::device::AccessList;
use crate::import::cisco_ios::entry;
use crate::import::cisco_ios::statement::Statement;

/// Numbers of standard lists.
fn is_standard(number: u32) -> bool {
    matches!(number, 1..=99 | 1300..=1999)
}

impl Reader<'_> {
    /// `access-list NUMBER permit …`.
    pub(super) fn numbered_list(&mut self, statement: &Statement) {
        let name = statement.word(1).to_owned();
        let Some(number) = statement.parse::<u32>(1) else {
            return self.not_understood(statement);
        };
        if statement.is(2, "remark") {
            return;
        }
        self.add_entry(statement, &name, 2, is_standard(number), false);
    }

    /// `ip access-list extended NAME` and its like, with the lines below.
    pub(super) fn named_list(&mut self, statement: &Statement) {
        let ipv6 = statement.is(0, "ipv6");
        let (standard, name) = if ipv6 {
            (false, statement.word(2))
        } else if statement.is(2, "standard") || statement.is(2, "extended") {
            (statement.is(2, "standard"), statement.word(3))
        } else {
            // `ip access-list resequence` and the like are no lists.
            return;
        };
        if name.is_empty() {
            return self.not_understood(statement);
        }
        let list = self.list(name);
        if list.line == 0 {
            list.line = statement.line;
        }
        for line in &statement.below {
            let at = match line.word(0).to_ascii_lowercase().as_str() {
                "remark" => continue,
                "sequence" => 2,
                number if number.parse::<u32>().is_ok() => 1,
                _ => 0,
            };
            if !line.is(at, "remark") {
                self.add_entry(line, name, at, standard, ipv6);
            }
        }
    }

    fn list(&mut self, name: &str) -> &mut AccessList {
        self.device.access_lists.entry(name.to_owned()).or_default()
    }

    /// Adds the entry whose `permit` or `deny` is the word at `at`. Lists that nobody uses are in every configuration:
    /// what is wrong with an entry is only said once the list is used.
    fn add_entry(
        &mut self,
        statement: &Statement,
        name: &str,
        at: usize,
        standard: bool,
        ipv6: bool,
    ) {
        let sequence = at
            .checked_sub(1)
            .and_then(|before| statement.parse::<u32>(before))
            .filter(|_| !statement.is(0, "access-list"));
        let words = statement.words.get(at..).unwrap_or_default();
        let read = if standard {
            entry::standard(statement.line, sequence, words)
        } else {
            entry::extended(statement.line, sequence, words, ipv6)
        };
        let list = self.list(name);
        if list.line == 0 {
            list.line = statement.line;
        }
        match read {
            Ok(entry) => list.entries.push(entry),
            Err(problem) => list.unread.push((
                statement.line,
                words
                    .first()
                    .is_some_and(|word| word.eq_ignore_ascii_case("permit")),
                format!("`{}`: {problem}", statement.text()),
            )),
        }
    }

    /// `object-group network NAME`.
    pub(super) fn object_group(&mut self, statement: &Statement) {
        let name = statement.word(2).to_owned();
        for line in &statement.below {
            let nets = match line.word(0).to_ascii_lowercase().as_str() {
                "description" => continue,
                "group-object" => {
                    let member = line.word(1).to_owned();
                    let group = self.device.object_groups.entry(name.clone()).or_default();
                    group.groups.push(member);
                    continue;
                }
                "host" => line.parse(1).map(|address| vec![address::host(address)]),
                "any" => Some(vec![address::any_ipv4()]),
                "range" => match (line.parse(1), line.parse(2)) {
                    (Some(first), Some(last)) => address::range(first, last),
                    _ => None,
                },
                _ => match (line.parse::<Ipv4Addr>(0), line.parse::<Ipv4Addr>(1)) {
                    (Some(address), Some(mask)) => {
                        address::subnet(address, mask).map(|net| vec![net])
                    }
                    _ => None,
                },
            };
            let group = self.device.object_groups.entry(name.clone()).or_default();
            match nets {
                Some(nets) => group.nets.extend(nets),
                None => group.unread.push((
                    line.line,
                    format!("`{}`: is not understood here", line.text()),
                )),
            }
        }
    }
}
