//! Membership, step by step.

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
        founder: "ks-1".to_owned(),
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

/// Takes `step` as the consensus would.
fn take(view: &mut View, step: Step) {
    match step {
        Step::Voters(voters) => view.voters = voters,
        Step::Remove(id) => drop(view.nodes.remove(&id)),
        Step::Retire(retired) => {
            for (id, node) in &mut view.nodes {
                node.retired = if *id == view.own {
                    retired.clone()
                } else {
                    Vec::new()
                };
            }
        }
        other => panic!("no step of a removal: {other:?}"),
    }
}

#[test]
fn removals_keep_an_odd_number_of_voters_and_a_learner_takes_the_vote() {
    let mut view = healthy(5, 5);
    let mut sizes = Vec::new();
    for name in ["ks-5", "ks-2", "ks-4", "ks-3"] {
        while let Some(step) = removal_step(&view, name).expect("no obstacle") {
            take(&mut view, step);
        }
        assert_eq!(view.id_of(name), None);
        view.answers.retain(|hello| hello.node.name != name);
        sizes.push(view.voters.len());
    }
    assert_eq!(sizes, [3, 3, 1, 1]);
    assert_eq!(view.voters, [1].into());
    assert_eq!(view.nodes.len(), 1);
}

#[test]
fn a_removed_data_directory_is_not_taken_in_again_and_an_empty_one_of_its_name_is() {
    let mut view = healthy(4, 3);
    while let Some(step) = removal_step(&view, "ks-4").expect("no obstacle") {
        take(&mut view, step);
    }
    assert_eq!(next_step(&view), None, "the old one still answers");
    view.answers[3] = hello(44, "ks-4");
    assert_eq!(
        next_step(&view),
        Some(Step::AddLearner(44, node("ks-4", 100)))
    );
}

#[test]
fn the_memory_of_removals_outlives_a_change_of_the_leader() {
    let mut view = healthy(4, 3);
    let retired = vec![Retired {
        node_id: 9,
        name: "ks-9".to_owned(),
    }];
    view.nodes.get_mut(&2).expect("a member").retired = retired.clone();
    let step = next_step(&view).expect("the new leader records it");
    assert_eq!(step, Step::Retire(retired.clone()));
    take(&mut view, step);
    assert_eq!(next_step(&view), None);
    // Its description keeps it, too.
    view.answers[0].node.priority = 50;
    match next_step(&view) {
        Some(Step::Describe(1, described)) => assert_eq!(described.retired, retired),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_leader_is_not_removed_and_nothing_is_without_a_majority() {
    let mut view = healthy(3, 3);
    assert_eq!(removal_step(&view, "ks-1"), Err(Obstacle::Leads));
    assert_eq!(removal_step(&view, "ks-7"), Ok(None));
    view.answers.truncate(1);
    assert_eq!(removal_step(&view, "ks-3"), Err(Obstacle::NoMajority));
}

#[test]
fn a_ninth_key_server_is_not_taken_in() {
    let mut view = healthy(8, 5);
    view.answers.push(hello(9, "ks-9"));
    assert_eq!(next_step(&view), None);
}
