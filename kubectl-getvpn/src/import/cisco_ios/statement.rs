//! A configuration as a tree: each command with the commands of its mode below it.
//!
//! `show running-config` indents by mode, and that is followed. What people type or paste is often flat; then the words
//! decide which mode a command belongs to.

use std::str::FromStr;

/// Deepest nesting that is kept apart; real configurations have four levels.
const DEEPEST: usize = 6;

/// One command with the commands of the mode it opens.
#[derive(Clone, Debug, Default)]
pub(super) struct Statement {
    /// Its line, from 1.
    pub(super) line: usize,
    /// Its words as written.
    pub(super) words: Vec<String>,
    /// Commands of its mode.
    pub(super) below: Vec<Statement>,
}

impl Statement {
    /// A word as written; empty when there are not so many.
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    /// Whether a word is this keyword.
    pub(super) fn is(&self, index: usize, keyword: &str) -> bool {
        self.word(index).eq_ignore_ascii_case(keyword)
    }

    /// Whether the command begins with these keywords.
    pub(super) fn starts(&self, keywords: &[&str]) -> bool {
        keywords
            .iter()
            .enumerate()
            .all(|(index, keyword)| self.is(index, keyword))
    }

    /// The word after a keyword, wherever that is.
    pub(super) fn after(&self, keyword: &str) -> Option<&str> {
        let at = self
            .words
            .iter()
            .position(|word| word.eq_ignore_ascii_case(keyword))?;
        self.words.get(at + 1).map(String::as_str)
    }

    /// A word as a number or an address.
    pub(super) fn parse<T: FromStr>(&self, index: usize) -> Option<T> {
        self.word(index).parse().ok()
    }

    /// The command for a note. Whatever may be a key or a password is left out.
    pub(super) fn text(&self) -> String {
        const SECRET: [&str; 7] = [
            "key",
            "key-string",
            "pre-shared-key",
            "password",
            "secret",
            "passphrase",
            "community",
        ];
        let hidden = self
            .words
            .iter()
            .position(|word| SECRET.iter().any(|name| word.eq_ignore_ascii_case(name)));
        match hidden {
            Some(at) if at + 1 < self.words.len() => {
                let shown = self.words.get(..=at).unwrap_or_default();
                format!("{} …", shown.join(" "))
            }
            _ => self.words.join(" "),
        }
    }
}

/// What a command opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Global,
    Group,
    ServerLocal,
    SaIpsec,
    Redundancy,
    Identifier,
    IsakmpPolicy,
    Ikev2Proposal,
    TransformSet,
    IpsecProfile,
    CryptoMap,
    AccessList,
    ObjectGroup,
    CryptoIdentity,
    Interface,
    /// A mode that has nothing to do with GET VPN.
    Other,
}

impl Mode {
    /// The mode that a command opens in this one.
    fn opened(self, statement: &Statement) -> Option<Self> {
        let starts = |keywords: &[&str]| statement.starts(keywords);
        let known = match self {
            Self::Global if starts(&["crypto", "gdoi", "group"]) => Self::Group,
            Self::Global if starts(&["crypto", "gkm", "group"]) => Self::Group,
            Self::Global if starts(&["crypto", "isakmp", "policy"]) => Self::IsakmpPolicy,
            Self::Global if starts(&["crypto", "ikev2", "proposal"]) => Self::Ikev2Proposal,
            Self::Global if starts(&["crypto", "ipsec", "transform-set"]) => Self::TransformSet,
            Self::Global if starts(&["crypto", "ipsec", "profile"]) => Self::IpsecProfile,
            Self::Global if starts(&["crypto", "map"]) => Self::CryptoMap,
            Self::Global if starts(&["crypto", "identity"]) => Self::CryptoIdentity,
            Self::Global if starts(&["ip", "access-list"]) => Self::AccessList,
            Self::Global if starts(&["ipv6", "access-list"]) => Self::AccessList,
            Self::Global if starts(&["object-group"]) => Self::ObjectGroup,
            Self::Global if starts(&["interface"]) => Self::Interface,
            Self::Global => Self::Other,
            Self::Group if starts(&["server", "local"]) => Self::ServerLocal,
            Self::ServerLocal if starts(&["sa", "ipsec"]) => Self::SaIpsec,
            Self::ServerLocal if starts(&["redundancy"]) => Self::Redundancy,
            Self::ServerLocal if starts(&["identifier"]) => Self::Identifier,
            _ => return None,
        };
        Some(known)
    }

    /// Whether a command that is not indented belongs into this mode.
    fn claims(self, statement: &Statement) -> bool {
        let first = usize::from(statement.is(0, "no"));
        let word = statement.word(first).to_ascii_lowercase();
        let word = word.as_str();
        let follower = |keyword: &str| statement.is(first + 1, keyword);
        match self {
            Self::Global => true,
            Self::Group => matches!(word, "identity" | "server" | "client" | "passive"),
            Self::ServerLocal => matches!(
                word,
                "rekey"
                    | "authorization"
                    | "sa"
                    | "address"
                    | "redundancy"
                    | "registration"
                    | "identifier"
                    | "gikev2"
                    | "gdoi"
                    | "pfs"
            ),
            Self::SaIpsec => matches!(word, "profile" | "match" | "replay" | "tag" | "status"),
            Self::Redundancy => {
                (word == "local" && follower("priority"))
                    || (word == "peer" && (follower("address") || follower("hostname")))
                    || word == "protocol"
            }
            Self::Identifier => matches!(word, "range" | "value"),
            Self::IsakmpPolicy => matches!(
                word,
                "encr" | "encryption" | "hash" | "authentication" | "group" | "lifetime"
            ),
            Self::Ikev2Proposal => matches!(word, "encryption" | "integrity" | "prf" | "group"),
            Self::TransformSet => word == "mode",
            Self::IpsecProfile => word == "set",
            Self::CryptoMap => matches!(word, "set" | "match" | "activate"),
            Self::AccessList => {
                matches!(word, "permit" | "deny" | "remark" | "sequence")
                    || (word.parse::<u32>().is_ok()
                        && (follower("permit") || follower("deny") || follower("remark")))
            }
            Self::ObjectGroup => {
                matches!(
                    word,
                    "host" | "range" | "group-object" | "any" | "description"
                ) || word.starts_with(|c: char| c.is_ascii_digit())
            }
            Self::CryptoIdentity => matches!(word, "dn" | "fqdn"),
            Self::Interface => {
                matches!(
                    word,
                    "description"
                        | "tunnel"
                        | "vrf"
                        | "shutdown"
                        | "duplex"
                        | "speed"
                        | "mtu"
                        | "bandwidth"
                        | "negotiation"
                ) || (word == "crypto" && follower("map") && statement.words.len() == first + 3)
                    || (word == "ip"
                        && !["access-list", "route", "domain", "http", "ssh", "cef"]
                            .iter()
                            .any(|other| follower(other)))
            }
            Self::Other => false,
        }
    }
}

/// A mode that is open while lines are read.
struct Open {
    mode: Mode,
    /// Columns in front of the command that opened it.
    indent: usize,
    /// Columns in front of its own commands, once there was one; `None` when these are not indented.
    inner: Option<usize>,
    statement: Statement,
}

/// Reads a configuration.
pub(super) fn tree(text: &str) -> Vec<Statement> {
    let mut all = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut banner: Option<char> = None;
    for (index, line) in text.lines().enumerate() {
        if let Some(end) = banner {
            if line.contains(end) {
                banner = None;
            }
            continue;
        }
        let line = without_prompt(line);
        let content = line.trim();
        if content.is_empty() || content.starts_with('!') {
            continue;
        }
        banner = banner_end(content);
        let statement = Statement {
            line: index + 1,
            words: content.split_whitespace().map(str::to_owned).collect(),
            below: Vec::new(),
        };
        let indent = line.chars().take_while(|c| c.is_whitespace()).count();
        while let Some(top) = open.last() {
            let inside = match top.inner {
                Some(inner) => indent >= inner,
                None if indent > top.indent => true,
                None => top.mode.claims(&statement),
            };
            if inside {
                break;
            }
            close(&mut open, &mut all);
        }
        let depth = open.len();
        let mode = open.last().map_or(Mode::Global, |top| top.mode);
        if let Some(top) = open.last_mut()
            && top.inner.is_none()
            && indent > top.indent
        {
            top.inner = Some(indent);
        }
        match mode.opened(&statement) {
            Some(mode) if depth < DEEPEST => open.push(Open {
                mode,
                indent,
                inner: None,
                statement,
            }),
            _ => match open.last_mut() {
                Some(top) => top.statement.below.push(statement),
                None => all.push(statement),
            },
        }
    }
    while !open.is_empty() {
        close(&mut open, &mut all);
    }
    all
}

/// Ends the innermost mode.
fn close(open: &mut Vec<Open>, all: &mut Vec<Statement>) {
    if let Some(ended) = open.pop() {
        match open.last_mut() {
            Some(outer) => outer.statement.below.push(ended.statement),
            None => all.push(ended.statement),
        }
    }
}

/// The line without a prompt such as `KS1(config-gdoi-group)#` in front.
fn without_prompt(line: &str) -> &str {
    let Some((prompt, rest)) = line.split_once('#') else {
        return line;
    };
    let is_prompt = prompt.starts_with(|c: char| c.is_ascii_alphabetic())
        && prompt
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.()".contains(c));
    if is_prompt { rest.trim_start() } else { line }
}

/// The character that ends a banner which does not end on its own line.
fn banner_end(content: &str) -> Option<char> {
    let rest = content.strip_prefix("banner ")?;
    let (_, text) = rest.trim_start().split_once(char::is_whitespace)?;
    let text = text.trim_start();
    // The console shows the control character as `^C`.
    let (end, rest) = match text.strip_prefix("^C") {
        Some(rest) => ('^', rest),
        None => {
            let mut characters = text.chars();
            (characters.next()?, characters.as_str())
        }
    };
    (!rest.contains(end)).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(statements: &[Statement]) -> String {
        statements
            .iter()
            .map(|statement| {
                let below = shape(&statement.below);
                let head = statement.words.join(" ");
                if below.is_empty() {
                    format!("[{head}]")
                } else {
                    format!("[{head}{below}]")
                }
            })
            .collect()
    }

    const INDENTED: &str = "\
hostname ks1
banner motd ^C
crypto gdoi group NOT-ME
^C
crypto gdoi group G
 identity number 1
 server local
  rekey transport unicast
  sa ipsec 1
   profile P
   match address ipv4 101
  redundancy
   local priority 10
!
interface Gi0/0
 crypto map M
line vty 0 4
 password x
access-list 101 permit ip any any
";

    #[test]
    fn indentation_and_words_give_the_same_tree() {
        let expected = "[hostname ks1][banner motd ^C][crypto gdoi group G[identity number 1]\
            [server local[rekey transport unicast][sa ipsec 1[profile P][match address ipv4 101]]\
            [redundancy[local priority 10]]]][interface Gi0/0[crypto map M]]";
        let indented = shape(&tree(INDENTED));
        assert!(indented.starts_with(expected), "{indented}");
        let flat: String = INDENTED
            .lines()
            .map(|line| format!("{}\n", line.trim_start()))
            .collect();
        let flat = shape(&tree(&flat));
        assert!(flat.starts_with(expected), "{flat}");
        let with_prompts: String = INDENTED
            .lines()
            .map(|line| format!("ks1(config)#{}\n", line.trim_start()))
            .collect();
        assert!(shape(&tree(&with_prompts)).contains("[sa ipsec 1[profile P]"));
    }

    #[test]
    fn keys_are_not_part_of_a_statements_text() {
        for line in [
            "crypto isakmp key 6 S3cr3t address 10.0.0.1",
            "pre-shared-key local S3cr3t",
            "username u password 7 S3cr3t",
        ] {
            let tree = tree(line);
            let text = tree.first().expect("one statement").text();
            assert!(!text.contains("S3cr3t") && text.ends_with('…'), "{text}");
        }
    }

    #[test]
    fn ever_deeper_indentation_ends_at_a_depth_that_can_be_dropped() {
        let text: String = (0..20_000)
            .map(|depth| format!("{}interface x\n", " ".repeat(depth % 5_000)))
            .collect();
        assert!(!tree(&text).is_empty());
    }
}
