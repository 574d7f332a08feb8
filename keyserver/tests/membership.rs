//! Key servers that come, go, and lose their volumes, on loopback.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use keyserver::raft::{RemovalError, Role, Timing};
use openraft::async_runtime::WatchReceiver;
use support::cluster::{Cluster, until};

/// Names of the voters, as key server `at` knows them.
fn voters(cluster: &Cluster, at: usize) -> BTreeSet<String> {
    let mut metrics = cluster.node(at).consensus.raft().metrics();
    let metrics = metrics.borrow_and_update();
    let membership = metrics.membership_config.membership();
    membership
        .voter_ids()
        .filter_map(|id| membership.get_node(&id).map(|node| node.name.clone()))
        .collect()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

async fn voting<const N: usize>(cluster: &Cluster, at: usize, expected: [&str; N]) {
    let what = format!("{expected:?} vote");
    until(&what, || {
        (voters(cluster, at) == names(expected)).then_some(())
    })
    .await;
}

fn commands(range: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    range
        .map(|number| format!("command {number}").into_bytes())
        .collect()
}

async fn fill(cluster: &Cluster, at: usize, range: std::ops::Range<u32>) {
    for number in range {
        cluster.propose(at, &format!("command {number}")).await;
    }
}

fn term(cluster: &Cluster, at: usize) -> u64 {
    let mut metrics = cluster.node(at).consensus.raft().metrics();
    metrics.borrow_and_update().current_term
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_of_a_grown_set_are_taken_in_before_the_primary_has_the_new_configuration() {
    let mut cluster = Cluster::prepare(5, Timing::default());
    cluster.configured = 1;
    cluster.restart(0).await;
    assert_eq!(cluster.primary().await, 0);
    fill(&cluster, 0, 0..3).await;
    cluster.configured = 3;
    cluster.restart(1).await;
    cluster.restart(2).await;
    voting(&cluster, 0, ["ks-0", "ks-1", "ks-2"]).await;
    cluster.configured = 5;
    cluster.restart(3).await;
    cluster.restart(4).await;
    voting(&cluster, 0, ["ks-0", "ks-1", "ks-2", "ks-3", "ks-4"]).await;
    fill(&cluster, 4, 3..6).await;
    cluster.converged(&commands(0..6)).await;
    assert_eq!(cluster.primary().await, 0, "nobody pre-empts");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_takes_in_whom_its_changed_configuration_names() {
    let mut cluster = Cluster::prepare(2, Timing::default());
    cluster.configured = 1;
    cluster.restart(0).await;
    cluster.primary().await;
    // The newcomer knows nobody who could take it in.
    let mut stale = cluster.roster(1);
    stale.initial_members[0].address = "127.0.0.1:1".to_owned();
    let newcomer = cluster.spawn(1).await;
    newcomer.roster.send_replace(stale);
    cluster.nodes[1] = Some(newcomer);
    cluster.configured = 2;
    let roster = cluster.roster(0);
    cluster.node(0).roster.send_replace(roster);
    fill(&cluster, 0, 0..2).await;
    cluster.converged(&commands(0..2)).await;
    assert_eq!(voters(&cluster, 0), names(["ks-0"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinal_0_without_its_volume_waits_while_the_others_are_down_and_says_so() {
    let mut cluster = Cluster::start(3).await;
    cluster.primary().await;
    fill(&cluster, 0, 0..3).await;
    cluster.converged(&commands(0..3)).await;
    for index in 0..3 {
        cluster.kill(index).await;
    }
    std::fs::remove_dir_all(cluster.directory(0)).expect("volume lost");
    cluster.restart(0).await;
    until("it says for whom it waits", || {
        let why = cluster.node(0).waits_for();
        (why.contains("data directory is empty")
            && why.contains("ks-1 (")
            && why.contains("ks-2 ("))
        .then_some(())
    })
    .await;
    // Long after it would have formed a group.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let store = cluster.node(0).consensus.store().clone();
    assert_eq!(store.identity().incarnation, None);
    assert_eq!(*cluster.node(0).consensus.role().borrow(), Role::Joining);
    drop(store);
    // One that was formed and is alone cannot lead either; with the second one all is as before.
    cluster.restart(1).await;
    until("it knows of the formed group", || {
        let why = cluster.node(0).waits_for();
        (why.contains("belongs to a formed group") || why.contains("spoke to it")).then_some(())
    })
    .await;
    cluster.restart(2).await;
    cluster.converged(&commands(0..3)).await;
    voting(&cluster, 1, ["ks-0", "ks-1", "ks-2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_key_server_is_not_taken_in_again_with_its_old_volume_and_disturbs_nobody() {
    let mut cluster = Cluster::start(4).await;
    assert_eq!(cluster.primary().await, 0);
    fill(&cluster, 0, 0..3).await;
    cluster.converged(&commands(0..3)).await;
    voting(&cluster, 0, ["ks-0", "ks-1", "ks-2"]).await;
    let remover = cluster.node(0).consensus.remover();
    assert_eq!(
        remover.remove("ks-7").await,
        Err(RemovalError::Unknown("ks-7".to_owned()))
    );
    assert_eq!(
        remover.remove("ks-0").await,
        Err(RemovalError::Leads("ks-0".to_owned()))
    );
    assert_eq!(
        cluster.node(1).consensus.remover().remove("ks-2").await,
        Err(RemovalError::NotPrimary)
    );
    // A voter goes while it runs; the learner votes in its place.
    remover.remove("ks-2").await.expect("removed");
    voting(&cluster, 0, ["ks-0", "ks-1", "ks-3"]).await;
    let before = (term(&cluster, 0), cluster.primary().await);
    until("the removed one knows that it was removed", || {
        cluster
            .node(2)
            .waits_for()
            .contains("was removed from the group")
            .then_some(())
    })
    .await;
    cluster.kill(2).await;
    cluster.restart(2).await;
    until("it knows so after a restart with its old volume", || {
        cluster
            .node(2)
            .waits_for()
            .contains("was removed from the group")
            .then_some(())
    })
    .await;
    // Although the configuration still names it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(voters(&cluster, 0), names(["ks-0", "ks-1", "ks-3"]));
    assert_eq!((term(&cluster, 0), cluster.primary().await), before);

    // The next primary remembers it, too.
    cluster.kill(0).await;
    let next = cluster.primary().await;
    assert_ne!(next, 2);
    cluster.restart(0).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!voters(&cluster, next).contains("ks-2"));

    // With an empty volume it is welcome.
    cluster.kill(2).await;
    std::fs::remove_dir_all(cluster.directory(2)).expect("emptied");
    cluster.restart(2).await;
    fill(&cluster, next, 3..5).await;
    until("it holds everything", || {
        (cluster.node(2).journal.commands() == commands(0..5)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_shrinks_from_five_to_one_without_losing_an_entry() {
    let mut cluster = Cluster::start(5).await;
    assert_eq!(cluster.primary().await, 0);
    voting(&cluster, 0, ["ks-0", "ks-1", "ks-2", "ks-3", "ks-4"]).await;
    let remover = cluster.node(0).consensus.remover();
    for (number, index) in (0..).zip([4, 3, 2, 1]) {
        fill(&cluster, 0, number..number + 1).await;
        remover
            .remove(&format!("ks-{index}"))
            .await
            .expect("removed");
        cluster.kill(index).await;
    }
    fill(&cluster, 0, 4..6).await;
    cluster.converged(&commands(0..6)).await;
    assert_eq!(voters(&cluster, 0), names(["ks-0"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_key_servers_the_one_that_ends_hands_its_vote_to_the_other() {
    let mut cluster = Cluster::start(2).await;
    assert_eq!(cluster.primary().await, 0);
    fill(&cluster, 1, 0..3).await;
    cluster.converged(&commands(0..3)).await;
    let node = cluster.nodes[0].take().expect("it runs");
    let started = runtime::clock::now();
    node.consensus.shutdown().await;
    drop(node.journal);
    assert_eq!(cluster.primary().await, 1);
    println!(
        "handover took {} ms",
        runtime::clock::now().duration_since(started).as_millis()
    );
    fill(&cluster, 1, 3..5).await;
    assert_eq!(voters(&cluster, 1), names(["ks-1"]));
    cluster.released(0).await;
    cluster.restart(0).await;
    cluster.converged(&commands(0..5)).await;
    assert_eq!(cluster.primary().await, 1);
    // And the other way round: what was taken from the first can be given back.
    cluster
        .node(1)
        .consensus
        .successor()
        .hand_over()
        .await
        .expect("ks-0 takes over");
    // The one that gave it away may need a moment to notice.
    let leads = |index| {
        matches!(
            *cluster.node(index).consensus.role().borrow(),
            Role::Primary { .. }
        )
    };
    until("ks-0 alone leads", || (leads(0) && !leads(1)).then_some(())).await;
}
