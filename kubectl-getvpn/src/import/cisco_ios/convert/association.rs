//! `sa ipsec` of a key server as SecurityAssociations.

use std::collections::BTreeSet;

use super::Plan;
use super::name::Names;
use super::rules::{self, GroupRule};
use super::timing;
use crate::import::cisco_ios::device::{Association, Device, Group, Replay, Server};
use crate::import::cisco_ios::note::{Notes, Weight};
use crate::import::cisco_ios::rule::{self, Role};
use crate::import::yaml::Node;

/// Rules one object may have, less one for the rule that keeps multicast rekeys in clear.
const MOST_RULES: usize = operator_core::group::MOST_RULES - 1;
/// Distance of the numbers of associations.
const STEP: u32 = 100;
/// Largest `order`.
const LARGEST_ORDER: u32 = 10_000;

/// The SecurityAssociations of a group.
pub(super) fn nodes(
    plan: &Plan<'_>,
    (device, group, server): (&Device, &Group, &Server),
    names: &mut Names,
    notes: &mut Notes,
) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut orders = BTreeSet::new();
    if server.associations.is_empty() {
        let message = format!(
            "group `{}` has no `sa ipsec`: nothing is encrypted until it has a SecurityAssociation",
            group.name
        );
        notes.add(device.source, server.line, Weight::Lost, message);
    }
    for association in &server.associations {
        let (list, rules) = group_rules(device, association, notes);
        let portions = portions(rules, device.source, notes);
        if portions.is_empty() {
            let message = format!(
                "`sa ipsec {}` has no entry that permits; it encrypts nothing and is left out",
                association.number
            );
            notes.add(device.source, association.line, Weight::Lost, message);
            continue;
        }
        if portions.len() > 1 {
            let message = format!(
                "its list has more rules than one object may hold; it becomes {} objects with keys of their own",
                portions.len()
            );
            notes.add(device.source, association.line, Weight::Changed, message);
        }
        let settings = settings(device, association, notes);
        for portion in &portions {
            let Some(order) = order(association.number, &mut orders) else {
                let message =
                    "there are more associations than numbers for them; this one is left out";
                notes.add(device.source, association.line, Weight::Lost, message);
                continue;
            };
            let base: String = plan.name.chars().take(45).collect();
            let name = names.unique(&format!("{base}-sa-{}", association.number), 63);
            let mut spec = Node::fields()
                .with("groupRef", Node::fields().with("name", plan.name.as_str()))
                .with("order", i64::from(order));
            for (field, node) in settings.clone() {
                spec = spec.with(field, node);
            }
            let rules = Node::List(rules::rule_nodes(&list, portion));
            nodes.push(super::group::object(
                "SecurityAssociation",
                &name,
                spec.with("rules", rules),
            ));
        }
    }
    nodes
}

/// The rules of all lists of an association, and a name for them.
fn group_rules(
    device: &Device,
    association: &Association,
    notes: &mut Notes,
) -> (String, Vec<GroupRule>) {
    let mut expanded = Vec::new();
    let mut names = Vec::new();
    for (line, name) in &association.lists {
        match device.access_lists.get(name) {
            Some(list) => {
                names.push(name.as_str());
                expanded.extend(rule::expand(device, list, Role::Group, notes));
            }
            None => {
                let message = format!(
                    "there is no access list `{name}` in this configuration; what it encrypts is not encrypted by the result"
                );
                notes.add(device.source, *line, Weight::Lost, message);
            }
        }
    }
    // The name of a rule must begin with a letter; those of most lists are numbers.
    let name = match names.as_slice() {
        [only] if only.starts_with(|c: char| c.is_ascii_digit()) => format!("acl-{only}"),
        [] => "acl".to_owned(),
        several => several.join("-"),
    };
    (name, rules::joined(expanded, device.source, notes))
}

/// Rules in portions that fit an object, each with at least one that permits.
fn portions(rules: Vec<GroupRule>, source: usize, notes: &mut Notes) -> Vec<Vec<GroupRule>> {
    let mut portions: Vec<Vec<GroupRule>> = vec![Vec::new()];
    let mut room = MOST_RULES;
    for rule in rules {
        if rule.size() > room {
            portions.push(Vec::new());
            room = MOST_RULES;
        }
        room = room.saturating_sub(rule.size());
        if let Some(last) = portions.last_mut() {
            last.push(rule);
        }
    }
    portions.retain(|portion| {
        let permits = portion.iter().any(|rule| rule.rule.permit);
        if let (false, Some(first)) = (permits, portion.first()) {
            let message = format!(
                "{} entries from here on only deny, which needs an object with one that permits; they are left out, so what they leave in clear may be encrypted",
                portion.len()
            );
            notes.add(source, first.rule.line, Weight::Lost, message);
        }
        permits
    });
    portions
}

/// A place in the order that is not taken.
fn order(number: u32, taken: &mut BTreeSet<u32>) -> Option<u32> {
    let wanted = number.saturating_mul(STEP).clamp(STEP, LARGEST_ORDER);
    let order = (wanted..=LARGEST_ORDER)
        .chain(1..wanted)
        .find(|order| !taken.contains(order))?;
    taken.insert(order);
    Some(order)
}

/// Cipher, lifetimes and protection against replays.
fn settings(
    device: &Device,
    association: &Association,
    notes: &mut Notes,
) -> Vec<(&'static str, Node)> {
    let mut settings = Vec::new();
    let encryption = encryption(device, association, notes);
    settings.push(("transform", Node::fields().with("encryption", encryption)));
    let (seconds, kilobytes) = timing::of_association(device, association, notes);
    settings.extend(seconds.map(|value| ("lifetimeSeconds", Node::Number(value))));
    settings.extend(kilobytes.map(|value| ("lifetimeKilobytes", Node::Number(value))));
    let replay = association.replay.unwrap_or(if device.replay_disabled {
        Replay::Disabled
    } else {
        // What IOS does when nothing is said.
        Replay::Counter
    });
    let replay = match replay {
        Replay::Disabled => Node::fields().with("mode", "Disabled"),
        Replay::Counter => Node::fields().with("mode", "Counter"),
        Replay::Time(window) => {
            let within = window.clamp(100, 100_000);
            if within != window {
                let message = format!(
                    "a window of {window} ms becomes {within} ms; 100 to 100000 is possible"
                );
                notes.add(device.source, association.line, Weight::Changed, message);
            }
            let node = Node::fields().with("mode", "TimeBased");
            if within % 1_000 == 0 {
                node.with("windowSeconds", within / 1_000)
            } else {
                node.with("windowMilliseconds", within)
            }
        }
    };
    settings.push(("antiReplay", replay));
    settings
}

/// The cipher of an association's transform set. Everything becomes a cipher that encrypts and authenticates.
fn encryption(device: &Device, association: &Association, notes: &mut Notes) -> &'static str {
    const STRONGEST: &str = "AES256GCM";
    let mut lost = |line, message: String| {
        notes.add(device.source, line, Weight::Lost, message);
        STRONGEST
    };
    let Some((line, name)) = &association.profile else {
        return lost(
            association.line,
            format!(
                "`sa ipsec {}` has no profile; the cipher is {STRONGEST}",
                association.number
            ),
        );
    };
    let Some(profile) = device.ipsec_profiles.get(name) else {
        return lost(
            *line,
            format!(
                "there is no IPsec profile `{name}` in this configuration; the cipher is {STRONGEST}"
            ),
        );
    };
    let set = profile
        .transform_set
        .as_ref()
        .and_then(|set| device.transform_sets.get(set));
    let Some(set) = set else {
        return lost(
            profile.line,
            format!(
                "the transform set of profile `{name}` is not in this configuration; the cipher is {STRONGEST}"
            ),
        );
    };
    let words: Vec<&str> = set.transforms.iter().map(String::as_str).collect();
    let after = |keyword: &str| {
        let at = words.iter().position(|word| *word == keyword)?;
        Some(words.get(at + 1).copied().unwrap_or_default())
    };
    let (cipher, change) = match (after("esp-gcm"), after("esp-aes")) {
        (Some("256"), _) => (STRONGEST, None),
        (Some("192"), _) => (STRONGEST, Some("there is no key of 192 bits")),
        (Some(_), _) => ("AES128GCM", None),
        (None, Some("256")) => (
            STRONGEST,
            Some("CBC and a hash become GCM, which does both"),
        ),
        (None, Some("192")) => (
            STRONGEST,
            Some("CBC and a hash become GCM, which has no key of 192 bits"),
        ),
        (None, Some(_)) => (
            "AES128GCM",
            Some("CBC and a hash become GCM, which does both"),
        ),
        (None, None) if words.contains(&"esp-null") || words.contains(&"esp-gmac") => (
            STRONGEST,
            Some("packets that are only authenticated do not exist here: they are encrypted too"),
        ),
        (None, None) => (
            STRONGEST,
            Some("the cipher is not offered, a strong one takes its place"),
        ),
    };
    if let Some(why) = change {
        let message = format!(
            "`{}`: the cipher becomes {cipher}: {why}",
            set.transforms.join(" ")
        );
        notes.add(device.source, set.line, Weight::Changed, message);
    }
    if words
        .iter()
        .any(|word| word.starts_with("ah-") || *word == "comp-lzs")
    {
        let message = format!(
            "`{}`: AH and compression are not offered",
            set.transforms.join(" ")
        );
        notes.add(device.source, set.line, Weight::Lost, message);
    }
    cipher
}
