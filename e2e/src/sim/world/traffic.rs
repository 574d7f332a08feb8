//! What arrives, and the packets of the applications.

use gm_core::drop_reason::DropReason;

use super::{ON_ITS_WAY, World};
use crate::sim::audit::{Broken, Rule};
use crate::sim::network::{Flight, Host, Load};
use crate::sim::plant::Plant;
use crate::sim::site::Fate;

impl World {
    pub(super) fn arrive(&mut self, flight: Flight) -> Result<(), Broken> {
        match (flight.to, flight.load) {
            (Host::Server(number), Load::Message(datagram)) => {
                let server = &mut self.servers[number];
                if server.acts(self.now) {
                    let unix_ms = server.unix_ms(self.now);
                    server.core.handle_datagram(
                        self.now,
                        unix_ms,
                        datagram.remote,
                        datagram.local,
                        &datagram.payload,
                        &mut self.entropy,
                    );
                }
            }
            (Host::Site(number), Load::Message(datagram)) => {
                let site = &mut self.sites[number];
                if site.acts(self.now) && !site.deaf {
                    site.member.handle_datagram(
                        self.now,
                        0,
                        datagram.remote,
                        datagram.local,
                        &datagram.payload,
                        &mut self.entropy,
                    );
                }
            }
            (Host::Site(to), Load::Packet { class, octets }) => {
                let Host::Site(from) = flight.from else {
                    return Ok(());
                };
                self.packet_arrives(from, to, class, octets);
            }
            (Host::Server(_), Load::Packet { .. }) => {}
        }
        Ok(())
    }

    fn packet_arrives(&mut self, from: usize, to: usize, class: u8, octets: Vec<u8>) {
        let loses = self.plant == Some(Plant::LosingMember) && self.quiet && to == 0;
        if !self.sites[to].acts(self.now) || (loses && self.chance.per_mille(300)) {
            return;
        }
        match self.sites[to].receive(self.now, from, class, octets) {
            Ok(number) => {
                self.seen.opened += 1;
                self.awaited.remove(&number);
                self.note("opened", &number.to_be_bytes());
            }
            Err(DropReason::Replayed) => self.seen.replays_refused += 1,
            Err(reason) => {
                self.say(|_| format!("site {to} refuses a packet of site {from}: {reason:?}"));
            }
        }
        if let Some((spi, source, destination)) = self.sites[to].unknown.take()
            && !self.sites[to].deaf
        {
            let member = &mut self.sites[to].member;
            member.handle_unknown_spi(self.now, spi, source, destination, &mut self.entropy);
        }
    }

    /// Every member sends a packet to another one.
    pub(super) fn traffic(&mut self) -> Result<(), Broken> {
        for from in 0..self.sites.len() {
            let to = (from + 1 + self.chance.below(self.sites.len() - 1)) % self.sites.len();
            if !self.sites[from].acts(self.now) {
                continue;
            }
            self.packets += 1;
            let must_arrive =
                self.quiet && !self.evicted.contains(&from) && !self.evicted.contains(&to);
            match self.sites[from].send(self.now, to, self.packets) {
                Fate::Clear => {
                    let how = format!("site {from} sends to site {to} in clear");
                    return Err((Rule::NothingInClear, how));
                }
                Fate::HeldBack if must_arrive => {
                    let how = format!("site {from} has no key for a packet to site {to}");
                    return Err((Rule::NothingLost, how));
                }
                Fate::HeldBack => self.seen.held_back += 1,
                Fate::Sealed(packets) => {
                    self.seen.sealed += 1;
                    if must_arrive {
                        self.awaited
                            .insert(self.packets, (to, self.now + ON_ITS_WAY));
                    }
                    for (class, octets) in packets {
                        self.audit.sealed(&octets, self.now)?;
                        self.note("sealed", &octets);
                        let flight = Flight {
                            from: Host::Site(from),
                            to: Host::Site(to),
                            load: Load::Packet { class, octets },
                        };
                        self.network
                            .send(self.now, flight, &mut self.chance, &mut self.seen);
                    }
                }
            }
        }
        Ok(())
    }
}
