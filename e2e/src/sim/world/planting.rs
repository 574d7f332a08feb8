//! Puts the defect of [`Plant`] into the world once its time has come.

use gm_core::member::FailureMode;
use keyserver_core::server::Role;

use super::{PLANTED, World};
use crate::sim::audit::Broken;
use crate::sim::faults::Fault;
use crate::sim::plant::Plant;

impl World {
    /// Puts the planted defect into the world once its time has come.
    pub(super) fn plant(&mut self) -> Result<(), Broken> {
        let Some(plant) = self.plant.filter(|_| self.now >= self.start + PLANTED) else {
            return Ok(());
        };
        match plant {
            Plant::EvictedKeepsKeys => return self.feed_evicted(),
            Plant::LosingMember | Plant::WireBeforeCommit => {}
            _ if self.planted => {}
            Plant::RestoredMember | Plant::StoppedClock | Plant::SharedSenderId => {
                let with_keys: Vec<usize> = (0..self.sites.len())
                    .filter(|site| self.sites[*site].acts(self.now))
                    .filter(|site| self.sites[*site].sealing_spi(self.now).is_some())
                    .collect();
                let [one, other, ..] = with_keys.as_slice() else {
                    return Ok(());
                };
                self.planted = true;
                match plant {
                    Plant::RestoredMember => self.sites[*one].restore_copy(),
                    Plant::StoppedClock => self.sites[*one].stuck_at = Some(self.now),
                    _ => {
                        let plane = self.sites[*other].member.data_plane(None);
                        self.sites[*one].install_plane(&plane);
                        let life = self.sites[*one].life;
                        self.audit.installed(*one, life, &plane)?;
                    }
                }
            }
            Plant::DeafMember => {
                self.planted = true;
                self.sites[0].deaf = true;
            }
            Plant::OpenMember => {
                self.planted = true;
                self.sites[0].restart(FailureMode::Open, self.now);
            }
            Plant::TwoPrimaries | Plant::RepeatedMessageId => {
                let leader = self.consensus.leader;
                let other = (0..self.servers.len()).find(|one| {
                    Some(*one) != leader
                        && self.servers[*one].acts(self.now)
                        && self.servers[*one].applied > 0
                });
                if let (Some(_), Some(other)) = (leader, other) {
                    self.planted = true;
                    self.alone = Some(other);
                    let core = &mut self.servers[other].core;
                    core.handle_role(self.now, Role::Primary, 0, &mut self.entropy);
                }
            }
            Plant::RolledBackDisk => {
                let oldest = (0..self.servers.len()).min_by_key(|one| self.servers[*one].saved());
                if let Some(oldest) = oldest {
                    self.planted = true;
                    let saved = self.servers[oldest].saved();
                    self.servers[oldest].restart(self.now, &mut self.entropy);
                    self.consensus.roll_back(oldest, saved);
                    let (term, core) = (self.consensus.term, &mut self.servers[oldest].core);
                    core.handle_role(self.now, Role::Primary, term, &mut self.entropy);
                }
            }
        }
        Ok(())
    }

    /// Gives a member that was evicted what another one has.
    fn feed_evicted(&mut self) -> Result<(), Broken> {
        if !self.planted && self.ask_eviction() {
            self.planted = true;
        }
        let Some(mut plane) = self.last_plane.take() else {
            return Ok(());
        };
        let evicted = self
            .evicted
            .iter()
            .copied()
            .find(|site| self.audit.is_evicted(*site));
        let Some(evicted) = evicted else {
            return Ok(());
        };
        // Only what is newer than its eviction: what it had before is its own.
        plane
            .associations
            .retain(|association| self.audit.is_newer(evicted, association.spi.0));
        let life = self.sites[evicted].life;
        self.audit.installed(evicted, life, &plane)
    }

    fn ask_eviction(&mut self) -> bool {
        let before = self.evicted.len();
        self.fault(Fault::Evict(0));
        self.evicted.len() > before
    }
}
