//! `getvpn-load registrations`: how many members a second key servers admit, and at what cost.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use gikev2::exchange::authentication::Credentials;
use gikev2::exchange::proposal::KeyExchangeChoice;

use super::credentials::{self, Authority, Method};
use super::figures::{milliseconds, per_second};
use super::fleet::{Fleet, Orders, Registrations};
use super::process::Usage;
use super::servers::{Servers, Terms, Trust};
use super::{GROUP, GROUP_ID};

/// How long key servers keep an IKE SA that nobody uses (RFC 9838 §2.3.3), and some time for its end.
const IDLE: Duration = Duration::from_secs(13);

/// What is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Members.
    pub members: usize,
    /// Key servers.
    pub servers: usize,
    /// How members prove who they are.
    pub authentication: Method,
    /// What members offer.
    pub key_exchange: KeyExchangeChoice,
    /// Members that register at a time.
    pub parallel: usize,
    /// How long all registrations may take.
    pub limit: Duration,
    /// Where the programs are.
    pub programs: PathBuf,
    /// Whether to wait for the end of the IKE SAs, to see what a member costs afterwards.
    pub idle: bool,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Report {
    /// Members.
    pub members: usize,
    /// Key servers.
    pub servers: usize,
    /// The registrations.
    pub registrations: Registrations,
    /// Members in the list of the primary afterwards.
    pub listed: usize,
    /// What the key servers used, together; `None` when their processes are not known.
    pub cost: Option<Cost>,
    /// Warnings in the key servers' logs.
    pub trouble: Vec<String>,
}

/// What the key servers used, together.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Processor time during the registrations.
    pub processor: Duration,
    /// Resident memory before.
    pub before: u64,
    /// Resident memory when all had registered and the IKE SAs were still there.
    pub after: u64,
    /// Resident memory when the IKE SAs had ended.
    pub idle: Option<u64>,
}

/// Key servers that somebody else has started, with the proofs that they accept.
pub struct Foreign {
    /// Where they listen.
    pub addresses: Vec<SocketAddr>,
    /// The group.
    pub group_id: u32,
    /// Proofs of members 0 and the following.
    pub credentials: Vec<Credentials>,
    /// Their processes, when they run on this machine.
    pub ids: Vec<u32>,
}

/// Starts key servers, lets members register, and ends everything.
///
/// # Errors
/// When the key servers do not serve or the members cannot be made. Members that fail are part of the report.
pub async fn run(plan: &Plan) -> Result<Report> {
    let (servers, mut fleet) = begin(plan, Terms::default()).await?;
    let (registrations, cost) = measure(&mut fleet, &servers.ids(), plan.limit, plan.idle).await?;
    let listed = servers.primary().await?.group(GROUP).await?.members;
    fleet.end().await;
    Ok(Report {
        members: plan.members,
        servers: plan.servers,
        registrations,
        listed: usize::try_from(listed)?,
        cost: Some(cost),
        trouble: servers.trouble(),
    })
}

/// Lets members register with key servers that run already.
///
/// # Errors
/// When the members cannot be made or a named process does not run.
pub async fn run_at(plan: &Plan, foreign: Foreign) -> Result<Report> {
    let servers = foreign.addresses.len();
    let mut fleet = Fleet::new(Orders {
        servers: foreign.addresses,
        credentials: foreign.credentials,
        key_exchange: plan.key_exchange,
        group_id: foreign.group_id,
        parallel: plan.parallel,
    })
    .await?;
    let (registrations, cost) = measure(&mut fleet, &foreign.ids, plan.limit, plan.idle).await?;
    let members = fleet.count();
    fleet.end().await;
    Ok(Report {
        members,
        servers,
        listed: registrations.times.len(),
        registrations,
        cost: (!foreign.ids.is_empty()).then_some(cost),
        trouble: Vec::new(),
    })
}

/// Key servers that serve, and members that have not registered yet. Keys and certificates are made before.
pub(super) async fn begin(plan: &Plan, terms: Terms) -> Result<(Servers, Fleet)> {
    let (servers, credentials) = match plan.authentication {
        Method::PreSharedKey => {
            let keys = credentials::pre_shared_keys(plan.members);
            let trust = Trust::PreSharedKeys(&keys);
            let servers = Servers::start(plan.servers, &plan.programs, &trust, terms).await?;
            (servers, credentials::shared(&keys))
        }
        Method::Certificate => {
            let authority = Authority::new()?;
            let made = credentials::certificates(&authority, plan.members)?;
            let trust = Trust::Certificates(&authority);
            let servers = Servers::start(plan.servers, &plan.programs, &trust, terms).await?;
            (servers, made)
        }
    };
    let orders = Orders {
        servers: servers.ike(),
        credentials,
        key_exchange: plan.key_exchange,
        group_id: GROUP_ID,
        parallel: plan.parallel,
    };
    let fleet = Fleet::new(orders).await?;
    Ok((servers, fleet))
}

/// Lets the members register while the key servers' processes are watched.
pub(super) async fn measure(
    fleet: &mut Fleet,
    ids: &[u32],
    limit: Duration,
    idle: bool,
) -> Result<(Registrations, Cost)> {
    let before = Usage::of(ids)?;
    let registrations = fleet.register(limit).await;
    let after = Usage::of(ids)?;
    let idle = if idle {
        tokio::time::sleep(IDLE).await;
        Some(Usage::of(ids)?.resident)
    } else {
        None
    };
    let cost = Cost {
        processor: after.processor.saturating_sub(before.processor),
        before: before.resident,
        after: after.resident,
        idle,
    };
    Ok((registrations, cost))
}

impl Report {
    /// Whether every member registered, each with Sender-IDs of its own and all with the same keys.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.registrations.times.len() == self.members
            && self.listed == self.members
            && self.registrations.shared_sender_ids == 0
            && self.registrations.key_sets == 1
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = &self.registrations;
        let done = told.times.len();
        writeln!(
            out,
            "registered          {done} of {} members at {} key servers in {:.2} s: {:.0} a second",
            self.members,
            self.servers,
            told.elapsed.as_secs_f64(),
            per_second(done, told.elapsed)
        )?;
        writeln!(
            out,
            "time of one         median {}, 99 % {}, longest {}",
            milliseconds(told.times.percentile(500)),
            milliseconds(told.times.percentile(990)),
            milliseconds(told.times.longest())
        )?;
        writeln!(out, "failures            {}", told.failures)?;
        writeln!(out, "requests repeated   {}", told.repeated)?;
        writeln!(out, "Sender-IDs shared   {}", told.shared_sender_ids)?;
        writeln!(out, "sets of keys        {}", told.key_sets)?;
        writeln!(out, "members listed      {}", self.listed)?;
        if let Some(cost) = self.cost {
            cost.fmt(out, done)?;
        }
        for line in self.trouble.iter().take(10) {
            writeln!(out, "key server said     {line}")?;
        }
        Ok(())
    }
}

impl Cost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>, members: usize) -> fmt::Result {
        let each = |octets: u64| {
            octets.saturating_sub(self.before) / u64::try_from(members.max(1)).unwrap_or(1)
        };
        let cost = self.processor.as_secs_f64();
        writeln!(
            out,
            "processor           {cost:.2} s of the key servers together, {:.3} ms a registration",
            cost * 1e3 / members.max(1) as f64
        )?;
        writeln!(
            out,
            "resident memory     {} MiB before, {} MiB after: {} octets a member",
            self.before >> 20,
            self.after >> 20,
            each(self.after)
        )?;
        if let Some(idle) = self.idle {
            writeln!(
                out,
                "                    {} MiB when the IKE SAs had ended: {} octets a member",
                idle >> 20,
                each(idle)
            )?;
        }
        Ok(())
    }
}
