//! Datagrams under way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use gikev2::Transmit;

use super::Seen;
use super::chance::Chance;

/// A machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Host {
    /// A key server, by number.
    Server(usize),
    /// A site with one member, by number.
    Site(usize),
}

/// What travels.
#[derive(Clone, Debug)]
pub(super) enum Load {
    /// IKE, with addresses.
    Message(Transmit),
    /// ESP between the addresses of two sites.
    Packet {
        /// Traffic class of the outer header.
        class: u8,
        /// ESP.
        octets: Vec<u8>,
    },
}

/// A datagram under way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) from: Host,
    pub(super) to: Host,
    pub(super) load: Load,
}

/// How bad the network is, all of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    pub(super) lost: u64,
    pub(super) repeated: u64,
    pub(super) late: u64,
    /// How late at most.
    pub(super) delay: Duration,
}

#[derive(Default)]
pub(super) struct Network {
    pub(super) weather: Weather,
    flights: BTreeMap<(Instant, u64), Flight>,
    serial: u64,
    /// Hosts of the smaller part when the network has fallen apart.
    pub(super) apart: BTreeSet<Host>,
    /// Ways that carry nothing, in this direction.
    pub(super) cut: BTreeSet<(Host, Host)>,
}

impl Network {
    /// Whether datagrams pass from one host to another.
    pub(super) fn carries(&self, from: Host, to: Host) -> bool {
        self.apart.contains(&from) == self.apart.contains(&to) && !self.cut.contains(&(from, to))
    }

    pub(super) fn send(
        &mut self,
        now: Instant,
        flight: Flight,
        chance: &mut Chance,
        seen: &mut Seen,
    ) {
        seen.datagrams += 1;
        if !self.carries(flight.from, flight.to) || chance.per_mille(self.weather.lost) {
            seen.lost += 1;
            return;
        }
        let copies = if chance.per_mille(self.weather.repeated) {
            seen.repeated += 1;
            2
        } else {
            1
        };
        for _ in 0..copies {
            let mut delay = chance.millis(1, 5);
            if chance.per_mille(self.weather.late) {
                delay += chance.between(Duration::ZERO, self.weather.delay);
            }
            self.serial += 1;
            self.flights
                .insert((now + delay, self.serial), flight.clone());
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.flights.keys().next().map(|(due, _)| *due)
    }

    /// The next datagram that has arrived by `now`. What travels while its way is cut is lost.
    pub(super) fn arrival(&mut self, now: Instant) -> Option<Flight> {
        while let Some(entry) = self.flights.first_entry() {
            if entry.key().0 > now {
                return None;
            }
            let flight = entry.remove();
            if self.carries(flight.from, flight.to) {
                return Some(flight);
            }
        }
        None
    }
}
