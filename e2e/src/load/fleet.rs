//! All simulated members of a run.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gikev2::exchange::authentication::Credentials;
use gikev2::exchange::proposal::KeyExchangeChoice;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::credentials::member_name;
use super::figures::{Failures, Times};
use super::member::{Counters, Member, Plan, Report, Shared};

/// Most members of a run: every one has a loopback address of its own below this network's end.
pub const MOST_MEMBERS: usize = 1 << 20;
/// Files that are open besides the members' sockets.
const OTHER_FILES: u64 = 256;

/// What members do.
pub struct Orders {
    /// Where the key servers listen; members spread evenly.
    pub servers: Vec<SocketAddr>,
    /// One proof for each member.
    pub credentials: Vec<Credentials>,
    /// What members offer.
    pub key_exchange: KeyExchangeChoice,
    /// The group they join.
    pub group_id: u32,
    /// How many register at a time.
    pub parallel: usize,
}

/// How the registrations of all members went.
#[derive(Debug, Clone, Default)]
pub struct Registrations {
    /// From the first datagram of the first member to the keys of the last.
    pub elapsed: Duration,
    /// Of each member that registered, from its first datagram to its keys.
    pub times: Times,
    /// Those that did not.
    pub failures: Failures,
    /// Requests that were sent again.
    pub repeated: u64,
    /// Sender-IDs that two members were given. Anything but 0 is a defect.
    pub shared_sender_ids: usize,
    /// Sets of traffic keys that members hold. All members of a group hold the same.
    pub key_sets: usize,
}

/// How one rekey reached all members.
#[derive(Debug, Clone, Default)]
pub struct Rekeyed {
    /// Of each member that accepted it, from the order to its acknowledgement.
    pub times: Times,
    /// Members that refused it, by reason.
    pub refused: Failures,
    /// Sets of traffic keys that members got.
    pub key_sets: usize,
}

/// Members that live until this is dropped.
pub struct Fleet {
    members: JoinSet<()>,
    reports: mpsc::UnboundedReceiver<Report>,
    counters: Arc<Counters>,
    permits: Arc<Semaphore>,
    parallel: usize,
    count: usize,
    _over: watch::Sender<bool>,
}

impl Fleet {
    /// Makes the members; none registers yet.
    ///
    /// # Errors
    /// When there are too many, or the kernel gives no sockets.
    pub async fn new(orders: Orders) -> Result<Self> {
        let count = orders.credentials.len();
        ensure!(count <= MOST_MEMBERS, "at most {MOST_MEMBERS} members");
        ensure!(!orders.servers.is_empty(), "no key server");
        allow_files(count)?;
        let (reports, received) = mpsc::unbounded_channel();
        let (over, ended) = watch::channel(false);
        let shared = Shared {
            permits: Arc::new(Semaphore::new(0)),
            reports,
            counters: Arc::new(Counters::default()),
            over: ended,
        };
        let mut members = JoinSet::new();
        for (index, credentials) in orders.credentials.into_iter().enumerate() {
            let plan = Plan {
                local: SocketAddr::from((address(index)?, 0)),
                server: orders.servers[index % orders.servers.len()],
                name: member_name(index),
                credentials,
                key_exchange: orders.key_exchange,
                group_id: orders.group_id,
            };
            members.spawn(Member::new(plan, shared.clone()).await?.live());
        }
        Ok(Self {
            members,
            reports: received,
            counters: shared.counters,
            permits: shared.permits,
            parallel: orders.parallel.max(1),
            count,
            _over: over,
        })
    }

    /// How many members there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Lets all members register, and waits until each has or has given up, for `limit` at most.
    pub async fn register(&mut self, limit: Duration) -> Registrations {
        let mut told = Registrations::default();
        let (mut times, mut sender_ids) = (Vec::with_capacity(self.count), BTreeSet::new());
        let mut key_sets = BTreeSet::new();
        let began = runtime::clock::now();
        self.permits.add_permits(self.parallel);
        while times.len() + told.failures.total() < self.count {
            match self.next(began + limit).await {
                Some(Report::Registered {
                    took,
                    sender_ids: own,
                    keys,
                }) => {
                    times.push(took);
                    key_sets.insert(keys);
                    told.shared_sender_ids += own
                        .into_iter()
                        .filter(|sender_id| !sender_ids.insert(*sender_id))
                        .count();
                }
                Some(Report::Failed(reason)) => told.failures.add(reason),
                Some(Report::Rekeyed { .. } | Report::RefusedRekey(_)) => {}
                None => break,
            }
        }
        told.elapsed = runtime::clock::now().saturating_duration_since(began);
        for _ in times.len() + told.failures.total()..self.count {
            told.failures.add("not registered in time".to_owned());
        }
        told.key_sets = key_sets.len();
        told.times = Times::new(times);
        told.repeated = self.counters.repeated_requests.load(Ordering::Relaxed);
        told
    }

    /// Copies of rekeys that have come to members that had them already.
    #[must_use]
    pub fn copies(&self) -> u64 {
        self.counters.repeated_rekeys.load(Ordering::Relaxed)
    }

    /// Waits until `wanted` members have accepted a rekey that was ordered at `began`, for `limit` at most.
    pub async fn rekeyed(&mut self, began: Instant, wanted: usize, limit: Duration) -> Rekeyed {
        let mut told = Rekeyed::default();
        let (mut times, mut key_sets) = (Vec::with_capacity(wanted), BTreeSet::new());
        while times.len() + told.refused.total() < wanted {
            match self.next(began + limit).await {
                Some(Report::Rekeyed { at, keys, .. }) => {
                    times.push(at.saturating_duration_since(began));
                    key_sets.insert(keys);
                }
                Some(Report::RefusedRekey(reason)) => told.refused.add(reason),
                Some(Report::Registered { .. } | Report::Failed(_)) => {}
                None => break,
            }
        }
        told.times = Times::new(times);
        told.key_sets = key_sets.len();
        told
    }

    /// The next report, if one comes before `deadline`.
    async fn next(&mut self, deadline: Instant) -> Option<Report> {
        let report = tokio::time::timeout_at(deadline.into(), self.reports.recv());
        report.await.ok().flatten()
    }

    /// Ends all members without a word to the key servers, as a power failure would.
    pub async fn end(mut self) {
        self.members.shutdown().await;
    }
}

/// The loopback address of a member: from 127.16.0.0 on, so that key servers and tests keep theirs.
fn address(index: usize) -> Result<Ipv4Addr> {
    let first = u32::from(Ipv4Addr::new(127, 16, 0, 0));
    let index = u32::try_from(index)?;
    Ok(Ipv4Addr::from(first + index))
}

/// Raises the number of files this process may open, as far as it may itself.
fn allow_files(members: usize) -> Result<()> {
    let wanted = u64::try_from(members)? + OTHER_FILES;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= wanted {
        return Ok(());
    }
    ensure!(
        hard >= wanted,
        "{members} members need {wanted} open files, and this process may open {hard}; raise it with `ulimit -n`"
    );
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).context("the limit of open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_has_an_address_of_its_own_on_the_loopback_interface() {
        let first = address(0).expect("an address");
        let last = address(MOST_MEMBERS - 1).expect("an address");
        assert_eq!(first, Ipv4Addr::new(127, 16, 0, 0));
        assert_eq!(last, Ipv4Addr::new(127, 31, 255, 255));
        assert!(first.is_loopback() && last.is_loopback());
    }
}
