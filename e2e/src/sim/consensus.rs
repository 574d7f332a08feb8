//! A consensus without its protocol: it orders commands, keeps what a majority has, and makes everything happen that
//! its users must be able to bear: late answers, answers that never come, leaders that do not know that they are none.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use keyserver_core::command::CommandKey;
use keyserver_core::server::Role;

use super::chance::Chance;

/// How long a leader without a majority still believes in itself, at most.
const LEASE: Duration = Duration::from_millis(1_500);

/// A command that is to be committed.
struct Pending {
    due: Instant,
    proposer: usize,
    term: u64,
    key: CommandKey,
    octets: Vec<u8>,
    /// Whether the proposer is told when it fails.
    told: bool,
}

/// What one key server has of the log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copy {
    /// Entries on its disk.
    pub(super) stored: usize,
    /// Entries it knows to be committed and may apply.
    pub(super) known: usize,
    /// Whether it counts: not while its disk is new and it is catching up.
    pub(super) votes: bool,
    /// When it learns more.
    learns: Option<Instant>,
}

/// Something a key server is to be told.
pub(super) enum News {
    Role(usize, Role, u64),
    Failed(usize, CommandKey),
}

/// The log, its copies, and who leads.
pub(super) struct Consensus {
    pub(super) log: Vec<Vec<u8>>,
    pub(super) copies: Vec<Copy>,
    pub(super) leader: Option<usize>,
    pub(super) term: u64,
    pub(super) elections: u64,
    pub(super) unknown: u64,
    pending: VecDeque<Pending>,
    election: Option<Instant>,
    news: Vec<(Instant, News)>,
}

impl Consensus {
    pub(super) fn new(servers: usize) -> Self {
        let copy = Copy {
            votes: true,
            ..Copy::default()
        };
        Self {
            log: Vec::new(),
            copies: vec![copy; servers],
            leader: None,
            term: 0,
            elections: 0,
            unknown: 0,
            pending: VecDeque::new(),
            election: None,
            news: Vec::new(),
        }
    }

    /// The voters that `one` speaks with both ways, itself among them, when they are a majority.
    fn majority(&self, one: usize, linked: &dyn Fn(usize, usize) -> bool) -> Option<Vec<usize>> {
        let with: Vec<usize> = (0..self.copies.len())
            .filter(|other| self.copies[*other].votes && linked(one, *other))
            .collect();
        (with.contains(&one) && with.len() * 2 > self.copies.len()).then_some(with)
    }

    /// Looks at who leads. `linked` says whether two key servers run and speak with each other both ways.
    pub(super) fn observe(
        &mut self,
        now: Instant,
        linked: &dyn Fn(usize, usize) -> bool,
        chance: &mut Chance,
    ) {
        if let Some(leader) = self.leader
            && self.majority(leader, linked).is_none()
        {
            self.leader = None;
            // It may not notice for a while.
            let notices = now + chance.between(Duration::ZERO, LEASE);
            let term = self.term;
            self.news
                .push((notices, News::Role(leader, Role::NoQuorum, term)));
        }
        let possible = || (0..self.copies.len()).any(|one| self.majority(one, linked).is_some());
        if self.leader.is_none() && self.election.is_none() && possible() {
            self.election = Some(now + LEASE + chance.millis(0, 1_500));
        }
        // Who is linked with the leader learns what is committed.
        if let Some(leader) = self.leader {
            for one in 0..self.copies.len() {
                let copy = &mut self.copies[one];
                let behind = copy.known < self.log.len() || !copy.votes;
                if behind && copy.learns.is_none() && linked(leader, one) {
                    let slow = if chance.per_mille(80) { 1_500 } else { 60 };
                    copy.learns = Some(now + chance.millis(1, slow));
                }
            }
        }
    }

    fn elect(&mut self, now: Instant, linked: &dyn Fn(usize, usize) -> bool, chance: &mut Chance) {
        // Whoever has the most among a majority has everything that was committed: two majorities share a member.
        let candidates: Vec<usize> = (0..self.copies.len())
            .filter(|one| {
                let with = self.majority(*one, linked);
                let most =
                    with.map(|with| with.iter().map(|other| self.copies[*other].stored).max());
                most.flatten() == Some(self.copies[*one].stored)
            })
            .collect();
        if candidates.is_empty() {
            return;
        }
        let leader = candidates[chance.below(candidates.len())];
        self.leader = Some(leader);
        self.term += 1;
        self.elections += 1;
        let (term, count) = (self.term, self.copies.len());
        for one in 0..count {
            let role = if one == leader {
                Role::Primary
            } else {
                Role::Secondary {
                    primary: Some(format!("ks-{leader}")),
                }
            };
            let told = now + chance.millis(0, 400);
            if linked(leader, one) {
                self.news.push((told, News::Role(one, role, term)));
            }
        }
    }

    /// Takes a command in. Whether it comes into the log shows later, if ever.
    pub(super) fn propose(
        &mut self,
        now: Instant,
        proposer: usize,
        key: CommandKey,
        octets: Vec<u8>,
        chance: &mut Chance,
    ) {
        self.pending.push_back(Pending {
            due: now + chance.millis(1, 25),
            proposer,
            term: self.term,
            key,
            octets,
            told: chance.per_mille(700),
        });
    }

    /// When something happens.
    pub(super) fn due(&self) -> Option<Instant> {
        let pending = self.pending.iter().map(|pending| pending.due);
        let news = self.news.iter().map(|(due, _)| *due);
        let learns = self.copies.iter().filter_map(|copy| copy.learns);
        pending.chain(news).chain(learns).chain(self.election).min()
    }

    /// Does what is due; what key servers are to be told.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        linked: &dyn Fn(usize, usize) -> bool,
        chance: &mut Chance,
    ) -> Vec<News> {
        let mut told = Vec::new();
        if self.election.is_some_and(|due| due <= now) {
            self.election = None;
            if self.leader.is_none() {
                self.elect(now, linked, chance);
            }
        }
        for _ in 0..self.pending.len() {
            let Some(pending) = self.pending.pop_front() else {
                break;
            };
            if pending.due > now {
                self.pending.push_back(pending);
            } else if let Some(failed) = self.decide(now, pending, linked, chance) {
                told.push(failed);
            }
        }
        for one in 0..self.copies.len() {
            if self.copies[one].learns.is_some_and(|due| due <= now) {
                let length = self.log.len();
                let linked = self.leader.is_some_and(|leader| linked(leader, one));
                let copy = &mut self.copies[one];
                copy.learns = None;
                if linked {
                    (copy.stored, copy.known, copy.votes) = (length, length, true);
                }
            }
        }
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.news)
            .into_iter()
            .partition(|(due, _)| *due <= now);
        self.news = later;
        told.extend(due.into_iter().map(|(_, news)| news));
        self.observe(now, linked, chance);
        told
    }

    fn decide(
        &mut self,
        now: Instant,
        pending: Pending,
        linked: &dyn Fn(usize, usize) -> bool,
        chance: &mut Chance,
    ) -> Option<News> {
        let leads = self
            .leader
            .filter(|leader| linked(*leader, pending.proposer) && pending.term == self.term);
        let majority = leads.and_then(|leader| self.majority(leader, linked));
        let (Some(leader), Some(majority)) = (leads, majority) else {
            return pending
                .told
                .then_some(News::Failed(pending.proposer, pending.key));
        };
        self.log.push(pending.octets);
        let length = self.log.len();
        // At least a majority has it; who else does is chance.
        let needed = self.copies.len() / 2 + 1;
        let mut holders: Vec<usize> = majority.into_iter().filter(|one| *one != leader).collect();
        while holders.len() + 1 > needed && chance.per_mille(300) {
            holders.remove(chance.below(holders.len()));
        }
        for one in holders.into_iter().chain([leader]) {
            self.copies[one].stored = length;
        }
        self.copies[leader].known = length;
        if chance.per_mille(60) {
            // The answer is lost: the proposer believes that it failed.
            self.unknown += 1;
            return Some(News::Failed(pending.proposer, pending.key));
        }
        self.observe(now, linked, chance);
        None
    }

    /// A key server's disk is new and empty.
    pub(super) fn disk_lost(&mut self, one: usize) {
        self.copies[one] = Copy::default();
    }

    /// A disk that holds only the first `length` entries is believed, and its key server leads: what came after is gone.
    pub(super) fn roll_back(&mut self, one: usize, length: usize) {
        self.log.truncate(length);
        for copy in &mut self.copies {
            copy.stored = copy.stored.min(length);
            copy.known = copy.known.min(length);
        }
        self.leader = Some(one);
        self.term += 1;
    }
}
