//! `getvpn-load rekey`: how long a unicast rekey takes to all members and back.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use keyserver_api::client::Client;
use keyserver_api::request::RekeyRequest;

use super::GROUP;
use super::figures::{Times, milliseconds};
use super::fleet::{Fleet, Rekeyed};
use super::process::Usage;
use super::registrations::{self, Report as RegistrationReport};
use super::servers::Terms;

/// How often the primary is asked how many have acknowledged.
const LOOK: Duration = Duration::from_millis(50);

/// What is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The registrations before.
    pub registrations: registrations::Plan,
    /// How the group delivers rekeys.
    pub terms: Terms,
    /// Rekeys, one after the other.
    pub rekeys: usize,
    /// From the beginning of one to that of the next; the next never begins before the last is over.
    pub every: Duration,
}

/// One rekey.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// Members it was for.
    pub addressed: usize,
    /// What the members saw.
    pub members: Rekeyed,
    /// Copies that came to members that had it already.
    pub copies: u64,
    /// Acknowledgements that the primary had counted, and when it was asked, from the order on.
    pub counted: Vec<(Duration, usize)>,
    /// Processor time of all key servers.
    pub processor: Duration,
    /// Resident memory of all key servers afterwards, in octets.
    pub resident: u64,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Report {
    /// The registrations before.
    pub registrations: RegistrationReport,
    /// The rekeys.
    pub rekeys: Vec<Delivered>,
}

/// Starts key servers, lets members register, rekeys, and ends everything.
///
/// # Errors
/// When the key servers do not serve, or refuse a rekey. Members that fail are part of the report.
pub async fn run(plan: &Plan, mut each: impl FnMut(usize, &Delivered)) -> Result<Report> {
    let before = &plan.registrations;
    let (servers, mut fleet) = registrations::begin(before, plan.terms).await?;
    let ids = servers.ids();
    let (registered, cost) =
        registrations::measure(&mut fleet, &ids, before.limit, before.idle).await?;
    let client = servers.primary().await?;
    let listed = client.group(GROUP).await?.members;
    let mut rekeys = Vec::with_capacity(plan.rekeys);
    for number in 0..plan.rekeys {
        let began = runtime::clock::now();
        let delivered = one(plan, &client, &mut fleet, &ids).await?;
        each(number, &delivered);
        rekeys.push(delivered);
        if number + 1 < plan.rekeys {
            tokio::time::sleep_until((began + plan.every).into()).await;
        }
    }
    fleet.end().await;
    Ok(Report {
        registrations: RegistrationReport {
            members: before.members,
            servers: before.servers,
            registrations: registered,
            listed: usize::try_from(listed)?,
            cost: Some(cost),
            trouble: servers.trouble(),
        },
        rekeys,
    })
}

async fn one(plan: &Plan, client: &Client, fleet: &mut Fleet, ids: &[u32]) -> Result<Delivered> {
    let limit = plan.registrations.limit;
    let before = Usage::of(ids)?;
    let copies = fleet.copies();
    let began = runtime::clock::now();
    let request = RekeyRequest {
        replace: true,
        // A new key encryption key can take more than one message; what is timed here is one.
        key_encryption_key: false,
    };
    let accepted = client
        .rekey(GROUP, &request)
        .await
        .context("the key server refused to rekey")?;
    let addressed = usize::try_from(accepted.members)?;
    let (members, counted) = tokio::join!(
        fleet.rekeyed(began, addressed, limit),
        count(client, began, limit)
    );
    let after = Usage::of(ids)?;
    Ok(Delivered {
        addressed,
        members,
        copies: fleet.copies().saturating_sub(copies),
        counted,
        processor: after.processor.saturating_sub(before.processor),
        resident: after.resident,
    })
}

/// Asks the primary until the delivery is over, for `limit` at most.
async fn count(client: &Client, began: Instant, limit: Duration) -> Vec<(Duration, usize)> {
    let mut seen = Vec::new();
    loop {
        let last = match client.group(GROUP).await {
            Ok(status) => status.last_rekey,
            Err(_) => None,
        };
        let since = runtime::clock::now().saturating_duration_since(began);
        if let Some(last) = last {
            let acknowledged = last.acknowledged.unwrap_or_default();
            seen.push((since, usize::try_from(acknowledged).unwrap_or(usize::MAX)));
            if last.complete {
                return seen;
            }
        }
        if since >= limit {
            return seen;
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Report {
    /// Whether every member registered, got every rekey and acknowledged it, and all hold the same keys.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.registrations.is_clean() && self.rekeys.iter().all(Delivered::is_clean)
    }
}

impl Delivered {
    fn is_clean(&self) -> bool {
        self.lost() == 0
            && self.members.times.len() == self.addressed
            && self.members.refused.total() == 0
            && self.members.key_sets == 1
    }

    /// When the primary had counted `per_mille` thousandths of all acknowledgements, at the latest.
    #[must_use]
    pub fn acknowledged(&self, per_mille: usize) -> Option<Duration> {
        let wanted = self.addressed.saturating_mul(per_mille).div_ceil(1000);
        let mut looks = self.counted.iter();
        looks
            .find(|(_, acknowledged)| *acknowledged >= wanted)
            .map(|(at, _)| *at)
    }

    /// Members that never acknowledged, as the primary counts.
    #[must_use]
    pub fn lost(&self) -> usize {
        let counted = self.counted.last().map_or(0, |(_, count)| *count);
        self.addressed.saturating_sub(counted)
    }

    fn of_members(&self, per_mille: usize) -> Option<Duration> {
        let times: &Times = &self.members.times;
        times.reached(per_mille, self.addressed)
    }
}

impl fmt::Display for Delivered {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} members; sent by members: 50 % {}, 99 % {}, 99.9 % {}; counted by the primary: 50 % {}, 99 % {}, \
             99.9 % {}; lost {}, copies {}, refused: {}; sets of keys {}; processor {:.2} s; resident {} MiB",
            self.addressed,
            milliseconds(self.of_members(500)),
            milliseconds(self.of_members(990)),
            milliseconds(self.of_members(999)),
            milliseconds(self.acknowledged(500)),
            milliseconds(self.acknowledged(990)),
            milliseconds(self.acknowledged(999)),
            self.lost(),
            self.copies,
            self.members.refused,
            self.members.key_sets,
            self.processor.as_secs_f64(),
            self.resident >> 20,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(addressed: usize, counted: &[(u64, usize)]) -> Delivered {
        let at =
            |(milliseconds, count): &(u64, usize)| (Duration::from_millis(*milliseconds), *count);
        Delivered {
            addressed,
            members: Rekeyed::default(),
            copies: 0,
            counted: counted.iter().map(at).collect(),
            processor: Duration::ZERO,
            resident: 0,
        }
    }

    #[test]
    fn a_share_is_acknowledged_at_the_first_look_that_shows_it() {
        let told = delivered(1000, &[(50, 400), (100, 600), (150, 998), (200, 999)]);
        assert_eq!(told.acknowledged(500), Some(Duration::from_millis(100)));
        assert_eq!(told.acknowledged(990), Some(Duration::from_millis(150)));
        assert_eq!(told.acknowledged(999), Some(Duration::from_millis(200)));
        assert_eq!(told.acknowledged(1000), None);
        assert_eq!(told.lost(), 1);
    }

    #[test]
    fn who_was_never_asked_lost_everybody() {
        let told = delivered(8, &[]);
        assert_eq!(told.acknowledged(500), None);
        assert_eq!(told.lost(), 8);
    }
}
