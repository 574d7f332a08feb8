//! Forms the group of key servers and keeps its membership as it should be.
//!
//! The first of the configured key servers forms the group, once, when all the others answered and
//! all are empty. Later the leader alone changes the membership, one step of [`super::plan`] at a
//! time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use keyserver_core::cooperation::{self, Occasion, transfer_target};
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;

use super::plan::{self, Step, View, desired_voters};
use super::role::Role;
use super::state_machine::Application;
use super::transport::{Hello, Peers};
use super::types::{Incarnation, KeyServerNode, Membership, NodeId, Raft};
use crate::storage::Store;

const ROUND: Duration = Duration::from_millis(500);
const HELLO_TIMEOUT: Duration = Duration::from_millis(1000);
/// How many entries behind counts as caught up.
const LAG: u64 = 100;

/// One of the key servers that form the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    /// Its name.
    pub name: String,
    /// `host:port` of its consensus endpoint.
    pub address: String,
    /// 1 to 100.
    pub priority: u8,
}

pub(super) struct Steward<A: Application> {
    pub(super) raft: Raft<A>,
    pub(super) store: Store,
    pub(super) peers: Peers,
    pub(super) own: KeyServerNode,
    pub(super) initial: Vec<InitialMember>,
    pub(super) voter_replacement: Duration,
    pub(super) role: watch::Receiver<Role>,
    /// Last word about why the group is not formed yet; for status and readiness.
    pub(super) waiting: Arc<watch::Sender<Option<String>>>,
    silent_since: BTreeMap<NodeId, Instant>,
    /// Whether this process formed the group and has not yet handed leadership to the preferred
    /// key server.
    steering: bool,
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
        own: KeyServerNode,
        initial: Vec<InitialMember>,
        voter_replacement: Duration,
        role: watch::Receiver<Role>,
        waiting: Arc<watch::Sender<Option<String>>>,
    ) -> Self {
        Self {
            raft,
            store,
            peers,
            own,
            initial,
            voter_replacement,
            role,
            waiting,
            silent_since: BTreeMap::new(),
            steering: false,
        }
    }

    /// Works until the consensus stops.
    pub(super) async fn run(mut self) {
        loop {
            match self.raft.is_initialized().await {
                Err(_) => return,
                Ok(false) => self.form().await,
                Ok(true) => {
                    self.say(None);
                    if matches!(*self.role.borrow(), Role::Primary { .. }) {
                        self.lead().await;
                    } else {
                        self.silent_since.clear();
                        self.steering = false;
                    }
                }
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    fn say(&self, what: Option<String>) {
        self.waiting.send_if_modified(|current| {
            let differs = *current != what;
            if differs {
                if let Some(what) = &what {
                    tracing::info!(what, "the group of key servers is not formed yet");
                }
                *current = what;
            }
            differs
        });
    }

    /// Forms the group when this key server is the one to do it and it is safe.
    async fn form(&mut self) {
        let others: Vec<&InitialMember> = self
            .initial
            .iter()
            .filter(|member| member.name != self.own.name)
            .collect();
        let answers = join_all(
            others
                .iter()
                .map(|member| self.peers.hello(&member.address, HELLO_TIMEOUT)),
        )
        .await;
        let mut members: Vec<(NodeId, KeyServerNode)> =
            vec![(self.store.node_id(), self.own.clone())];
        let mut absent = Vec::new();
        for (member, answer) in others.iter().zip(answers) {
            match answer {
                Ok(hello) if hello.initialised || hello.incarnation.is_some() => {
                    self.say(Some(format!(
                        "this data directory is empty, but {} belongs to a formed group: waiting for its primary to take this key server in",
                        member.name
                    )));
                    return;
                }
                Ok(hello) if hello.node.name != member.name => {
                    absent.push(format!(
                        "{} (key server {} answers at {})",
                        member.name, hello.node.name, member.address
                    ));
                }
                Ok(hello) => members.push((hello.node_id, hello.node)),
                Err(error) => absent.push(format!("{} ({error})", member.name)),
            }
        }
        if self
            .initial
            .first()
            .is_none_or(|first| first.name != self.own.name)
        {
            let first = self
                .initial
                .first()
                .map_or("the first", |first| first.name.as_str());
            self.say(Some(format!("waiting for {first} to form the group")));
            return;
        }
        if !absent.is_empty() {
            self.say(Some(format!("waiting for {}", absent.join(", "))));
            return;
        }
        self.initialise(members).await;
    }

    async fn initialise(&mut self, members: Vec<(NodeId, KeyServerNode)>) {
        let incarnation = self
            .store
            .identity()
            .incarnation
            .unwrap_or_else(|| Incarnation(runtime::entropy::bytes()));
        if let Err(error) = self.store.adopt(incarnation).await {
            tracing::warn!(%error, "cannot store the incarnation");
            return;
        }
        // The order of the configuration decides who votes first; the leader adds the others.
        let order = |node: &KeyServerNode| {
            self.initial
                .iter()
                .position(|member| member.name == node.name)
        };
        let count = members.len();
        let mut members = members;
        members.sort_by_key(|(_, node)| order(node));
        members.truncate(desired_voters(count));
        let voters: BTreeMap<NodeId, KeyServerNode> = members.into_iter().collect();
        match self.raft.initialize(voters).await {
            Ok(()) => {
                self.steering = true;
                tracing::info!(%incarnation, key_servers = count, "formed the group of key servers");
            }
            Err(error) => tracing::warn!(%error, "cannot form the group of key servers"),
        }
    }

    /// One round as leader.
    async fn lead(&mut self) {
        let (membership, joint) = self.membership();
        let mut addresses: BTreeSet<String> = self
            .initial
            .iter()
            .map(|member| member.address.clone())
            .collect();
        addresses.extend(
            membership
                .nodes()
                .map(|(_, node)| node.raft_address.clone()),
        );
        addresses.remove(&self.own.raft_address);
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
            node: self.own.clone(),
            incarnation: own_incarnation,
            initialised: true,
        });
        let view = self.view(&membership, joint, answers);
        if let Some(step) = plan::next_step(&view) {
            self.take(step, &view).await;
        } else if self.steering {
            self.steer(&view).await;
        }
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

    async fn take(&self, step: Step, view: &View) {
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
        };
        // Leadership may be lost in between; whoever leads next observes anew.
        if let Err(error) = result {
            tracing::info!(%error, "this step was not taken; the next round decides anew");
        }
    }

    /// Hands leadership to the key server with the highest priority, once, after formation.
    async fn steer(&mut self, view: &View) {
        if !view.voters.iter().all(|id| view.caught_up.contains(id)) {
            return;
        }
        self.steering = false;
        let servers = cooperation(view);
        let target = transfer_target(&servers, &self.own.name, Occasion::Formation)
            .and_then(|target| view.id_of(&target.name));
        if let Some(target) = target {
            tracing::info!("handing leadership to the key server with the highest priority");
            // Fails only when the consensus stops, which its own watchers report.
            let _ = self.raft.trigger().transfer_leader(target).await;
        }
    }
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
