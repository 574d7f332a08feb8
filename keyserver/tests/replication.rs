//! Real key servers' consensus on loopback: three stores, three listeners, mutual TLS.

mod support;

use openraft::async_runtime::WatchReceiver;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use keyserver::raft::transport::{CallError, Peers, Refusal};
use keyserver::raft::types::{CommandOctets, Incarnation};
use keyserver::raft::{ProposeError, Role, Timing};
use support::cluster::{Authority, Cluster, PATIENCE, fixed, until};
use support::open;

fn commands(range: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    range
        .map(|number| format!("command {number}").into_bytes())
        .collect()
}

async fn fill(cluster: &Cluster, at: usize, range: std::ops::Range<u32>) {
    for number in range {
        let command = format!("command {number}");
        let outcome = cluster.propose(at, &command).await;
        assert_eq!(outcome, format!("applied {command}").into_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_key_server_forms_a_group_and_restarts_with_its_state() {
    let mut cluster = Cluster::start(1).await;
    assert_eq!(cluster.primary().await, 0);
    fill(&cluster, 0, 0..5).await;
    cluster.kill(0).await;
    cluster.restart(0).await;
    cluster.primary().await;
    cluster.converged(&commands(0..5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_primary_takes_over_within_eight_seconds_and_loses_nothing() {
    let mut cluster = Cluster::start(3).await;
    let first = cluster.primary().await;
    assert_eq!(first, 0, "the highest priority leads at first formation");
    let replica = (first + 1) % 3;
    fill(&cluster, replica, 0..20).await;
    cluster.converged(&commands(0..20)).await;

    let started = runtime::clock::now();
    cluster.kill(first).await;
    let second = cluster.primary().await;
    let took = runtime::clock::now().duration_since(started);
    println!("fail-over took {} ms", took.as_millis());
    assert_ne!(first, second);
    assert!(took < Duration::from_secs(8), "{took:?}");
    fill(&cluster, replica, 20..30).await;
    cluster.converged(&commands(0..30)).await;

    // The old primary comes back, catches up, and does not take leadership away.
    cluster.restart(first).await;
    cluster.converged(&commands(0..30)).await;
    assert_eq!(cluster.primary().await, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_volume_comes_back_as_a_new_node_in_the_place_of_the_old_one() {
    let mut cluster = Cluster::start(3).await;
    cluster.primary().await;
    fill(&cluster, 0, 0..10).await;
    let lost = cluster.node(2).consensus.store().node_id();
    cluster.kill(2).await;
    std::fs::remove_dir_all(cluster.directory(2)).expect("volume lost");
    fill(&cluster, 0, 10..12).await;
    cluster.restart(2).await;
    let new = cluster.node(2).consensus.store().node_id();
    assert_ne!(new, lost);
    cluster.converged(&commands(0..12)).await;
    until("the new node votes and the old one is forgotten", || {
        let voters: Vec<u64> = cluster.node(0).consensus.raft().voter_ids().collect();
        (voters.len() == 3 && voters.contains(&new) && !voters.contains(&lost)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_key_server_with_a_lost_volume_does_not_form_a_second_group() {
    let mut cluster = Cluster::start(3).await;
    cluster.primary().await;
    fill(&cluster, 0, 0..3).await;
    let incarnation = cluster.node(1).consensus.store().identity().incarnation;
    cluster.kill(0).await;
    std::fs::remove_dir_all(cluster.directory(0)).expect("volume lost");
    cluster.restart(0).await;
    cluster.converged(&commands(0..3)).await;
    assert_eq!(
        cluster.node(0).consensus.store().identity().incarnation,
        incarnation
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_server_that_was_far_behind_gets_a_snapshot() {
    let mut cluster = Cluster::start(3).await;
    cluster.primary().await;
    cluster.kill(2).await;
    let proposer = cluster.node(0).consensus.proposer();
    for batch in 0..5 {
        let writes = (0..500).map(|number| {
            let command = format!("batch {batch} command {number}");
            proposer.propose(CommandOctets::new(command.into_bytes()), PATIENCE)
        });
        for result in join_all(writes).await {
            result.expect("committed");
        }
    }
    let expected = cluster.node(0).journal.commands();
    assert_eq!(expected.len(), 2500);
    cluster.restart(2).await;
    cluster.converged(&expected).await;
    let snapshot = cluster
        .node(2)
        .consensus
        .store()
        .snapshot()
        .expect("readable");
    assert!(
        snapshot.is_some(),
        "the log alone cannot have brought it here"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nobody_is_primary_and_nothing_is_proposed() {
    let mut cluster = Cluster::start(3).await;
    let primary = cluster.primary().await;
    for index in (0..3).filter(|index| *index != primary) {
        cluster.kill(index).await;
    }
    until("the lone key server knows that it does not lead", || {
        let role = cluster.node(primary).consensus.role().borrow().clone();
        (role == Role::Replica { primary: None }).then_some(())
    })
    .await;
    let proposer = cluster.node(primary).consensus.proposer();
    let error = proposer
        .propose(
            CommandOctets::new(b"lonely".to_vec()),
            Duration::from_secs(2),
        )
        .await
        .expect_err("no majority");
    assert!(
        matches!(error, ProposeError::NoPrimary | ProposeError::Unknown(_)),
        "{error}"
    );
    assert!(cluster.node(primary).journal.commands().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fourth_key_server_learns_and_takes_the_vote_of_one_that_stays_away() {
    let timing = Timing {
        voter_replacement: Duration::from_secs(2),
        ..Timing::default()
    };
    let mut cluster = Cluster::start_with(4, timing).await;
    let primary = cluster.primary().await;
    // The learner forwards commands as well.
    fill(&cluster, 3, 0..5).await;
    cluster.converged(&commands(0..5)).await;
    let voters = |cluster: &Cluster| -> BTreeSet<u64> {
        cluster.node(primary).consensus.raft().voter_ids().collect()
    };
    let learner = cluster.node(3).consensus.store().node_id();
    assert_eq!(voters(&cluster).len(), 3);
    assert!(!voters(&cluster).contains(&learner));
    let lost = (0..3)
        .find(|index| *index != primary)
        .expect("three voters");
    cluster.kill(lost).await;
    until("the learner votes", || {
        // In between, while the change is under way, the old voter counts as well.
        let voters = voters(&cluster);
        (voters.contains(&learner) && voters.len() == 3).then_some(())
    })
    .await;
    fill(&cluster, 3, 5..7).await;
    cluster.converged(&commands(0..7)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_was_rolled_back_is_not_believed_and_stops_nobody() {
    let mut cluster = Cluster::start(3).await;
    assert_eq!(cluster.primary().await, 0);
    fill(&cluster, 0, 0..5).await;
    cluster.converged(&commands(0..5)).await;
    cluster.kill(2).await;
    let file = cluster.directory(2).join("keyserver.redb");
    let old = std::fs::read(&file).expect("readable");
    cluster.restart(2).await;
    fill(&cluster, 0, 5..10).await;
    cluster.converged(&commands(0..10)).await;
    let replica = cluster.node(2).consensus.store().node_id();
    until("the primary knows what the replica has", || {
        let mut metrics = cluster.node(0).consensus.raft().metrics();
        let metrics = metrics.borrow_and_update();
        let acknowledged = metrics.replication.as_ref()?.get(&replica)?.as_ref()?;
        (Some(acknowledged.index) == metrics.last_log_index).then_some(())
    })
    .await;
    cluster.kill(2).await;
    std::fs::write(&file, old).expect("rolled back");
    let term = |cluster: &Cluster| {
        let mut metrics = cluster.node(0).consensus.raft().metrics();
        metrics.borrow_and_update().current_term
    };
    let before = term(&cluster);
    cluster.restart(2).await;
    fill(&cluster, 0, 10..20).await;
    assert_eq!(cluster.primary().await, 0);
    // Only a primary of the same term remembers what the replica had acknowledged; one elected anew fills it up again.
    if term(&cluster) == before {
        assert!(cluster.node(2).journal.commands().len() < 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orderly_end_hands_leadership_on_first() {
    let mut cluster = Cluster::start(3).await;
    let first = cluster.primary().await;
    let node = cluster.nodes[first].take().expect("it runs");
    let started = runtime::clock::now();
    node.consensus.shutdown().await;
    let second = cluster.primary().await;
    assert_ne!(first, second);
    // Without a handover the others would first wait for the lease and an election timeout.
    println!(
        "handover took {} ms",
        runtime::clock::now().duration_since(started).as_millis()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_incarnation_is_refused() {
    let cluster = Cluster::start(1).await;
    cluster.primary().await;
    let directory = tempfile::tempdir().expect("temporary directory");
    let store = open(directory.path()).expect("the store opens");
    store.adopt(Incarnation([66; 16])).await.expect("adopted");
    let files = cluster.issue("stranger");
    let tls = Arc::new(runtime::tls::client(&files).expect("client credentials"));
    let peers = Peers::new(store, fixed(tls));
    let error = peers
        .hello(&cluster.addresses[0].to_string(), PATIENCE)
        .await
        .expect_err("another formation");
    let own = cluster
        .node(0)
        .consensus
        .store()
        .identity()
        .incarnation
        .expect("formed");
    assert!(
        matches!(&error, CallError::Refused(Refusal::Incarnation(theirs)) if *theirs == own),
        "{error}"
    );
}

// GET VPN row 71
#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_authority_gets_no_answer() {
    let cluster = Cluster::start(3).await;
    cluster.primary().await;
    fill(&cluster, 0, 0..3).await;
    cluster.converged(&commands(0..3)).await;
    // A key server that is not primary.
    let secondary = cluster.node(1);
    let before = secondary.refused.get();
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut files = Authority::new(directory.path()).issue("intruder");
    // The intruder would trust us; we must not trust it.
    files.trust = cluster.issue("unused").trust;
    let tls = Arc::new(runtime::tls::client(&files).expect("client credentials"));
    let store = open(&directory.path().join("store")).expect("opens");
    let peers = Peers::new(store, fixed(tls));
    for _ in 0..3 {
        let error = peers
            .hello(&cluster.addresses[1].to_string(), Duration::from_secs(2))
            .await
            .expect_err("not of our authority");
        assert!(
            !matches!(error, CallError::Refused(_)),
            "it got as far as an answer: {error}"
        );
    }
    until("each attempt is counted", || {
        (secondary.refused.get() >= before + 3).then_some(())
    })
    .await;
    cluster.converged(&commands(0..3)).await;
}
