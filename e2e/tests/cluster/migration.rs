//! A clear network becomes an encrypted one, batch after batch, while its applications talk.

use std::net::IpAddr;
use std::time::Duration;

use e2e::cluster::{Cluster, ClusterWatch, Namespace, group, member_pod};
use serde_json::Value;

use crate::NODES;

const LIMIT: Duration = Duration::from_secs(180);
/// Members that go over together.
const BATCHES: [&str; 3] = ["first", "second", "third"];
/// How long the applications talk: longer than the whole procedure takes, and not more than the machine likes.
const TALK_SECONDS: &str = "75";

/// A GroupMember for the pods of one batch.
fn batch(name: &str, direction: &str) -> String {
    format!(
        "---
apiVersion: getvpn.dev/v1alpha1
kind: GroupMember
metadata: {{ name: {name} }}
spec:
  groupRef: {{ name: wan }}
  direction: {direction}
  podSelector: {{ matchLabels: {{ app.kubernetes.io/part-of: {name} }} }}
"
    )
}

/// The group with its rule, and no GroupMember.
fn receiving_group() -> String {
    let text = group("wan", 1);
    let member = text.rfind("---").expect("a GroupMember at the end");
    let head = text.get(..member).expect("a text");
    head.replace(
        "identity: Hostname\n",
        "identity: Hostname\n  direction: ReceiveOnly\n",
    )
}

/// What members say they do with a group's flows.
const ENCRYPTED: &str = "encrypt";
const OPTIONAL: &str = "encrypt, accept clear";

/// Waits until a member does this with the group's flows.
fn enforces(space: &Namespace<'_>, pod: &str, wanted: &str) {
    Cluster::wait_for(&format!("{pod} to {wanted}"), LIMIT, || {
        let state = space.member_state(pod)?;
        let mut entries = state["accessList"].as_array().into_iter().flatten();
        let groups = entries.any(|entry| entry["origin"] != "local" && entry["action"] == wanted);
        Ok(groups.then_some(()))
    })
    .expect("in force");
}

/// Packets that a member encrypted and sent.
fn sent(space: &Namespace<'_>, pod: &str) -> u64 {
    let state = space.member_state(pod).expect("its state");
    state["packets"]["sent"].as_u64().expect("a count")
}

/// What passes between the members within the time of some packets.
fn look(cluster: &Cluster, addresses: &[IpAddr], until: impl Fn() -> bool) -> (u64, u64) {
    let watch = ClusterWatch::start(cluster, &NODES).expect("captures");
    watch.protect(addresses.iter().copied());
    Cluster::wait_for("packets to pass", LIMIT, || Ok(until().then_some(()))).expect("passed");
    let seen = watch.finish().expect("a whole capture");
    (seen.esp, seen.clear)
}

// GET VPN rows 180, 191, 192
#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn a_clear_network_is_encrypted_batch_by_batch_and_back_without_a_lost_packet() {
    let cluster = Cluster::running().expect("a cluster");
    let space = Namespace::new(&cluster, "e2e-migration").expect("a namespace");
    let mut text = receiving_group();
    for name in BATCHES {
        text += &batch(name, "Inherit");
    }
    space.apply(&text).expect("applied");
    space.group_ready("wan", LIMIT).expect("key servers");
    for (number, name) in BATCHES.iter().enumerate() {
        let pod = member_pod(
            name,
            name,
            NODES[number % 2],
            &["probe", "udp-serve", "9000"],
            "",
        );
        space.apply(&pod).expect("applied");
    }
    let addresses = BATCHES.map(|name| space.pod_ready(name, LIMIT).expect("ready"));
    let results: Vec<Value> = std::thread::scope(|scope| {
        let talking: Vec<_> = BATCHES
            .iter()
            .enumerate()
            .map(|(number, name)| {
                let to = format!("{}:9000", addresses[(number + 1) % BATCHES.len()]);
                let (cluster, space) = (&cluster, &space);
                scope.spawn(move || {
                    let words = ["probe", "udp-stream", &to, "100", TALK_SECONDS];
                    let text = cluster
                        .exec(&space.name, name, "main", &words)
                        .expect("a stream");
                    serde_json::from_str(&text).expect("JSON")
                })
            })
            .collect();
        walk(&cluster, &space, &addresses);
        talking
            .into_iter()
            .map(|one| one.join().expect("no panic"))
            .collect()
    });
    for (name, result) in BATCHES.iter().zip(&results) {
        println!("{name}: {result}");
        assert_eq!(result["lost"], 0, "{name}: {result}");
    }
}

/// The way there and back, while everybody talks.
fn walk(cluster: &Cluster, space: &Namespace<'_>, addresses: &[IpAddr]) {
    let patch = |kind: &str, name: &str, direction: &str| {
        let patch = format!("{{\"spec\":{{\"direction\":\"{direction}\"}}}}");
        space
            .kubectl(&["patch", kind, name, "--type=merge", "-p", &patch])
            .expect("patched");
    };
    for (number, name) in BATCHES.iter().enumerate() {
        let before: Vec<u64> = BATCHES.iter().map(|pod| sent(space, pod)).collect();
        assert_eq!(before[number], 0, "{name} does not encrypt yet");
        patch("groupmember", name, "InboundOptional");
        // It encrypts now; who has not gone over sends in clear, and nobody refuses either.
        let (esp, clear) = look(cluster, addresses, || sent(space, name) > 100);
        println!("{} of 3 batches: {esp} ESP, {clear} in clear", number + 1);
        assert!(esp > 50, "{esp}");
        for later in BATCHES.iter().skip(number + 1) {
            assert_eq!(sent(space, later), 0, "{later} sends in clear");
        }
        let expected = number + 1 < BATCHES.len();
        assert!(
            !expected || clear > 50,
            "the others still send in clear: {clear}"
        );
    }
    // Everybody encrypts; now nobody needs to accept clear packets any more, in whatever order they hear of it.
    for name in BATCHES {
        patch("groupmember", name, "Bidirectional");
    }
    for name in BATCHES {
        enforces(space, name, ENCRYPTED);
    }
    patch("getvpngroup", "wan", "Bidirectional");
    let from: Vec<u64> = BATCHES.iter().map(|pod| sent(space, pod)).collect();
    let (esp, clear) = look(cluster, addresses, || {
        let mut pods = BATCHES.iter().zip(&from);
        pods.all(|(pod, from)| sent(space, pod) > from + 200)
    });
    println!("all: {esp} ESP, {clear} in clear");
    assert_eq!(clear, 0, "protected traffic in clear");
    // And back: once everybody accepts clear packets again, the first batch sends them.
    for name in BATCHES {
        patch("groupmember", name, "InboundOptional");
    }
    for name in BATCHES {
        enforces(space, name, OPTIONAL);
    }
    patch("groupmember", BATCHES[0], "InboundOnly");
    let others = sent(space, BATCHES[1]);
    let (esp, clear) = look(cluster, addresses, || {
        sent(space, BATCHES[1]) > others + 300
    });
    println!("one batch back: {esp} ESP, {clear} in clear");
    assert!(clear > 50 && esp > 50, "{esp} {clear}");
}
