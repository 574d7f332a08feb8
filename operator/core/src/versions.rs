//! Versions of programs that work together, and what a feature needs.

use std::str::FromStr;

use crds::v1alpha1::{GetVpnGroup, GroupMember, MemberDirection, MulticastDelivery};

/// A version `MAJOR.MINOR.PATCH`. What follows a `-` or `+` does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u64, u64, u64);

/// A text that is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a version is three numbers with dots between")]
pub struct NoVersion;

impl FromStr for Version {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let core = text.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = core
            .split('.')
            .map(|part| part.parse().map_err(|_| NoVersion));
        let mut next = || numbers.next().unwrap_or(Err(NoVersion));
        let version = Self(next()?, next()?, next()?);
        match numbers.next() {
            None => Ok(version),
            Some(_) => Err(NoVersion),
        }
    }
}

/// A program that tells its version, or told nothing that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it said.
    pub version: &'a str,
}

/// Members that are newer than the oldest of the key servers, in words: a message of theirs may be unknown to it, so
/// key servers go first.
#[must_use]
pub fn ahead<'a>(
    members: impl IntoIterator<Item = Told<'a>>,
    key_servers: impl IntoIterator<Item = Told<'a>>,
) -> Option<String> {
    let read = |told: Told<'a>| Some((told.version.parse::<Version>().ok()?, told));
    let (oldest, server) = key_servers
        .into_iter()
        .filter_map(read)
        .min_by_key(|(version, _)| *version)?;
    let newer: Vec<String> = members
        .into_iter()
        .filter_map(read)
        .filter(|(version, _)| *version > oldest)
        .map(|(_, member)| format!("`{}` ({})", member.name, member.version))
        .collect();
    (!newer.is_empty()).then(|| {
        format!(
            "newer than key server `{}` ({}): {}; upgrade the key servers first, or a rekey may fail",
            server.name,
            server.version,
            first_few(&newer)
        )
    })
}

/// Members that are too old for something that is asked of them, in words. A member that told no version says nothing.
#[must_use]
pub fn too_old<'a>(
    members: impl IntoIterator<Item = Told<'a>>,
    group: &GetVpnGroup,
    member: &GroupMember,
) -> Option<String> {
    let needed = FLOORS
        .iter()
        .filter(|floor| (floor.asked)(group, member))
        .max_by_key(|floor| floor.version)?;
    let behind: Vec<String> = members
        .into_iter()
        .filter(|told| {
            let version = told.version.parse::<Version>();
            version.is_ok_and(|version| version < needed.version)
        })
        .map(|told| format!("`{}` ({})", told.name, told.version))
        .collect();
    let Version(major, minor, patch) = needed.version;
    (!behind.is_empty()).then(|| {
        format!(
            "`{}` needs members of version {major}.{minor}.{patch}: {}; restart them",
            needed.feature,
            first_few(&behind)
        )
    })
}

/// What needs a member of some version. What a later version brings is added here.
struct Floor {
    feature: &'static str,
    version: Version,
    asked: fn(&GetVpnGroup, &GroupMember) -> bool,
}

const FLOORS: [Floor; 2] = [
    Floor {
        feature: "multicastDelivery: HeadEndReplication",
        version: Version(0, 1, 0),
        asked: |group, _| group.spec.multicast_delivery == MulticastDelivery::HeadEndReplication,
    },
    Floor {
        feature: "direction: InboundOptional",
        version: Version(0, 1, 0),
        asked: |_, member| member.spec.direction == MemberDirection::InboundOptional,
    },
];

/// At most ten of them.
fn first_few(names: &[String]) -> String {
    const MOST: usize = 10;
    let shown: Vec<&str> = names.iter().take(MOST).map(String::as_str).collect();
    match names.len().checked_sub(MOST).filter(|more| *more > 0) {
        Some(more) => format!("{} and {more} more", shown.join(", ")),
        None => shown.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let read = |text: &str| text.parse::<Version>();
        assert!(read("0.10.0").ok() > read("0.9.12").ok());
        assert_eq!(read("1.2.3-rc.1"), Ok(Version(1, 2, 3)));
        for text in ["", "1", "1.2", "1.2.x", "1.2.3.4", "v1.2.3"] {
            assert_eq!(read(text), Err(NoVersion), "{text}");
        }
    }
}
