//! Which key servers vote: one, three or five of them; the others are learners.
//!
//! The leader takes one step at a time from what it has just observed, and only steps that the
//! present voters can commit. A data directory that was lost comes back under another node
//! identity; it takes the place of the old one by name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::transport::Hello;
use super::types::{KeyServerNode, NodeId, Retired};

/// Most key servers of a group.
const MOST: usize = 8;
/// Most removed data directories that are remembered; the oldest are forgotten first.
const MOST_RETIRED: usize = 64;

/// What the leader knows.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The leader itself.
    pub own: NodeId,
    /// Present voters.
    pub voters: BTreeSet<NodeId>,
    /// All present members.
    pub nodes: BTreeMap<NodeId, KeyServerNode>,
    /// Whether a change of voters was begun and not finished.
    pub joint: bool,
    /// Who answered just now, the leader included.
    pub answers: Vec<Hello>,
    /// Members whose log is nearly as long as the leader's.
    pub caught_up: BTreeSet<NodeId>,
    /// Since when members have not answered.
    pub silent: BTreeMap<NodeId, Duration>,
    /// After how long a silent voter's place is given to a learner.
    pub voter_replacement: Duration,
}

impl View {
    /// The member of that name.
    pub fn id_of(&self, name: &str) -> Option<NodeId> {
        let mut named = self.nodes.iter().filter(|(_, node)| node.name == name);
        named.next().map(|(id, _)| *id)
    }

    /// Every data directory that was removed on purpose, oldest first.
    fn retired(&self) -> Vec<Retired> {
        // What this node recorded itself is the longest list, and in order.
        let own = self.nodes.get(&self.own).into_iter();
        let others = self.nodes.iter().filter(|(id, _)| **id != self.own);
        let mut all: Vec<Retired> = Vec::new();
        for retired in own
            .chain(others.map(|(_, node)| node))
            .flat_map(|node| &node.retired)
        {
            if !all.contains(retired) {
                all.push(retired.clone());
            }
        }
        all
    }

    fn is_retired(&self, id: NodeId) -> bool {
        self.nodes
            .values()
            .flat_map(|node| &node.retired)
            .any(|retired| retired.node_id == id)
    }

    fn names(&self) -> BTreeSet<&str> {
        self.nodes.values().map(|node| node.name.as_str()).collect()
    }

    /// Who answered, when the present voters can commit a change.
    fn answering(&self) -> Option<BTreeSet<NodeId>> {
        let answering: BTreeSet<NodeId> = self.answers.iter().map(|hello| hello.node_id).collect();
        let voting = self.voters.intersection(&answering).count();
        (voting > self.voters.len() / 2).then_some(answering)
    }
}

/// One change of the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Finish a change of voters whose leader did not.
    FinishJoint,
    /// Take in a new node without a vote.
    AddLearner(NodeId, KeyServerNode),
    /// Give the vote of a lost data directory to its successor and forget the old one.
    Succeed {
        /// Node of the lost data directory.
        lost: NodeId,
        /// Node of the new one.
        successor: NodeId,
    },
    /// Forget a member without a vote.
    Remove(NodeId),
    /// Make these the voters; the others stay as learners.
    Voters(BTreeSet<NodeId>),
    /// Correct what the members know about a node.
    Describe(NodeId, KeyServerNode),
    /// Remember which data directories were removed on purpose, in the leader's own record alone.
    Retire(Vec<Retired>),
}

/// Why a removal cannot go on now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The leader itself is to be removed: it hands leadership on first.
    Leads,
    /// The present voters cannot commit a change.
    NoMajority,
}

/// Number of voters for `members` key servers.
pub const fn desired_voters(members: usize) -> usize {
    match members {
        0..=2 => 1,
        3..=4 => 3,
        _ => 5,
    }
}

/// The next step, if one is due and the present voters can commit it.
pub fn next_step(view: &View) -> Option<Step> {
    let answering = view.answering()?;
    if view.joint {
        return Some(Step::FinishJoint);
    }
    consolidation(view)
        .or_else(|| newcomer(view, &answering))
        .or_else(|| description(view))
        .or_else(|| promotion(view, &answering))
        .or_else(|| substitution(view, &answering))
}

/// The next step on the way to a group without the key server `name`; `None` when it is reached.
///
/// # Errors
/// [`Obstacle`].
pub fn removal_step(view: &View, name: &str) -> Result<Option<Step>, Obstacle> {
    let answering = view.answering().ok_or(Obstacle::NoMajority)?;
    if view.joint {
        return Ok(Some(Step::FinishJoint));
    }
    let Some(id) = view.id_of(name) else {
        return Ok(None);
    };
    if id == view.own {
        return Err(Obstacle::Leads);
    }
    if view.voters.contains(&id) {
        return Ok(Some(Step::Voters(voters_without(view, &answering, name))));
    }
    if !view.is_retired(id) {
        let mut retired = view.retired();
        retired.push(Retired {
            node_id: id,
            name: name.to_owned(),
        });
        return Ok(Some(Step::Retire(newest(retired))));
    }
    Ok(Some(Step::Remove(id)))
}

/// The voters of the group without `name`: an odd number of them, the leader and those that answer
/// first.
fn voters_without(view: &View, answering: &BTreeSet<NodeId>, name: &str) -> BTreeSet<NodeId> {
    let stays = |id: &NodeId| view.nodes.get(id).is_some_and(|node| node.name != name);
    let mut able: Vec<NodeId> = view
        .voters
        .iter()
        .copied()
        .filter(|id| stays(id) && *id != view.own)
        .collect();
    able.sort_by_key(|id| {
        let priority = view.nodes.get(id).map_or(0, |node| node.priority);
        (!answering.contains(id), std::cmp::Reverse(priority), *id)
    });
    let learners = ready_learners(view, answering);
    able.extend(learners.into_iter().filter(stays));
    let possible = able.len() + 1;
    let desired = desired_voters(view.names().len().saturating_sub(1));
    let size = [5, 3, 1]
        .into_iter()
        .find(|size| *size <= possible.min(desired))
        .unwrap_or(1);
    let mut voters: BTreeSet<NodeId> = able.into_iter().take(size - 1).collect();
    voters.insert(view.own);
    voters
}

/// Brings the memory of removed data directories to the leader's own record: a node that is
/// removed must not take it along.
fn consolidation(view: &View) -> Option<Step> {
    view.nodes
        .iter()
        .any(|(id, node)| *id != view.own && !node.retired.is_empty())
        .then(|| Step::Retire(newest(view.retired())))
}

fn newest(mut retired: Vec<Retired>) -> Vec<Retired> {
    let surplus = retired.len().saturating_sub(MOST_RETIRED);
    retired.split_off(surplus)
}

fn newcomer(view: &View, answering: &BTreeSet<NodeId>) -> Option<Step> {
    let named = |name: &str| -> Vec<NodeId> {
        let same = view.nodes.iter().filter(|(_, node)| node.name == name);
        same.map(|(id, _)| *id).collect()
    };
    for hello in &view.answers {
        let earlier: Vec<NodeId> = named(&hello.node.name)
            .into_iter()
            .filter(|id| *id != hello.node_id)
            .collect();
        if earlier.iter().any(|id| answering.contains(id)) {
            // Two live data directories with one name: a mistake of configuration, not a loss.
            continue;
        }
        if !view.nodes.contains_key(&hello.node_id) {
            let names = view.names();
            let full = names.len() >= MOST && !names.contains(hello.node.name.as_str());
            if view.is_retired(hello.node_id) || full {
                continue;
            }
            return Some(Step::AddLearner(hello.node_id, hello.node.clone()));
        }
        let Some(lost) = earlier.first() else {
            continue;
        };
        if !view.voters.contains(lost) {
            return Some(Step::Remove(*lost));
        }
        if view.caught_up.contains(&hello.node_id) {
            return Some(Step::Succeed {
                lost: *lost,
                successor: hello.node_id,
            });
        }
    }
    None
}

fn description(view: &View) -> Option<Step> {
    view.answers.iter().find_map(|hello| {
        let known = view.nodes.get(&hello.node_id)?;
        // The consensus address is how the node was found; a node that moved answers elsewhere.
        (!known.describes_the_same(&hello.node) && known.name == hello.node.name).then(|| {
            let node = KeyServerNode {
                retired: known.retired.clone(),
                ..hello.node.clone()
            };
            Step::Describe(hello.node_id, node)
        })
    })
}

fn promotion(view: &View, answering: &BTreeSet<NodeId>) -> Option<Step> {
    let names = view.names();
    let ready = ready_learners(view, answering);
    let possible = desired_voters(names.len()).min(view.voters.len() + ready.len());
    let size = [5, 3].into_iter().find(|size| *size <= possible)?;
    if size <= view.voters.len() {
        return None;
    }
    let mut voters = view.voters.clone();
    voters.extend(ready.iter().take(size - view.voters.len()));
    Some(Step::Voters(voters))
}

fn substitution(view: &View, answering: &BTreeSet<NodeId>) -> Option<Step> {
    let lost = view.voters.iter().find(|id| {
        view.silent
            .get(id)
            .is_some_and(|silent| *silent >= view.voter_replacement)
    })?;
    let substitute = *ready_learners(view, answering).first()?;
    let mut voters = view.voters.clone();
    voters.remove(lost);
    voters.insert(substitute);
    Some(Step::Voters(voters))
}

/// Learners that could vote at once, highest priority first.
fn ready_learners(view: &View, answering: &BTreeSet<NodeId>) -> Vec<NodeId> {
    let mut ready: Vec<(&NodeId, &KeyServerNode)> = view
        .nodes
        .iter()
        .filter(|(id, _)| {
            !view.voters.contains(id) && view.caught_up.contains(id) && answering.contains(id)
        })
        .collect();
    ready.sort_by_key(|(id, node)| (std::cmp::Reverse(node.priority), **id));
    ready.into_iter().map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests;
