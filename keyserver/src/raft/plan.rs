//! Which key servers vote: one, three or five of them; the others are learners.
//!
//! The leader takes one step at a time from what it has just observed, and only steps that the
//! present voters can commit. A data directory that was lost comes back under another node
//! identity; it takes the place of the old one by name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::transport::Hello;
use super::types::{KeyServerNode, NodeId};

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
    let answering: BTreeSet<NodeId> = view.answers.iter().map(|hello| hello.node_id).collect();
    let voting = view.voters.intersection(&answering).count();
    if voting <= view.voters.len() / 2 {
        return None;
    }
    if view.joint {
        return Some(Step::FinishJoint);
    }
    newcomer(view, &answering)
        .or_else(|| description(view))
        .or_else(|| promotion(view, &answering))
        .or_else(|| substitution(view, &answering))
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
        (*known != hello.node && known.name == hello.node.name)
            .then(|| Step::Describe(hello.node_id, hello.node.clone()))
    })
}

fn promotion(view: &View, answering: &BTreeSet<NodeId>) -> Option<Step> {
    let names: BTreeSet<&str> = view.nodes.values().map(|node| node.name.as_str()).collect();
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
mod tests {
    use super::*;

    fn node(name: &str, priority: u8) -> KeyServerNode {
        KeyServerNode {
            name: name.to_owned(),
            priority,
            ..KeyServerNode::default()
        }
    }

    fn hello(id: NodeId, name: &str) -> Hello {
        Hello {
            node_id: id,
            node: node(name, 100),
            incarnation: None,
            initialised: true,
        }
    }

    /// Key servers ks-1 to ks-n with equal node identities, `voters` of them voting, all well.
    fn healthy(count: u64, voters: u64) -> View {
        View {
            own: 1,
            voters: (1..=voters).collect(),
            nodes: (1..=count)
                .map(|id| (id, node(&format!("ks-{id}"), 100)))
                .collect(),
            answers: (1..=count)
                .map(|id| hello(id, &format!("ks-{id}")))
                .collect(),
            caught_up: (1..=count).collect(),
            voter_replacement: Duration::from_secs(30),
            ..View::default()
        }
    }

    #[test]
    fn nothing_is_done_to_a_healthy_group() {
        for (count, voters) in [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (8, 5)] {
            assert_eq!(
                next_step(&healthy(count, voters)),
                None,
                "{count} key servers"
            );
        }
    }

    #[test]
    fn voters_go_from_one_to_three_at_once_and_never_to_two() {
        assert_eq!(
            next_step(&healthy(3, 1)),
            Some(Step::Voters([1, 2, 3].into()))
        );
        let mut one_behind = healthy(3, 1);
        one_behind.caught_up.remove(&3);
        assert_eq!(next_step(&one_behind), None);
    }

    #[test]
    fn a_lost_volume_is_replaced_by_name_after_its_successor_caught_up() {
        let mut view = healthy(3, 3);
        view.answers[2] = hello(33, "ks-3");
        assert_eq!(
            next_step(&view),
            Some(Step::AddLearner(33, node("ks-3", 100)))
        );
        view.nodes.insert(33, node("ks-3", 100));
        assert_eq!(next_step(&view), None);
        view.caught_up.insert(33);
        assert_eq!(
            next_step(&view),
            Some(Step::Succeed {
                lost: 3,
                successor: 33
            })
        );
    }

    #[test]
    fn without_a_majority_nothing_is_changed() {
        let mut view = healthy(3, 3);
        view.answers = vec![hello(1, "ks-1"), hello(33, "ks-3")];
        assert_eq!(next_step(&view), None);
    }

    #[test]
    fn two_live_key_servers_of_one_name_do_not_displace_each_other() {
        let mut view = healthy(3, 3);
        view.answers.push(hello(44, "ks-3"));
        assert_eq!(next_step(&view), None);
    }

    #[test]
    fn a_voter_that_stays_silent_gives_its_vote_to_a_learner() {
        let mut view = healthy(4, 3);
        view.answers.remove(1);
        view.silent.insert(2, Duration::from_secs(29));
        assert_eq!(next_step(&view), None);
        view.silent.insert(2, Duration::from_secs(30));
        assert_eq!(next_step(&view), Some(Step::Voters([1, 3, 4].into())));
    }

    #[test]
    fn an_unfinished_change_is_finished_first() {
        let mut view = healthy(4, 3);
        view.joint = true;
        assert_eq!(next_step(&view), Some(Step::FinishJoint));
    }
}
