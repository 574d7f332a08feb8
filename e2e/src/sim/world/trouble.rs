//! What goes wrong.

use gm_core::member::FailureMode;
use keyserver_core::server::{AdminRequest, Role};

use super::World;
use crate::sim::faults::Fault;
use crate::sim::network::{Host, Weather};
use crate::sim::policy::GROUP;
use crate::sim::site;

impl World {
    pub(super) fn fault(&mut self, fault: Fault) {
        self.say(|_| format!("{fault:?}"));
        self.note("fault", format!("{fault:?}").as_bytes());
        match fault {
            Fault::Weather => {
                self.network.weather = Weather {
                    lost: self.chance.next() % 300,
                    repeated: self.chance.next() % 200,
                    late: self.chance.next() % 400,
                    delay: self.chance.millis(10, 3_000),
                };
            }
            Fault::Fair => self.network.weather = Weather::default(),
            Fault::Partition => {
                self.network.apart = (0..self.servers.len())
                    .map(Host::Server)
                    .chain((0..self.sites.len()).map(Host::Site))
                    .filter(|_| self.chance.per_mille(400))
                    .collect();
            }
            Fault::Together => self.network.apart.clear(),
            Fault::Cut(one, other) => {
                self.network.cut.insert((one, other));
            }
            Fault::Mend(one, other) => {
                self.network.cut.remove(&(one, other));
            }
            Fault::Crash(number) => self.servers[number].up = false,
            Fault::Restart(number) => {
                if !self.servers[number].up {
                    self.seen.restarts += 1;
                    self.servers[number].restart(self.now, &mut self.entropy);
                    self.reintroduce(number);
                }
            }
            Fault::LoseDisk(number) => {
                // One at a time, and never one without which the rest are too few: that is a restore, not an accident.
                let rest = self
                    .consensus
                    .copies
                    .iter()
                    .filter(|copy| copy.votes)
                    .count();
                if self.servers.len() >= 3 && rest == self.servers.len() {
                    self.seen.disks_lost += 1;
                    self.consensus.disk_lost(number);
                    self.servers[number].lose_disk(self.now, &mut self.entropy);
                    self.reintroduce(number);
                }
            }
            Fault::FreezeServer(number, time) => {
                self.servers[number].frozen_until = Some(self.now + time);
            }
            Fault::Clock(number, milliseconds) => {
                // Never back: how long nobody ran is known from wall clocks alone, and one that was set back while all
                // key servers were down makes keys live longer by that much. That is a documented limit.
                let ahead = &mut self.servers[number].clock_ahead;
                *ahead = milliseconds.max(*ahead);
            }
            Fault::RestartMember(number) => {
                self.seen.member_restarts += 1;
                self.sites[number].restart(FailureMode::Closed, self.now);
            }
            Fault::FreezeMember(number, time) => {
                self.sites[number].frozen_until = Some(self.now + time);
            }
            Fault::Rekey { replace } => {
                let request = AdminRequest::Rekey {
                    group: GROUP.to_owned(),
                    replace,
                    key_encryption_key: self.chance.per_mille(300),
                };
                self.ask(request);
            }
            Fault::Evict(number) => {
                let member = site::name(number);
                let request = AdminRequest::Evict {
                    group: GROUP.to_owned(),
                    member,
                };
                // Two members at least must be left to talk.
                if self.evicted.len() + 3 <= self.sites.len()
                    && !self.evicted.contains(&number)
                    && self.ask(request)
                {
                    self.evicted.insert(number);
                    self.evicting.push(number);
                }
            }
        }
    }

    /// An administrator asks whoever leads; whether the request was taken.
    fn ask(&mut self, request: AdminRequest) -> bool {
        let Some(leader) = self.acting_leader() else {
            return false;
        };
        let core = &mut self.servers[leader].core;
        core.handle_admin(self.now, request, &mut self.entropy)
            .is_ok()
    }

    /// A key server that started again leads no more, and is told who does.
    fn reintroduce(&mut self, number: usize) {
        let role = match self.consensus.leader {
            Some(leader) if leader == number => {
                self.consensus.leader = None;
                Role::NoQuorum
            }
            Some(leader) => Role::Secondary {
                primary: Some(format!("ks-{leader}")),
            },
            None => Role::NoQuorum,
        };
        let term = self.consensus.term;
        let core = &mut self.servers[number].core;
        core.handle_role(self.now, role, term, &mut self.entropy);
    }
}
