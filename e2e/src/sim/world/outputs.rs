//! What key servers and members want done: datagrams, commands, keys.

use gm_core::member::MemberEventKind;
use keyserver_core::audit::AuditEvent;
use keyserver_core::command::{Action, Command};

use super::World;
use crate::sim::audit::{Broken, GSA_REKEY, Rule, evicts};
use crate::sim::network::{Flight, Host, Load};
use crate::sim::plant::Plant;
use crate::sim::policy::GROUP;
use crate::sim::server::{self, ed25519_key};
use crate::sim::site;

impl World {
    /// Carries everything that happens without time passing.
    pub(super) fn settle(&mut self) -> Result<(), Broken> {
        loop {
            let mut quiet = true;
            for number in 0..self.servers.len() {
                if self.servers[number].acts(self.now) {
                    quiet &= !self.collect_server(number)?;
                }
            }
            for number in 0..self.sites.len() {
                if self.sites[number].acts(self.now) {
                    quiet &= !self.collect_site(number)?;
                }
            }
            if quiet {
                return Ok(());
            }
        }
    }

    fn collect_server(&mut self, number: usize) -> Result<bool, Broken> {
        let mut progress = self.apply(number)?;
        while let Some(datagram) = self.servers[number].core.poll_transmit() {
            progress = true;
            self.audit.message(&datagram.payload)?;
            self.count_rekey(number, &datagram.payload);
            let to = (0..self.sites.len())
                .find(|site| site::address(*site).ip() == datagram.remote.ip());
            if let Some(to) = to {
                self.note("server", &datagram.payload);
                let flight = Flight {
                    from: Host::Server(number),
                    to: Host::Site(to),
                    load: Load::Message(datagram),
                };
                self.network
                    .send(self.now, flight, &mut self.chance, &mut self.seen);
            }
        }
        while let Some(proposal) = self.servers[number].core.poll_proposal() {
            progress = true;
            self.propose(number, &proposal.command)?;
        }
        while let Some(event) = self.servers[number].core.poll_audit() {
            progress = true;
            if let AuditEvent::SigningKeyNeeded { group_id, .. } = event {
                let key = ed25519_key(&mut self.entropy);
                let core = &mut self.servers[number].core;
                // When it is not needed any more, it is refused.
                let _ = core.handle_signing_key(
                    self.now,
                    group_id,
                    GROUP.to_owned(),
                    key,
                    &mut self.entropy,
                );
            }
        }
        while self.servers[number].core.poll_admin().is_some() {
            progress = true;
        }
        Ok(progress)
    }

    fn propose(&mut self, number: usize, command: &Command) -> Result<(), Broken> {
        if self.alone == Some(number) {
            let server = &mut self.servers[number];
            let index = server.applied;
            let outcome = server.apply(self.now, command, &mut self.entropy);
            if self.plant == Some(Plant::RepeatedMessageId) {
                // What went on alone believes that this is committed; so does the judge.
                self.seen.committed += 1;
                let fork = 1_000_000 + index;
                self.audit.forked(fork, command, &outcome, self.now)?;
            }
            return Ok(());
        }
        if let (Some(Plant::WireBeforeCommit), Action::Rekey(rekey)) = (self.plant, &command.action)
        {
            for datagram in rekey.message.iter().flat_map(|message| &message.datagrams) {
                self.audit.message(datagram)?;
            }
        }
        if let Ok(octets) = command.encode() {
            self.consensus
                .propose(self.now, number, command.key, octets, &mut self.chance);
        }
        Ok(())
    }

    fn count_rekey(&mut self, number: usize, octets: &[u8]) {
        let (Some(spis), Some(message), Some(&GSA_REKEY)) = (
            octets.first_chunk::<16>(),
            octets.get(20..24).and_then(|octets| octets.try_into().ok()),
            octets.get(18),
        ) else {
            return;
        };
        let first = *self.rekey_senders.entry((*spis, message)).or_insert(number);
        self.seen.resent_by_another += u64::from(first != number);
    }

    /// Applies what a key server knows to be committed.
    fn apply(&mut self, number: usize) -> Result<bool, Broken> {
        let mut progress = false;
        while self.alone != Some(number)
            && self.servers[number].applied < self.consensus.copies[number].known
        {
            let index = self.servers[number].applied;
            let Some(octets) = self.consensus.log.get(index) else {
                break;
            };
            let command = Command::decode(octets)
                .map_err(|error| (Rule::OneOutcome, format!("entry {index}: {error}")))?;
            let outcome = self.servers[number].apply(self.now, &command, &mut self.entropy);
            let server = &self.servers[number];
            let now = self.now;
            self.audit.applied(index, &command, &outcome, now, |time| {
                server.instant_of(now, time)
            })?;
            if index as u64 >= self.seen.committed {
                self.seen.committed = index as u64 + 1;
                self.seen.proposed_twice += u64::from(!self.known_commands.insert(command.key.0));
                self.note("commit", &command.key.0);
                self.say(|_| {
                    let mut action = format!("{:?}", command.action);
                    action.truncate(600);
                    format!(
                        "commit {index} of {} at {:?}: {action} -> {outcome:?}",
                        command.proposer, command.time
                    )
                });
                if evicts(&command, &outcome) && !self.evicting.is_empty() {
                    let site = self.evicting.remove(0);
                    self.audit.evicted(site, index);
                    self.seen.evictions += 1;
                }
            }
            if self.chance.per_mille(50) {
                self.servers[number].save();
            }
            progress = true;
        }
        Ok(progress)
    }

    fn collect_site(&mut self, number: usize) -> Result<bool, Broken> {
        let mut progress = false;
        if self.sites[number].deaf {
            return Ok(false);
        }
        while let Some((index, remote)) = self.sites[number].member.poll_connect() {
            progress = true;
            let local = site::address(number);
            if let Some(membership) = self.sites[number].member.memberships_mut().get_mut(index) {
                membership.handle_connect(self.now, local, remote, &mut self.entropy);
            }
        }
        while let Some(event) = self.sites[number].member.poll_event() {
            progress = true;
            self.say(|_| format!("site {number}: {:?}", event.kind));
            match event.kind {
                MemberEventKind::Registered { .. } => {
                    self.seen.registrations += 1;
                    self.note("registered", &number.to_be_bytes());
                }
                MemberEventKind::RegistrationFailed { .. } => self.seen.failed_registrations += 1,
                MemberEventKind::RekeyAccepted { .. } => {
                    self.seen.rekeys_accepted += 1;
                    self.note("rekeyed", &number.to_be_bytes());
                }
                _ => {}
            }
        }
        if self.sites[number].member.take_changed() {
            progress = true;
            let plane = self.sites[number].install();
            let life = self.sites[number].life;
            self.say(|world| {
                let from_now = |at: std::time::Instant| {
                    let later = at.saturating_duration_since(world.now).as_secs_f64();
                    later - world.now.saturating_duration_since(at).as_secs_f64()
                };
                let keys: Vec<String> = plane
                    .associations
                    .iter()
                    .map(|sa| {
                        format!(
                            "{:08x} from {:.1} until {:.1}, gone {:.1}",
                            sa.spi.0,
                            from_now(sa.activate_at),
                            from_now(sa.stop_sending_at),
                            from_now(sa.delete_at)
                        )
                    })
                    .collect();
                format!("site {number} installs {}", keys.join("; "))
            });
            self.audit.installed(number, life, &plane)?;
            self.last_plane = (!plane.associations.is_empty()).then_some(plane);
        }
        while let Some(datagram) = self.sites[number].member.poll_transmit() {
            progress = true;
            self.audit.message(&datagram.payload)?;
            let servers = 0..self.servers.len();
            let to = { servers }.find(|to| server::address(*to).ip() == datagram.remote.ip());
            if let Some(to) = to {
                self.note("site", &datagram.payload);
                let flight = Flight {
                    from: Host::Site(number),
                    to: Host::Server(to),
                    load: Load::Message(datagram),
                };
                self.network
                    .send(self.now, flight, &mut self.chance, &mut self.seen);
            }
        }
        Ok(progress)
    }
}
