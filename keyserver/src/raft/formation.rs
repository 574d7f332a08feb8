//! How a group of key servers begins, once.
//!
//! The first of the configured key servers forms the group, when all the others answered, all are
//! empty, and all agree that it is the first. Whoever has an empty data directory beside a formed
//! group asks to be taken in and waits: an empty directory is no proof that there was nothing.

use std::collections::BTreeMap;

use futures::future::join_all;

use super::plan::desired_voters;
use super::roster::InitialMember;
use super::state_machine::Application;
use super::steward::{HELLO_TIMEOUT, Steward};
use super::transport::{CallError, Hello};
use super::types::{Incarnation, KeyServerNode, NodeId};

/// What to do with an empty log.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// Form the group with the others that answered.
    Form(Vec<(NodeId, KeyServerNode)>),
    /// Wait, for this reason.
    Wait(String),
}

impl<A: Application> Steward<A> {
    /// Forms the group when this key server is the one to do it and it is safe.
    pub(super) async fn form(&mut self) {
        self.peers.introduce(Some(self.roster.own.clone()));
        self.peers.retain(&self.roster.addresses());
        let others: Vec<InitialMember> = self.roster.others().cloned().collect();
        let answers = join_all(
            others
                .iter()
                .map(|member| self.peers.hello(&member.address, HELLO_TIMEOUT)),
        )
        .await;
        if let Some(incarnation) = self.callers.formed() {
            self.say(Some(format!(
                "this data directory is empty, but a key server of incarnation {incarnation} spoke to it: waiting for its primary to take this key server in"
            )));
            return;
        }
        let own = &self.roster.own.name;
        let founder = self.roster.founder();
        match decide(own, founder, others.iter().zip(answers)) {
            Decision::Wait(why) => self.say(Some(why)),
            Decision::Form(mut members) => {
                members.push((self.store.node_id(), self.roster.own.clone()));
                self.initialise(members).await;
            }
        }
    }

    async fn initialise(&mut self, mut members: Vec<(NodeId, KeyServerNode)>) {
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
            let mut configured = self.roster.initial_members.iter();
            configured.position(|member| member.name == node.name)
        };
        let count = members.len();
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
}

/// What the key server `own` does with an empty log, after it asked all `others`.
fn decide<'a>(
    own: &str,
    founder: &str,
    others: impl Iterator<Item = (&'a InitialMember, Result<Hello, CallError>)>,
) -> Decision {
    let mut present = Vec::new();
    let mut absent = Vec::new();
    for (member, answer) in others {
        match answer {
            Ok(hello) if hello.initialised || hello.incarnation.is_some() => {
                return Decision::Wait(format!(
                    "this data directory is empty, but {} belongs to a formed group: waiting for its primary to take this key server in",
                    member.name
                ));
            }
            Ok(hello) if hello.node.name != member.name => absent.push(format!(
                "{} (key server {} answers at {})",
                member.name, hello.node.name, member.address
            )),
            Ok(hello) if hello.founder != founder => absent.push(format!(
                "{} (its configuration names {} first, this one {founder})",
                member.name, hello.founder
            )),
            Ok(hello) => present.push((hello.node_id, hello.node)),
            Err(error) => absent.push(format!("{} ({error})", member.name)),
        }
    }
    if !absent.is_empty() {
        return Decision::Wait(format!(
            "this data directory is empty, and whether the group was formed before is only known when all answer: waiting for {}",
            absent.join(", ")
        ));
    }
    if own != founder {
        return Decision::Wait(format!("waiting for {founder} to form the group"));
    }
    Decision::Form(present)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str) -> InitialMember {
        InitialMember {
            name: name.to_owned(),
            address: format!("{name}.ks:9443"),
            priority: 100,
        }
    }

    fn empty(node_id: NodeId, name: &str) -> Result<Hello, CallError> {
        Ok(Hello {
            node_id,
            node: KeyServerNode {
                name: name.to_owned(),
                ..KeyServerNode::default()
            },
            incarnation: None,
            initialised: false,
            founder: "ks-0".to_owned(),
        })
    }

    fn silent() -> Result<Hello, CallError> {
        Err(CallError::Unreachable("no such name".to_owned()))
    }

    fn decision(own: &str, answers: [Result<Hello, CallError>; 2]) -> Decision {
        let all = ["ks-0", "ks-1", "ks-2"].map(member);
        let others = all.iter().filter(|member| member.name != own);
        decide(own, "ks-0", others.zip(answers))
    }

    fn reason(decision: Decision) -> String {
        match decision {
            Decision::Wait(why) => why,
            Decision::Form(members) => panic!("formed with {members:?}"),
        }
    }

    #[test]
    fn only_the_first_forms_and_only_when_all_answer_and_are_empty() {
        let formed = decision("ks-0", [empty(1, "ks-1"), empty(2, "ks-2")]);
        assert!(matches!(formed, Decision::Form(members) if members.len() == 2));
        let second = decision("ks-1", [empty(0, "ks-0"), empty(2, "ks-2")]);
        assert_eq!(reason(second), "waiting for ks-0 to form the group");
    }

    #[test]
    fn with_anybody_silent_it_waits_and_says_for_whom() {
        let why = reason(decision("ks-0", [silent(), silent()]));
        assert!(
            why.contains("ks-1 (not connected: no such name), ks-2 ("),
            "{why}"
        );
        reason(decision("ks-0", [empty(1, "ks-1"), silent()]));
    }

    #[test]
    fn beside_one_that_belongs_to_a_group_it_waits_even_when_others_are_silent() {
        for (initialised, incarnation) in [(true, None), (false, Some(Incarnation([1; 16])))] {
            let belongs = empty(2, "ks-2").map(|hello| Hello {
                initialised,
                incarnation,
                ..hello
            });
            let why = reason(decision("ks-0", [silent(), belongs]));
            assert!(why.contains("ks-2 belongs to a formed group"), "{why}");
        }
    }

    #[test]
    fn nothing_is_formed_while_two_configurations_name_different_founders() {
        let other = empty(1, "ks-1").map(|hello| Hello {
            founder: "ks-1".to_owned(),
            ..hello
        });
        let why = reason(decision("ks-0", [other, empty(2, "ks-2")]));
        assert!(why.contains("names ks-1 first"), "{why}");
    }
}
