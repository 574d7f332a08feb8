//! The task that owns `keyserver-core`: datagrams, committed commands, timers, administrators and
//! role changes go in; datagrams, proposals, answers and audit records come out.
//!
//! Everything slow (consensus, encryption of keys, generation of keys) runs in tasks of its own and
//! comes back as a message, so that a datagram never waits for a disk.

mod application;
mod desk;
mod entropy;
mod journal;
mod questions;
mod status;

use std::time::{Duration, Instant};

use keyserver_core::command::{Command, CommandKey};
use keyserver_core::secret::SecretBytes;
use keyserver_core::server::{self, KeyServer};
use keyserver_core::state::State;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use zeroize::Zeroizing;

pub use application::{Committed, RunnerApplication};

use crate::admin::AdminRequest;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::raft::state_machine::ApplicationError;
use crate::raft::types::{CommandOctets, OutcomeOctets, Raft, SnapshotOctets};
use crate::raft::{Consensus, Handover, Proposer, Remover, Role};
use crate::signing_key;
use crate::udp::{Datagram, Sockets, is_multicast};
use desk::{Change, Desk, OpenedKey};
use entropy::KernelEntropy;
use journal::{Journal, SigningKeyWanted};

/// How long a proposal may wait for a majority before it is given back.
const PROPOSAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Datagrams handled in a row before anything else is looked at.
const BURST: usize = 32;
/// How often figures that only change slowly are published.
const OBSERVATION: Duration = Duration::from_secs(2);

/// The runner's ways to the consensus, which starts after it.
pub struct Links {
    raft: Raft<RunnerApplication>,
    proposer: Proposer<RunnerApplication>,
    handover: Handover<RunnerApplication>,
    remover: Remover,
    role: watch::Receiver<Role>,
}

impl Links {
    /// The ways to `consensus`.
    pub fn new(consensus: &Consensus<RunnerApplication>) -> Self {
        Self {
            raft: consensus.raft().clone(),
            proposer: consensus.proposer(),
            handover: consensus.successor(),
            remover: consensus.remover(),
            role: consensus.role(),
        }
    }
}

/// A signing key that was generated.
struct GeneratedKey {
    group_id: u32,
    group: String,
    private_key: Zeroizing<Vec<u8>>,
}

/// Owns the key server's decisions and its sockets.
pub struct Runner {
    core: KeyServer,
    sockets: Sockets,
    metrics: Metrics,
    journal: Journal,
    desk: Desk,
    name: String,
    started: Instant,
    failed_proposals: Lane<CommandKey>,
    generated_keys: Lane<GeneratedKey>,
    opened_keys: Lane<OpenedKey>,
}

/// What comes back from a task of its own.
struct Lane<T> {
    sender: mpsc::UnboundedSender<T>,
    receiver: mpsc::UnboundedReceiver<T>,
}

impl<T> Lane<T> {
    fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver }
    }

    /// The next one; `self` keeps a sender, so there is always another.
    async fn next(&mut self) -> T {
        match self.receiver.recv().await {
            Some(item) => item,
            None => std::future::pending().await,
        }
    }
}

impl Runner {
    /// A runner that serves members on `sockets`.
    pub fn new(
        config: &Config,
        responder: gikev2::responder::Config,
        sockets: Sockets,
        metrics: Metrics,
    ) -> Self {
        let now = runtime::clock::now();
        let own = server::Config {
            name: config.name.clone(),
            addresses: sockets.addresses(),
            port: config.ike.port,
            fragment_size: responder.fragment_size,
            responder,
        };
        Self {
            core: KeyServer::new(own, State::new(), now, unix_ms(), &mut KernelEntropy),
            sockets,
            journal: Journal::new(metrics.clone()),
            metrics,
            desk: Desk::default(),
            name: config.name.clone(),
            started: now,
            failed_proposals: Lane::new(),
            generated_keys: Lane::new(),
            opened_keys: Lane::new(),
        }
    }

    /// Works until the consensus is gone.
    pub async fn run(
        mut self,
        mut committed: mpsc::Receiver<Committed>,
        mut questions: mpsc::Receiver<AdminRequest>,
        mut renewed: mpsc::Receiver<gikev2::responder::Credentials>,
        mut links: oneshot::Receiver<Links>,
    ) {
        // While the consensus starts it restores the state; members and administrators wait.
        let mut links = loop {
            tokio::select! {
                biased;
                entry = committed.recv() => match entry {
                    Some(entry) => self.apply(entry),
                    None => return,
                },
                started = &mut links => match started {
                    Ok(links) => break links,
                    Err(_) => return,
                },
            }
        };
        self.take_role(&mut links);
        let mut observation = tokio::time::interval(OBSERVATION);
        observation.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.flush(&links);
            let due = self.core.poll_timeout(runtime::clock::now());
            let deadline = due.map(|(deadline, _)| deadline);
            tokio::select! {
                biased;
                entry = committed.recv() => match entry {
                    Some(entry) => self.apply(entry),
                    None => return,
                },
                changed = links.role.changed() => match changed {
                    Ok(()) => self.take_role(&mut links),
                    Err(_) => return,
                },
                () = until(deadline) => self.core.handle_timeout(runtime::clock::now(), &mut KernelEntropy),
                key = self.failed_proposals.next() => {
                    self.core.handle_proposal_failed(runtime::clock::now(), &key);
                }
                key = self.generated_keys.next() => self.take_generated_key(key),
                key = self.opened_keys.next() => self.change(&links, Change::SigningKey(key)),
                // The admin endpoint ends a little before the consensus.
                Some(question) = questions.recv() => self.ask(&links, question),
                Some(credentials) = renewed.recv() => self.core.handle_credentials(credentials),
                datagram = self.sockets.receive() => self.receive(datagram),
                _ = observation.tick() => self.observe(&links),
            }
        }
    }

    fn apply(&mut self, committed: Committed) {
        match committed {
            Committed::Command {
                index,
                command,
                outcome,
            } => {
                let now = runtime::clock::now();
                let outcome_octets = match Command::decode(command.as_slice()) {
                    Ok(command) => {
                        let result =
                            self.core
                                .handle_committed(now, index, &command, &mut KernelEntropy);
                        result.encode().unwrap_or_default()
                    }
                    Err(error) => {
                        // Every key server of this version reads it alike, so all skip it alike.
                        tracing::warn!(index, %error, "a committed command cannot be read; it changes nothing");
                        Vec::new()
                    }
                };
                // Nobody waits for it on a replica.
                drop(outcome.send(OutcomeOctets::new(outcome_octets)));
            }
            Committed::Snapshot(reply) => {
                let snapshot = self.core.snapshot().map(SnapshotOctets::new);
                drop(
                    reply.send(
                        snapshot.map_err(|error| ApplicationError::Snapshot(error.to_string())),
                    ),
                );
            }
            Committed::Restore {
                index,
                snapshot,
                reply,
            } => {
                let now = runtime::clock::now();
                let restored = self.core.restore(now, index, snapshot.as_slice());
                drop(
                    reply.send(
                        restored.map_err(|error| ApplicationError::Snapshot(error.to_string())),
                    ),
                );
            }
        }
    }

    fn take_role(&mut self, links: &mut Links) {
        let role = links.role.borrow_and_update().clone();
        let (term, _) = status::progress(&links.raft);
        self.metrics
            .primary
            .set(i64::from(matches!(role, Role::Primary { .. })));
        let role = match role {
            Role::Primary { .. } => server::Role::Primary,
            Role::Replica {
                primary: Some(primary),
            } => server::Role::Secondary {
                primary: Some(primary.name),
            },
            Role::Replica { primary: None } | Role::Joining => server::Role::NoQuorum,
        };
        self.core
            .handle_role(runtime::clock::now(), role, term, &mut KernelEntropy);
    }

    fn receive(&mut self, first: Datagram) {
        let now = runtime::clock::now();
        let unix_ms = unix_ms();
        for datagram in burst(first, || self.sockets.try_receive()) {
            if opens_registration(&datagram.octets) {
                self.journal.registration_begins(now, datagram.remote);
            }
            self.core.handle_datagram(
                now,
                unix_ms,
                datagram.local,
                datagram.remote,
                &datagram.octets,
                &mut KernelEntropy,
            );
        }
    }

    /// Sends, proposes and tells everything that is there.
    fn flush(&mut self, links: &Links) {
        let now = runtime::clock::now();
        while let Some(proposal) = self.core.poll_proposal() {
            self.propose(links, proposal);
        }
        while let Some(transmit) = self.core.poll_transmit() {
            let to = transmit.remote.ip();
            let hop_limit =
                is_multicast(to).then(|| self.core.multicast_hop_limit(to).unwrap_or(1));
            self.sockets.send(&transmit, hop_limit);
        }
        while let Some(event) = self.core.poll_audit() {
            if let Some(wanted) = self.journal.record(now, event) {
                self.generate_key(wanted);
            }
        }
        let primary = status::primary_admin_address(&links.role.borrow());
        self.desk.deliver(&mut self.core, now, primary.as_ref());
    }

    fn propose(&self, links: &Links, proposal: server::Proposal) {
        let (key, failed, proposer) = (
            proposal.key,
            self.failed_proposals.sender.clone(),
            links.proposer.clone(),
        );
        let octets = match proposal.command.encode() {
            Ok(octets) => CommandOctets::new(octets),
            Err(error) => {
                tracing::warn!(%error, "a command cannot be written");
                return;
            }
        };
        tokio::spawn(async move {
            if let Err(error) = proposer.propose(octets, PROPOSAL_TIMEOUT).await {
                tracing::debug!(%error, "a command was not committed");
                // The runner has ended otherwise, and with it the command.
                let _ = failed.send(key);
            }
        });
    }

    fn generate_key(&self, wanted: SigningKeyWanted) {
        let generated = self.generated_keys.sender.clone();
        tokio::task::spawn_blocking(move || match signing_key::generate(wanted.algorithm) {
            Ok(material) => drop(generated.send(GeneratedKey {
                group_id: wanted.group_id,
                group: wanted.group,
                private_key: material.private_key,
            })),
            Err(error) => {
                tracing::warn!(group = wanted.group, %error, "no signing key; it is tried again")
            }
        });
    }

    fn take_generated_key(&mut self, mut key: GeneratedKey) {
        let private_key = SecretBytes::new(std::mem::take(&mut *key.private_key));
        let now = runtime::clock::now();
        let label = key.group.clone();
        if let Err(error) =
            self.core
                .handle_signing_key(now, key.group_id, label, private_key, &mut KernelEntropy)
        {
            tracing::info!(group = key.group, %error, "the generated signing key is not needed any more");
        }
    }

    fn observe(&self, links: &Links) {
        let now = runtime::clock::now();
        let (term, lag) = status::progress(&links.raft);
        self.metrics
            .term
            .set(i64::try_from(term).unwrap_or(i64::MAX));
        self.metrics
            .commit_lag
            .set(i64::try_from(lag).unwrap_or(i64::MAX));
        self.metrics.observe_voters(status::voters(links));
        let names = self.core.group_names();
        let groups: Vec<_> = names
            .iter()
            .filter_map(|name| self.core.group_status(now, name))
            .collect();
        self.metrics
            .observe_groups(&groups, runtime::clock::since_epoch().as_secs_f64());
    }
}

/// `first` and what `next` gives, [`BURST`] at most. What is not handled is not taken either.
fn burst<T>(first: T, next: impl FnMut() -> Option<T>) -> impl Iterator<Item = T> {
    std::iter::once(first)
        .chain(std::iter::from_fn(next))
        .take(BURST)
}

fn unix_ms() -> u64 {
    u64::try_from(runtime::clock::since_epoch().as_millis()).unwrap_or(u64::MAX)
}

/// Whether a datagram is an IKE_SA_INIT request (RFC 7296 §3.1), after a possible non-ESP marker.
fn opens_registration(octets: &[u8]) -> bool {
    let message = octets.strip_prefix(&[0; 4]).unwrap_or(octets);
    matches!(message.get(18..20), Some([34, flags]) if flags & 0x20 == 0)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_leaves_in_the_queue_what_it_does_not_handle() {
        let mut queue: std::collections::VecDeque<usize> = (1..100).collect();
        let taken: Vec<usize> = burst(0, || queue.pop_front()).collect();
        assert_eq!(taken, (0..BURST).collect::<Vec<_>>());
        assert_eq!(queue.front(), Some(&BURST), "the next burst goes on here");
    }
}
