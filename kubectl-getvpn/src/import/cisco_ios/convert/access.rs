//! Who may join: authentication, identity and authorization.

use ipnet::IpNet;

use crate::import::cisco_ios::address;
use crate::import::cisco_ios::device::{AccessList, CryptoIdentity, Device, Server};
use crate::import::cisco_ios::note::{Notes, Weight};
use crate::import::yaml::Node;

/// Most entries of a list of addresses or subjects.
const MOST: usize = 64;
/// Longest subject.
const LONGEST_SUBJECT: usize = 256;
/// Said wherever authorization is lost.
const OPEN: &str = "everyone who is authenticated may join the result";

/// What was decided.
pub(super) struct Access {
    pre_shared: bool,
    /// `identity`, when it is not the default.
    pub(super) identity: Option<&'static str>,
    /// `authorization`.
    pub(super) authorization: Option<Node>,
}

impl Access {
    /// `authentication` of the group of this name.
    pub(super) fn authentication(&self, group: &str) -> Node {
        if self.pre_shared {
            Node::fields().with("mode", "PreSharedKey").with(
                "preSharedKeySecretRef",
                Node::fields().with("name", format!("{group}-psk")),
            )
        } else {
            Node::fields().with("mode", "Certificate")
        }
    }
}

/// Decides from the key server's configuration.
pub(super) fn decide(device: &Device, server: &Server, notes: &mut Notes) -> Access {
    let ike = &device.ike;
    let said: Vec<(usize, bool)> = ike
        .policies
        .iter()
        .filter_map(|policy| Some((policy.line, policy.pre_shared?)))
        .collect();
    let pre_shared = said
        .first()
        .map_or(!ike.pre_shared_keys.is_empty(), |(_, first)| *first);
    if let Some((line, _)) = said.iter().find(|(_, other)| *other != pre_shared) {
        let message = format!(
            "a group has one kind of authentication; the first policy decides, so members prove themselves by {}",
            if pre_shared {
                "pre-shared key"
            } else {
                "certificate"
            }
        );
        notes.add(device.source, *line, Weight::Lost, message);
    }
    if let (Some(line), true) = (ike.pre_shared_keys.first(), pre_shared) {
        let message = "pre-shared keys are not taken over: put a new one for each member, at least 32 hexadecimal digits (`openssl rand -hex 32`), into the Secret that `preSharedKeySecretRef` names";
        notes.add(device.source, *line, Weight::Lost, message);
    }
    let mut identity = match ike.identity.as_deref() {
        Some("hostname") => Some("Hostname"),
        Some("dn") => Some("DistinguishedName"),
        _ => None,
    };
    let by_name = server.authorization_identity.as_ref();
    let by_address = server.authorization_address.as_ref();
    let mut lost = |line: usize, why: &str| {
        notes.add(device.source, line, Weight::Lost, format!("{why}; {OPEN}"));
    };
    let mut authorization = None;
    if let Some((line, name)) = by_name {
        match device.identities.get(name) {
            None => lost(
                *line,
                &format!("there is no `crypto identity {name}` in this configuration"),
            ),
            Some(found) => match (pre_shared, &found.domain) {
                (false, None) => match subjects(found) {
                    Some(subjects) => {
                        identity = Some("DistinguishedName");
                        authorization = Some(
                            Node::fields()
                                .with("mode", "Certificate")
                                .with("subjects", Node::texts(subjects)),
                        );
                    }
                    None => lost(
                        *line,
                        "its attributes cannot be written as patterns of subjects",
                    ),
                },
                (true, Some(domain)) if domain.len() <= 250 && !domain.is_empty() => {
                    identity = Some("Hostname");
                    let names = [domain.clone(), format!("*.{domain}")];
                    authorization = Some(
                        Node::fields()
                            .with("mode", "PreSharedKey")
                            .with("hostnames", Node::texts(names)),
                    );
                }
                _ => lost(
                    *line,
                    "members are authorized by subject with certificates, and by name or address with pre-shared keys",
                ),
            },
        }
    }
    if let (Some((line, name)), None) = (by_address, &authorization) {
        match (device.access_lists.get(name).map(allowed), pre_shared) {
            (None, _) => lost(
                *line,
                &format!("there is no access list `{name}` in this configuration"),
            ),
            (_, false) => lost(
                *line,
                "with certificates members are authorized by subject and not by address",
            ),
            (Some(nets), true) if nets.is_empty() || nets.len() > MOST => lost(
                *line,
                &format!(
                    "the access list `{name}` becomes {} prefixes; 1 to {MOST} are possible",
                    nets.len()
                ),
            ),
            (Some(nets), true) => {
                authorization = Some(Node::fields().with("mode", "PreSharedKey").with(
                    "addresses",
                    Node::texts(nets.iter().map(ToString::to_string)),
                ));
            }
        }
    } else if let Some((line, _)) = by_address {
        notes.add(
            device.source,
            *line,
            Weight::Changed,
            "members are authorized by identity alone, no longer by address as well",
        );
    }
    Access {
        pre_shared,
        identity,
        authorization,
    }
}

/// The addresses a list permits: those of each `permit` without those of every `deny` in front of it.
fn allowed(list: &AccessList) -> Vec<IpNet> {
    let mut denied: Vec<IpNet> = Vec::new();
    let mut allowed: Vec<IpNet> = Vec::new();
    for entry in &list.entries {
        if !entry.permit {
            denied.extend(&entry.source.nets);
            continue;
        }
        // A condition would let fewer in.
        if !entry.conditions.is_empty() {
            continue;
        }
        let mut left = entry.source.nets.clone();
        for hole in &denied {
            left = left
                .into_iter()
                .flat_map(|net| address::without(net, *hole))
                .collect();
            if left.len() > 4 * MOST {
                break;
            }
        }
        allowed.extend(left);
        if allowed.len() > 4 * MOST {
            break;
        }
    }
    IpNet::aggregate(&allowed)
}

/// Patterns of subjects that have all of the attributes, in this order. `None` when there is none, or when there would
/// be too many patterns.
fn subjects(identity: &CryptoIdentity) -> Option<Vec<String>> {
    let attributes: Vec<String> = identity
        .attributes
        .iter()
        .filter_map(|attribute| {
            let (name, value) = attribute.split_once('=')?;
            Some(format!(
                "{}={}",
                name.trim().to_ascii_uppercase(),
                value.trim()
            ))
        })
        .collect();
    let (first, rest) = attributes.split_first()?;
    // A `*` between commas must not reach into a value: `OU=A` is not `OU=AB`.
    let mut patterns = vec![first.clone(), format!("*,{first}")];
    for attribute in rest {
        patterns = patterns
            .iter()
            .flat_map(|pattern| {
                [
                    format!("{pattern},{attribute}"),
                    format!("{pattern},*,{attribute}"),
                ]
            })
            .collect();
        if patterns.len() > MOST {
            return None;
        }
    }
    let patterns: Vec<String> = patterns
        .iter()
        .flat_map(|pattern| [pattern.clone(), format!("{pattern},*")])
        .collect();
    let fits = patterns.len() <= MOST
        && patterns
            .iter()
            .all(|pattern| pattern.chars().count() <= LONGEST_SUBJECT);
    let mut unique = patterns.clone();
    unique.sort();
    unique.dedup();
    (fits && unique.len() == patterns.len()).then_some(patterns)
}
