//! Deterministic simulation: whole worlds of key servers and members, from one seed.
//!
//! The deciding parts of the product run as they are: `keyserver_core` with its replicated state, `gm_core` with the
//! member's state machine and its packet path, `gikev2` at both ends, real ciphers. What surrounds them is simulated:
//! a network that loses, delays, repeats and reorders datagrams and falls apart; a consensus that orders commands,
//! forgets to say what became of them and changes its leader; disks that keep what was acknowledged and lose the rest;
//! wall clocks that jump; processes that stop, freeze and start again. Time is virtual and jumps from event to event.
//!
//! A run has two phases. While faults happen, only safety is asked for ([`Rule`]). Then everything heals, and the world
//! must come to one set of keys and lose no packet. The same seed gives the same run, event by event, which the hash of
//! its trace shows. [`Plant`] puts a defect into a world on purpose, to see that the rules find it.

mod audit;
mod chance;
mod consensus;
mod faults;
mod network;
mod plant;
mod policy;
mod server;
mod site;
mod world;

use std::time::Duration;

pub use audit::{Rule, Violation};
pub use plant::Plant;

/// What became of a world in which no rule was broken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// SHA-256 over everything that happened, in its order.
    pub trace: [u8; 32],
    /// Simulated time.
    pub simulated: Duration,
    /// How often things happened that a set of runs must have seen.
    pub seen: Seen,
}

/// Counts of rare things: a set of runs without one of them has not tested it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Datagrams that were carried.
    pub datagrams: u64,
    /// Datagrams that were lost.
    pub lost: u64,
    /// Datagrams that came twice.
    pub repeated: u64,
    /// Commands committed.
    pub committed: u64,
    /// Commands committed whose proposer was not told.
    pub unknown: u64,
    /// Commands that came to the log twice.
    pub proposed_twice: u64,
    /// Changes of the leader.
    pub elections: u64,
    /// Rekeys sent by another key server than the first that sent them.
    pub resent_by_another: u64,
    /// Key servers started again from their disk.
    pub restarts: u64,
    /// Key servers that lost their disk.
    pub disks_lost: u64,
    /// Members started again.
    pub member_restarts: u64,
    /// Rekeys accepted by members.
    pub rekeys_accepted: u64,
    /// Registrations.
    pub registrations: u64,
    /// Registrations in a partition or at a failed key server that went on to another.
    pub failed_registrations: u64,
    /// Members evicted.
    pub evictions: u64,
    /// Packets sealed.
    pub sealed: u64,
    /// Packets opened by their receiver.
    pub opened: u64,
    /// Packets that a member dropped because it had no keys.
    pub held_back: u64,
    /// Packets refused as repeated.
    pub replays_refused: u64,
}

impl Seen {
    /// Names and counts, for tables and to find what never happened.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); 19] {
        [
            ("datagrams carried", self.datagrams),
            ("datagrams lost", self.lost),
            ("datagrams repeated", self.repeated),
            ("commands committed", self.committed),
            ("commands of unknown fate committed", self.unknown),
            ("commands committed twice", self.proposed_twice),
            ("elections", self.elections),
            (
                "rekeys resent by another key server",
                self.resent_by_another,
            ),
            ("key servers restarted", self.restarts),
            ("disks lost", self.disks_lost),
            ("members restarted", self.member_restarts),
            ("rekeys accepted", self.rekeys_accepted),
            ("registrations", self.registrations),
            ("registrations failed", self.failed_registrations),
            ("evictions", self.evictions),
            ("packets sealed", self.sealed),
            ("packets opened", self.opened),
            ("packets held back", self.held_back),
            ("replayed packets refused", self.replays_refused),
        ]
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        self.datagrams += other.datagrams;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.committed += other.committed;
        self.unknown += other.unknown;
        self.proposed_twice += other.proposed_twice;
        self.elections += other.elections;
        self.resent_by_another += other.resent_by_another;
        self.restarts += other.restarts;
        self.disks_lost += other.disks_lost;
        self.member_restarts += other.member_restarts;
        self.rekeys_accepted += other.rekeys_accepted;
        self.registrations += other.registrations;
        self.failed_registrations += other.failed_registrations;
        self.evictions += other.evictions;
        self.sealed += other.sealed;
        self.opened += other.opened;
        self.held_back += other.held_back;
        self.replays_refused += other.replays_refused;
    }
}

/// Runs the world of a seed, with a defect when one is planted.
///
/// # Errors
/// The first rule that was broken, with when and how.
pub fn run(seed: u64, plant: Option<Plant>) -> Result<Report, Violation> {
    world::World::new(seed, plant).run()
}

/// As [`run`], and tells `listener` what happens, and when: for people who look for the cause of a violation.
///
/// # Errors
/// As [`run`].
pub fn run_told(
    seed: u64,
    plant: Option<Plant>,
    listener: impl FnMut(Duration, &str) + 'static,
) -> Result<Report, Violation> {
    let mut world = world::World::new(seed, plant);
    world.listener = Some(Box::new(listener));
    world.run()
}
