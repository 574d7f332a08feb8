//! What goes wrong, and when it is over. Each seed switches whole kinds of faults on or off: a world in which everything
//! fails all the time gets nowhere, and one in which one kind fails often finds what others hide.

use std::time::{Duration, Instant};

use super::chance::Chance;
use super::network::Host;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The network loses, repeats and delays.
    Weather,
    /// It is fine again.
    Fair,
    /// Some hosts are apart from the others.
    Partition,
    /// All are together.
    Together,
    /// One way between two hosts carries nothing.
    Cut(Host, Host),
    /// It carries again.
    Mend(Host, Host),
    /// A key server's process or machine ends.
    Crash(usize),
    /// It starts again.
    Restart(usize),
    /// A key server's disk is lost, and it starts with an empty one.
    LoseDisk(usize),
    /// A key server stands still for a while, and does not know it.
    FreezeServer(usize, Duration),
    /// A key server's wall clock jumps ahead.
    Clock(usize, u64),
    /// A member starts again.
    RestartMember(usize),
    /// A member stands still for a while.
    FreezeMember(usize, Duration),
    /// An administrator asks for a rekey.
    Rekey {
        /// Whether all keys are replaced.
        replace: bool,
    },
    /// An administrator evicts a member.
    Evict(usize),
}

/// Kinds that a seed switches on or off, and three of them.
const KINDS: usize = 10;
const CRASH: usize = 3;
const DISK: usize = 4;
const CLOCK: usize = 6;
/// Time between two faults, in milliseconds.
const PAUSE_MS: (u64, u64) = (500, 9_000);
/// How long a fault lasts, in milliseconds.
const LASTING_MS: (u64, u64) = (500, 20_000);

/// What is still to come.
pub(super) struct Schedule {
    coming: Vec<(Instant, Fault)>,
}

impl Schedule {
    /// The faults of a world between `from` and `until`.
    pub(super) fn new(
        chance: &mut Chance,
        from: Instant,
        until: Instant,
        servers: usize,
        sites: usize,
    ) -> Self {
        let mut on: Vec<bool> = (0..KINDS).map(|_| chance.per_mille(550)).collect();
        // A wall clock that is set while key servers run changes nothing. One that is wrong by hours when they start is
        // a documented limit: how long nobody ran is known from wall clocks alone, and keys then end early or late by
        // what they are wrong.
        if on[CLOCK] {
            if chance.per_mille(500) {
                on[CRASH] = false;
                on[DISK] = false;
            } else {
                on[CLOCK] = false;
            }
        }
        let mut coming = Vec::new();
        let mut at = from;
        loop {
            at += chance.millis(PAUSE_MS.0, PAUSE_MS.1);
            if at >= until {
                break;
            }
            let kind = chance.below(KINDS);
            if on.get(kind) == Some(&true) {
                let over = (at + chance.millis(LASTING_MS.0, LASTING_MS.1)).min(until);
                add(&mut coming, chance, kind, (at, over), servers, sites);
            }
        }
        coming.sort_by_key(|(at, _)| *at);
        coming.reverse();
        Self { coming }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.coming.last().map(|(at, _)| *at)
    }

    /// The next fault that is due.
    pub(super) fn next(&mut self, now: Instant) -> Option<Fault> {
        self.coming
            .pop_if(|(at, _)| *at <= now)
            .map(|(_, fault)| fault)
    }
}

fn add(
    coming: &mut Vec<(Instant, Fault)>,
    chance: &mut Chance,
    kind: usize,
    (at, over): (Instant, Instant),
    servers: usize,
    sites: usize,
) {
    let server = chance.below(servers);
    let site = chance.below(sites);
    let mut lasting = |begin, end| coming.extend([(at, begin), (over, end)]);
    match kind {
        0 => lasting(Fault::Weather, Fault::Fair),
        1 => lasting(Fault::Partition, Fault::Together),
        2 => {
            let any = |chance: &mut Chance| {
                if chance.per_mille(500) {
                    Host::Server(chance.below(servers))
                } else {
                    Host::Site(chance.below(sites))
                }
            };
            let (one, other) = (any(chance), any(chance));
            if one != other {
                lasting(Fault::Cut(one, other), Fault::Mend(one, other));
            }
        }
        CRASH => lasting(Fault::Crash(server), Fault::Restart(server)),
        DISK => coming.push((at, Fault::LoseDisk(server))),
        5 => coming.push((at, Fault::FreezeServer(server, over - at))),
        CLOCK => coming.push((at, Fault::Clock(server, chance.next() % 7_200_000))),
        7 => coming.push((at, Fault::RestartMember(site))),
        8 => coming.push((at, Fault::FreezeMember(site, over - at))),
        _ if chance.per_mille(150) => coming.push((at, Fault::Evict(site))),
        _ => {
            let replace = chance.per_mille(300);
            coming.push((at, Fault::Rekey { replace }));
        }
    }
}
