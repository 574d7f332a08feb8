//! One world: everything together, and the clock that jumps from event to event.

mod outputs;
mod planting;
mod traffic;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use gikev2::crypto::digest::sha256;
use gm_core::DataPlane;
use gm_core::member::FailureMode;
use keyserver_api::policy::ValidatedPolicy;
use keyserver_api::status::TrafficKeyState;
use keyserver_core::server::{AdminRequest, Role};

use super::audit::{Audit, Broken, Rule, Violation};
use super::chance::Chance;
use super::consensus::{Consensus, News};
use super::faults::{Fault, Schedule};
use super::network::{Host, Network, Weather};
use super::plant::Plant;
use super::policy::{GROUP, policy};
use super::server::Server;
use super::site::Site;
use super::{Report, Seen};

/// How long a group may take to get its first keys.
const SETTING_UP: Duration = Duration::from_secs(20);
/// How long faults happen.
const FAULTS: Duration = Duration::from_secs(110);
/// How long everything may take to be in order after the last fault: the longest wait of a member between two rounds, a
/// life of a key, and the way of its successor.
const HEALING: Duration = Duration::from_secs(120);
/// How long everything must then stay in order: more than one life of a key.
const QUIET: Duration = Duration::from_secs(40);
/// How long a rekey may take to reach everybody when nothing is wrong.
const SETTLING: Duration = Duration::from_secs(5);
/// Time between two packets of a member.
const TRAFFIC: Duration = Duration::from_millis(400);
/// Time between two looks of a member at what arrived.
const LOOK: Duration = Duration::from_secs(1);
/// How long a packet may be under way when nothing is wrong.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// How far the pseudotimes of members may be apart when everything is in order, in milliseconds.
const APART_MS: u64 = 1_000;
/// When a planted defect begins.
const PLANTED: Duration = Duration::from_secs(55);

/// Is told what happens.
pub(super) type Listener = Box<dyn FnMut(Duration, &str)>;

pub(super) struct World {
    seed: u64,
    plant: Option<Plant>,
    start: Instant,
    now: Instant,
    chance: Chance,
    entropy: Chance,
    trace: [u8; 32],
    servers: Vec<Server>,
    consensus: Consensus,
    sites: Vec<Site>,
    network: Network,
    schedule: Schedule,
    audit: Audit,
    seen: Seen,
    next_traffic: Instant,
    next_look: Instant,
    packets: u64,
    /// Packets that must arrive: number, receiver, and until when.
    awaited: BTreeMap<u64, (usize, Instant)>,
    /// Whether packets must arrive.
    quiet: bool,
    /// Members that were evicted.
    evicted: BTreeSet<usize>,
    /// Evictions that were asked for, in order.
    evicting: Vec<usize>,
    rekey_senders: BTreeMap<([u8; 16], [u8; 4]), usize>,
    known_commands: BTreeSet<[u8; 16]>,
    planted: bool,
    /// The key server that goes on alone.
    alone: Option<usize>,
    last_plane: Option<DataPlane>,
    pub(super) listener: Option<Listener>,
}

impl World {
    pub(super) fn new(seed: u64, plant: Option<Plant>) -> Self {
        let start = Instant::now();
        let mut chance = Chance::new(seed, 1);
        let mut entropy = Chance::new(seed, 2);
        let servers = match plant {
            // These need somebody to be left behind.
            Some(Plant::TwoPrimaries | Plant::RepeatedMessageId | Plant::RolledBackDisk) => 3,
            _ => [1, 2, 3, 3, 3, 5][chance.below(6)],
        };
        let sites = 3 + chance.below(3);
        let from = start + SETTING_UP;
        let schedule = Schedule::new(&mut chance, from, from + FAULTS, servers, sites);
        Self {
            servers: (0..servers)
                .map(|number| Server::new(number, start, &mut entropy))
                .collect(),
            sites: (0..sites)
                .map(|number| Site::new(number, servers, FailureMode::Closed, start))
                .collect(),
            consensus: Consensus::new(servers),
            network: Network::default(),
            audit: Audit::default(),
            seen: Seen::default(),
            next_traffic: start + TRAFFIC,
            next_look: start + LOOK,
            packets: 0,
            awaited: BTreeMap::new(),
            quiet: false,
            evicted: BTreeSet::new(),
            evicting: Vec::new(),
            rekey_senders: BTreeMap::new(),
            known_commands: BTreeSet::new(),
            planted: false,
            alone: None,
            last_plane: None,
            listener: None,
            trace: [0; 32],
            schedule,
            seed,
            plant,
            start,
            now: start,
            chance,
            entropy,
        }
    }

    pub(super) fn run(mut self) -> Result<Report, Violation> {
        self.story().map_err(|(rule, how)| Violation {
            seed: self.seed,
            rule,
            at: self.now - self.start,
            how,
        })?;
        self.seen.elections = self.consensus.elections;
        self.seen.unknown = self.consensus.unknown;
        Ok(Report {
            trace: self.trace,
            simulated: self.now - self.start,
            seen: self.seen,
        })
    }

    fn story(&mut self) -> Result<(), Broken> {
        let policy = policy(&mut self.chance);
        let policy = ValidatedPolicy::try_from(policy).map_err(|errors| {
            let how = format!("the simulation's policy is refused: {errors:?}");
            (Rule::Converges, how)
        })?;
        let ready = self.start + SETTING_UP;
        let mut given = false;
        while self.now < ready {
            if !given && let Some(leader) = self.acting_leader() {
                let request = AdminRequest::PutGroup(Box::new(policy.clone()));
                let core = &mut self.servers[leader].core;
                given = core
                    .handle_admin(self.now, request, &mut self.entropy)
                    .is_ok();
            }
            self.run_until(self.now + Duration::from_millis(500))?;
        }
        self.run_until(ready + FAULTS)?;
        self.heal();
        let limit = self.now + HEALING;
        while let Some(why) = self.disorder() {
            if self.now >= limit {
                return Err((Rule::Converges, why));
            }
            self.run_until(self.now + Duration::from_secs(1))?;
        }
        self.quiet = true;
        self.run_until(self.now + QUIET)?;
        self.quiet = false;
        self.run_until(self.now + 2 * ON_ITS_WAY)?;
        // A rekey may be on its way at any moment.
        let limit = self.now + SETTLING;
        while let Some(why) = self.disorder() {
            if self.now >= limit {
                return Err((Rule::Converges, why));
            }
            self.run_until(self.now + Duration::from_millis(500))?;
        }
        Ok(())
    }

    /// The leader that knows that it leads.
    fn acting_leader(&self) -> Option<usize> {
        let leader = self.consensus.leader?;
        let server = &self.servers[leader];
        (server.acts(self.now) && *server.core.role() == Role::Primary).then_some(leader)
    }

    /// Ends every fault.
    fn heal(&mut self) {
        self.network.weather = Weather::default();
        self.network.apart.clear();
        self.network.cut.clear();
        for number in 0..self.servers.len() {
            self.servers[number].frozen_until = None;
            if !self.servers[number].up {
                self.fault(Fault::Restart(number));
            }
        }
        for site in &mut self.sites {
            site.frozen_until = None;
        }
    }

    /// What is not in order yet: every member that may must send with one and the same key.
    fn disorder(&self) -> Option<String> {
        let Some(leader) = self.acting_leader() else {
            return Some("nobody leads".to_owned());
        };
        let (mut common, mut times) = (None, None);
        let status = self.servers[leader].core.group_status(self.now, GROUP);
        let staged: BTreeSet<u32> = status
            .iter()
            .flat_map(|status| &status.traffic_keys)
            .filter(|key| key.state == TrafficKeyState::Staged)
            .filter_map(|key| u32::from_str_radix(&key.spi, 16).ok())
            .collect();
        for (number, site) in self.sites.iter().enumerate() {
            if self.evicted.contains(&number) {
                continue;
            }
            let Some(spi) = site.sealing_spi(self.now) else {
                return Some(format!("site {number} has no key to send with"));
            };
            if *common.get_or_insert(spi) != spi {
                return Some(format!("site {number} sends under another SPI than others"));
            }
            // Whoever missed a rekey registers again before it is needed; until then it holds less than others.
            let held: BTreeSet<u32> = site.spis().filter(|spi| staged.contains(spi)).collect();
            if held != staged {
                return Some(format!(
                    "site {number} does not hold every key that is to come"
                ));
            }
            // A member that was cut off hears of a step of the group's time with the next rekey.
            let pseudotime = site.pseudotime(self.now).unwrap_or(0);
            if times.get_or_insert(pseudotime).abs_diff(pseudotime) > APART_MS {
                return Some(format!("site {number} counts another time than others"));
            }
        }
        let state = self.servers[leader].core.state();
        self.servers
            .iter()
            .enumerate()
            .find(|(number, server)| {
                server.applied == self.servers[leader].applied
                    && Some(*number) != self.alone
                    && server.core.state() != state
            })
            .map(|(number, _)| format!("key server {number} holds another state than the leader"))
    }

    fn linked(&self) -> Vec<Vec<bool>> {
        let count = self.servers.len();
        let up: Vec<bool> = self
            .servers
            .iter()
            .map(|server| server.acts(self.now))
            .collect();
        let passes = |one, other| {
            one == other
                || (self.network.carries(Host::Server(one), Host::Server(other))
                    && self.network.carries(Host::Server(other), Host::Server(one)))
        };
        (0..count)
            .map(|one| {
                (0..count)
                    .map(|other| up[one] && up[other] && passes(one, other))
                    .collect()
            })
            .collect()
    }

    fn run_until(&mut self, end: Instant) -> Result<(), Broken> {
        loop {
            self.settle()?;
            let due = self.next_due().filter(|due| *due <= end);
            let Some(due) = due else {
                self.now = self.now.max(end);
                return self.settle();
            };
            // A timer that is due again and again at one instant would stop time.
            self.now = due.max(self.now + Duration::from_micros(1));
            self.happen()?;
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let now = self.now;
        let servers = self
            .servers
            .iter()
            .filter(|server| server.up)
            .filter_map(|server| {
                if server.acts(now) {
                    server.core.poll_timeout(now).map(|(due, _)| due)
                } else {
                    server.frozen_until
                }
            });
        let sites = self.sites.iter().filter(|site| site.up).filter_map(|site| {
            if !site.acts(now) {
                site.frozen_until
            } else if site.deaf {
                None
            } else {
                site.member.poll_timeout().map(|(due, _)| due)
            }
        });
        servers
            .chain(sites)
            .chain(self.network.due())
            .chain(self.consensus.due())
            .chain(self.schedule.due())
            .chain([self.next_traffic, self.next_look])
            .min()
    }

    /// What is due now.
    fn happen(&mut self) -> Result<(), Broken> {
        while let Some(fault) = self.schedule.next(self.now) {
            self.fault(fault);
        }
        self.plant()?;
        let linked = self.linked();
        let news =
            self.consensus
                .advance(self.now, &|one, other| linked[one][other], &mut self.chance);
        for news in news {
            self.tell(news);
        }
        while let Some(flight) = self.network.arrival(self.now) {
            self.arrive(flight)?;
        }
        for server in &mut self.servers {
            if server.acts(self.now) {
                server.core.handle_timeout(self.now, &mut self.entropy);
            }
        }
        for site in &mut self.sites {
            if site.acts(self.now) && !site.deaf {
                site.member.handle_timeout(self.now, &mut self.entropy);
            }
        }
        if self.next_traffic <= self.now {
            self.next_traffic = self.now + TRAFFIC;
            self.traffic()?;
        }
        if self.next_look <= self.now {
            self.next_look = self.now + LOOK;
            for site in self
                .sites
                .iter_mut()
                .filter(|site| site.acts(self.now) && !site.deaf)
            {
                let (refused, accepted) = site.arrived;
                site.member
                    .observe_packets(self.now, refused, accepted, &mut self.entropy);
            }
        }
        let late = self
            .awaited
            .iter()
            .find(|(_, (_, until))| *until < self.now);
        if let Some((number, (to, _))) = late {
            let how = format!("packet {number} did not arrive at site {to}");
            return Err((Rule::NothingLost, how));
        }
        Ok(())
    }

    fn note(&mut self, kind: &str, octets: &[u8]) {
        let at = (self.now - self.start).as_micros().to_be_bytes();
        self.trace = sha256(&[&self.trace, &at, kind.as_bytes(), octets]);
    }

    /// Tells whoever listens.
    fn say(&mut self, what: impl FnOnce(&Self) -> String) {
        if self.listener.is_some() {
            let (text, at) = (what(self), self.now - self.start);
            if let Some(listener) = &mut self.listener {
                listener(at, &text);
            }
        }
    }

    fn tell(&mut self, news: News) {
        match news {
            News::Role(number, role, term) => {
                // A machine that stands still is told when it goes on; by then there is other news.
                if self.servers[number].acts(self.now) && self.alone != Some(number) {
                    self.say(|_| format!("ks-{number} becomes {role:?} of term {term}"));
                    self.note("role", format!("{number} {role:?}").as_bytes());
                    let core = &mut self.servers[number].core;
                    core.handle_role(self.now, role, term, &mut self.entropy);
                }
            }
            News::Failed(number, key) => {
                self.servers[number]
                    .core
                    .handle_proposal_failed(self.now, &key);
            }
        }
    }
}
