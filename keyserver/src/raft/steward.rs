//! Keeps the membership of the key servers as it should be.
//!
//! A key server with an empty log forms the group or waits ([`super::formation`]). Later the leader
//! alone changes the membership, one step of [`super::plan`] at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use keyserver_core::cooperation::{self, Occasion, transfer_target};
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::{mpsc, watch};

use super::callers::Callers;
use super::plan::{self, Obstacle, Step, View};
use super::removal::{Removal, RemovalError};
use super::role::Role;
use super::roster::Roster;
use super::state_machine::Application;
use super::transport::{CallError, Hello, Peers, Refusal};
use super::types::{KeyServerNode, Membership, NodeId, Raft, retired};
use crate::storage::Store;

const ROUND: Duration = Duration::from_millis(500);
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_millis(1000);
/// How many entries behind counts as caught up.
const LAG: u64 = 100;

pub(super) struct Steward<A: Application> {
    pub(super) raft: Raft<A>,
    pub(super) store: Store,
    pub(super) peers: Peers,
    roster_source: watch::Receiver<Roster>,
    /// What the configuration says in this round.
    pub(super) roster: Roster,
    voter_replacement: Duration,
    role: watch::Receiver<Role>,
    /// Last word about what this key server waits for; for status and readiness.
    waiting: Arc<watch::Sender<Option<String>>>,
    pub(super) callers: Arc<Callers>,
    removals: mpsc::Receiver<Removal>,
    pending: VecDeque<Removal>,
    silent_since: BTreeMap<NodeId, Instant>,
    /// Whether this process formed the group and has not yet handed leadership to the preferred
    /// key server.
    pub(super) steering: bool,
}

impl<A: Application> Steward<A> {
    #[allow(
        clippy::too_many_arguments,
        reason = "called once, by name of each part"
    )]
    pub(super) fn new(
        raft: Raft<A>,
        store: Store,
        peers: Peers,
        roster: watch::Receiver<Roster>,
        voter_replacement: Duration,
        role: watch::Receiver<Role>,
        waiting: Arc<watch::Sender<Option<String>>>,
        callers: Arc<Callers>,
        removals: mpsc::Receiver<Removal>,
    ) -> Self {
        let now = roster.borrow().clone();
        Self {
            raft,
            store,
            peers,
            roster_source: roster,
            roster: now,
            voter_replacement,
            role,
            waiting,
            callers,
            removals,
            pending: VecDeque::new(),
            silent_since: BTreeMap::new(),
            steering: false,
        }
    }

    /// Works until the consensus stops.
    pub(super) async fn run(mut self) {
        loop {
            self.roster = self.roster_source.borrow().clone();
            let more = match self.raft.is_initialized().await {
                Err(_) => return,
                Ok(false) => {
                    self.form().await;
                    false
                }
                Ok(true) => self.work().await,
            };
            let pause = if more { Duration::ZERO } else { ROUND };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // The consensus holds the other end.
                Some(removal) = self.removals.recv() => self.pending.push_back(removal),
            }
        }
    }

    /// One round of a formed group; whether the next one is due at once.
    async fn work(&mut self) -> bool {
        self.peers.introduce(None);
        let role = self.role.borrow().clone();
        if matches!(role, Role::Primary { .. }) {
            self.say(None);
            return self.lead().await;
        }
        self.silent_since.clear();
        self.steering = false;
        for removal in self.pending.drain(..) {
            drop(removal.reply.send(Err(RemovalError::NotPrimary)));
        }
        if matches!(role, Role::Replica { primary: Some(_) }) {
            self.say(None);
            self.peers.retain(&self.addresses(false));
        } else {
            self.explain().await;
        }
        false
    }

    pub(super) fn say(&self, what: Option<String>) {
        self.waiting.send_if_modified(|current| {
            let differs = *current != what;
            if differs {
                if let Some(what) = &what {
                    tracing::info!(what, "this key server does not work with the others");
                }
                *current = what;
            }
            differs
        });
    }

    /// Consensus addresses of all others that are known, with those that ask to be taken in when
    /// `callers` says so.
    fn addresses(&self, callers: bool) -> BTreeSet<String> {
        let (membership, _) = self.membership();
        let mut addresses = self.roster.addresses();
        addresses.extend(
            membership
                .nodes()
                .map(|(_, node)| node.raft_address.clone()),
        );
        if callers {
            let removed: BTreeSet<&str> = retired(&membership)
                .map(|retired| retired.name.as_str())
                .collect();
            // Who was removed is taken in again only when the configuration names it.
            let recent = self.callers.recent(runtime::clock::now());
            addresses.extend(recent.into_iter().filter_map(|(address, name)| {
                (self.roster.names(&name) || !removed.contains(name.as_str())).then_some(address)
            }));
        }
        addresses.remove(&self.roster.own.raft_address);
        addresses
    }

    /// Finds out why there is no primary.
    async fn explain(&self) {
        let addresses = self.addresses(false);
        self.peers.retain(&addresses);
        let answers = join_all(
            addresses
                .iter()
                .map(|address| self.peers.hello(address, HELLO_TIMEOUT)),
        )
        .await;
        let mut silent = Vec::new();
        for (address, answer) in addresses.iter().zip(answers) {
            match answer {
                Err(CallError::Refused(refusal @ (Refusal::Removed | Refusal::Incarnation(_)))) => {
                    self.say(Some(format!("{address} says: {refusal}")));
                    return;
                }
                Err(error) => silent.push(format!("{address} ({error})")),
                Ok(_) => {}
            }
        }
        // While all answer an election is under way, or this key server catches up.
        self.say((!silent.is_empty()).then(|| format!("no answer from {}", silent.join(", "))));
    }

    /// One round as leader; whether the next one is due at once.
    async fn lead(&mut self) -> bool {
        let (membership, joint) = self.membership();
        let addresses = self.addresses(true);
        self.peers.retain(&addresses);
        let answers = join_all(
            addresses
                .iter()
                .map(|address| self.peers.hello(address, HELLO_TIMEOUT)),
        )
        .await;
        let own_incarnation = self.store.identity().incarnation;
        let mut answers: Vec<Hello> = answers
            .into_iter()
            .flatten()
            .filter(|hello| hello.incarnation.is_none() || hello.incarnation == own_incarnation)
            .collect();
        answers.push(Hello {
            node_id: self.store.node_id(),
            node: self.roster.own.clone(),
            incarnation: own_incarnation,
            initialised: true,
            founder: self.roster.founder().to_owned(),
        });
        let view = self.view(&membership, joint, answers);
        if !self.pending.is_empty() {
            return self.remove(&view).await;
        }
        if let Some(step) = plan::next_step(&view) {
            self.take(step, &view).await;
        } else if self.steering {
            self.steer(&view).await;
        }
        false
    }

    /// One step of the removal that is asked for first; whether more is to be done.
    async fn remove(&mut self, view: &View) -> bool {
        let Some(mut removal) = self.pending.pop_front() else {
            return false;
        };
        if removal.reply.is_closed() {
            return !self.pending.is_empty();
        }
        let result = match plan::removal_step(view, &removal.name) {
            Ok(None) if removal.begun => Ok(()),
            Ok(None) => Err(RemovalError::Unknown(removal.name)),
            Err(Obstacle::Leads) => Err(RemovalError::Leads(removal.name)),
            Err(Obstacle::NoMajority) => Err(RemovalError::Unfinished(
                "no majority of the key servers answers".to_owned(),
            )),
            Ok(Some(step)) => {
                removal.begun = true;
                let taken = self.take(step, view).await;
                self.pending.push_front(removal);
                return taken;
            }
        };
        drop(removal.reply.send(result));
        !self.pending.is_empty()
    }

    fn membership(&self) -> (Membership, bool) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership().clone();
        let joint = membership.get_joint_config().len() > 1;
        (membership, joint)
    }

    fn view(&mut self, membership: &Membership, joint: bool, answers: Vec<Hello>) -> View {
        let now = runtime::clock::now();
        let answering: BTreeSet<NodeId> = answers.iter().map(|hello| hello.node_id).collect();
        self.silent_since.retain(|id, _| !answering.contains(id));
        for (id, _) in membership.nodes() {
            if !answering.contains(id) {
                self.silent_since.entry(*id).or_insert(now);
            }
        }
        let own = self.store.node_id();
        let mut caught_up: BTreeSet<NodeId> = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let last = metrics.last_log_index.unwrap_or(0);
            metrics
                .replication
                .iter()
                .flatten()
                .filter(|(_, matched)| {
                    matched.is_some_and(|id| id.index().saturating_add(LAG) >= last)
                })
                .map(|(id, _)| *id)
                .collect()
        };
        caught_up.insert(own);
        View {
            own,
            voters: membership.voter_ids().collect(),
            nodes: membership
                .nodes()
                .map(|(id, node)| (*id, node.clone()))
                .collect(),
            joint,
            answers,
            caught_up,
            silent: self
                .silent_since
                .iter()
                .map(|(id, since)| (*id, now.duration_since(*since)))
                .collect(),
            voter_replacement: self.voter_replacement,
        }
    }

    /// Takes one step; whether it was committed.
    async fn take(&self, step: Step, view: &View) -> bool {
        tracing::info!(?step, "membership of the key servers");
        let result = match step {
            Step::FinishJoint => {
                let goal = self.membership().0.get_joint_config().last().cloned();
                self.raft
                    .change_membership(
                        ChangeMembers::ReplaceAllVoters(goal.unwrap_or_default()),
                        true,
                    )
                    .await
            }
            Step::AddLearner(id, node) => self.raft.add_learner(id, node, false).await,
            Step::Succeed { lost, successor } => {
                let mut voters = view.voters.clone();
                voters.remove(&lost);
                voters.insert(successor);
                self.raft
                    .change_membership(ChangeMembers::ReplaceAllVoters(voters), false)
                    .await
            }
            Step::Remove(id) => {
                self.raft
                    .change_membership(ChangeMembers::RemoveNodes([id].into()), true)
                    .await
            }
            Step::Voters(voters) => {
                self.raft
                    .change_membership(ChangeMembers::ReplaceAllVoters(voters), true)
                    .await
            }
            Step::Describe(id, node) => {
                self.raft
                    .change_membership(ChangeMembers::SetNodes([(id, node)].into()), true)
                    .await
            }
            Step::Retire(retired) => {
                self.raft
                    .change_membership(ChangeMembers::SetNodes(records(view, retired)), true)
                    .await
            }
        };
        // Leadership may be lost in between; whoever leads next observes anew.
        if let Err(error) = &result {
            tracing::info!(%error, "this step was not taken; the next round decides anew");
        }
        result.is_ok()
    }

    /// Hands leadership to the key server with the highest priority, once, after formation.
    async fn steer(&mut self, view: &View) {
        if !view.voters.iter().all(|id| view.caught_up.contains(id)) {
            return;
        }
        self.steering = false;
        let servers = cooperation(view);
        let target = transfer_target(&servers, &self.roster.own.name, Occasion::Formation)
            .and_then(|target| view.id_of(&target.name));
        if let Some(target) = target {
            tracing::info!("handing leadership to the key server with the highest priority");
            // Fails only when the consensus stops, which its own watchers report.
            let _ = self.raft.trigger().transfer_leader(target).await;
        }
    }
}

/// The records of the nodes with the memory of removals in the leader's alone.
fn records(view: &View, retired: Vec<super::types::Retired>) -> BTreeMap<NodeId, KeyServerNode> {
    let mut changed = BTreeMap::new();
    for (id, node) in &view.nodes {
        if *id != view.own && !node.retired.is_empty() {
            let node = KeyServerNode {
                retired: Vec::new(),
                ..node.clone()
            };
            changed.insert(*id, node);
        }
    }
    if let Some(own) = view.nodes.get(&view.own) {
        let own = KeyServerNode {
            retired,
            ..own.clone()
        };
        changed.insert(view.own, own);
    }
    changed
}

/// The key servers in the words of `keyserver-core`.
fn cooperation(view: &View) -> Vec<cooperation::View> {
    let answering = |id| view.answers.iter().any(|hello| hello.node_id == id);
    let servers = view.nodes.iter().map(|(id, node)| cooperation::View {
        name: node.name.clone(),
        priority: node.priority,
        address: tie_break(node),
        voter: view.voters.contains(id),
        caught_up: view.caught_up.contains(id) && answering(*id),
    });
    servers.collect()
}

/// The address that decides among equal priorities.
pub(super) fn tie_break(node: &KeyServerNode) -> SocketAddr {
    let address = node.ike_addresses.iter().max().copied();
    SocketAddr::new(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), 0)
}
