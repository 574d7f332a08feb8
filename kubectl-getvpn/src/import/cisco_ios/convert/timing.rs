//! Lifetimes, lead time and repetitions that keep the rules between them.

use crate::import::cisco_ios::device::{Association, Device, IpsecProfile, Server};
use crate::import::cisco_ios::note::{Notes, Weight};

/// Limits of the fields, and what holds when nothing is set.
const TRAFFIC_SECONDS: (i64, i64) = (120, 86_400);
const KEK_SECONDS: (i64, i64) = (300, 86_400);
const KILOBYTES: (i64, i64) = (2_560, 4_294_967_295);
const PERIOD_SECONDS: (i64, i64) = (10, 60);
const MOST_ATTEMPTS: i64 = 10;
const SHORTEST_LEAD: i64 = 10;
const DEFAULT_LEAD: i64 = 120;
const DEFAULT_TRAFFIC: i64 = 3_600;
const DEFAULT_KEK: i64 = 86_400;

/// What a group's times become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timing {
    /// `traffic.lifetimeSeconds`, when it was set.
    pub(super) traffic_seconds: Option<i64>,
    /// `traffic.lifetimeKilobytes`, when it was set.
    pub(super) traffic_kilobytes: Option<i64>,
    /// `rekey.kekLifetimeSeconds`, when it is not the default.
    pub(super) kek_seconds: Option<i64>,
    /// `rekey.leadTimeSeconds`, when the default does not fit.
    pub(super) lead_seconds: Option<i64>,
    /// `rekey.retransmit`: attempts and period, when it was set.
    pub(super) retransmit: Option<(i64, i64)>,
}

/// Puts a value into its limits, with a note when that changed it.
fn limited(
    (line, value): (usize, i64),
    (least, most): (i64, i64),
    what: &str,
    source: usize,
    notes: &mut Notes,
) -> i64 {
    let within = value.clamp(least, most);
    if within != value {
        let message = format!("{what} of {value} becomes {within}; {least} to {most} is possible");
        notes.add(source, line, Weight::Changed, message);
    }
    within
}

/// Seconds and kilobytes of the profile of an association, when it sets them.
pub(super) fn of_association(
    device: &Device,
    association: &Association,
    notes: &mut Notes,
) -> (Option<i64>, Option<i64>) {
    match profile(device, association) {
        None => (None, None),
        Some(profile) => (
            profile
                .lifetime_seconds
                .map(|value| limited(value, TRAFFIC_SECONDS, "a lifetime", device.source, notes)),
            profile
                .lifetime_kilobytes
                .map(|value| kilobytes(value, device.source, notes)),
        ),
    }
}

/// The IPsec profile of an association.
pub(super) fn profile<'a>(
    device: &'a Device,
    association: &Association,
) -> Option<&'a IpsecProfile> {
    let (_, name) = association.profile.as_ref()?;
    device.ipsec_profiles.get(name)
}

fn kilobytes((line, value): (usize, Option<i64>), source: usize, notes: &mut Notes) -> i64 {
    match value {
        Some(value) => limited((line, value), KILOBYTES, "a volume", source, notes),
        None => {
            let (_, most) = KILOBYTES;
            let message = format!("a key always has a volume; {most} kilobytes is the largest");
            notes.add(source, line, Weight::Changed, message);
            most
        }
    }
}

/// Decides the times of a group.
pub(super) fn decide(device: &Device, server: &Server, notes: &mut Notes) -> Timing {
    let source = device.source;
    let traffic_seconds = device
        .lifetime_seconds
        .map(|value| limited(value, TRAFFIC_SECONDS, "a lifetime", source, notes));
    let traffic_kilobytes = device
        .lifetime_kilobytes
        .map(|value| kilobytes(value, source, notes));
    let traffic = traffic_seconds.unwrap_or(DEFAULT_TRAFFIC);
    let longest = server
        .associations
        .iter()
        .filter_map(|association| of_association(device, association, notes).0)
        .chain([traffic])
        .max()
        .unwrap_or(traffic);
    let mut kek = server.rekey_lifetime.map_or(DEFAULT_KEK, |value| {
        limited(
            value,
            KEK_SECONDS,
            "a lifetime of the key encryption key",
            source,
            notes,
        )
    });
    let kek_line = server.rekey_lifetime.map_or(server.line, |(line, _)| line);
    if kek < longest {
        let message = format!(
            "the key encryption key lives {longest} s instead of {kek} s: it may not end before a traffic key"
        );
        notes.add(source, kek_line, Weight::Changed, message);
        kek = longest;
    }
    let retransmit_line = server.retransmit.map_or(server.line, |(line, ..)| line);
    let (mut attempts, period) = server.retransmit.map_or((2, 10), |(line, period, number)| {
        (
            limited(
                (line, number),
                (0, MOST_ATTEMPTS),
                "a number of repetitions",
                source,
                notes,
            ),
            limited(
                (line, period),
                PERIOD_SECONDS,
                "a period of repetitions",
                source,
                notes,
            ),
        )
    });
    if SHORTEST_LEAD + attempts * period >= traffic {
        let fitting = ((traffic - SHORTEST_LEAD - 1) / period).max(0);
        let message = format!(
            "a rekey is repeated {fitting} times instead of {attempts}: repetitions must be over before a traffic key of {traffic} s ends"
        );
        notes.add(source, retransmit_line, Weight::Changed, message);
        attempts = fitting;
    }
    let left = traffic - attempts * period;
    let lead_seconds =
        (DEFAULT_LEAD >= left).then(|| (left / 2).clamp(SHORTEST_LEAD, DEFAULT_LEAD));
    let changed = (attempts, period) != (2, 10);
    Timing {
        traffic_seconds,
        traffic_kilobytes,
        kek_seconds: (kek != DEFAULT_KEK).then_some(kek),
        lead_seconds,
        retransmit: (server.retransmit.is_some() || changed).then_some((attempts, period)),
    }
}
