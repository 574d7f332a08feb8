//! Multicast in pod networks, which carry none between nodes.

use std::time::Duration;

use e2e::cluster::{Cluster, ClusterWatch, Namespace, group, member_pod};

use crate::NODES;

const LIMIT: Duration = Duration::from_secs(180);
/// The group address of the test's stream.
const STREAM: &str = "239.1.1.1";

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn multicast_reaches_members_on_every_node_by_copies() {
    let cluster = Cluster::running().expect("a cluster");
    let space = Namespace::new(&cluster, "e2e-multicast").expect("a namespace");
    let text = group("wan", 1)
        .replace(
            "identity: Hostname\n",
            "identity: Hostname\n  multicastDelivery: HeadEndReplication\n",
        )
        .replace(
            "  rules:\n",
            "  rules:\n  - { name: stream, action: Permit, source: 10.244.0.0/16, destination: 239.1.0.0/16 }\n",
        );
    space.apply(&text).expect("applied");
    let receive = ["probe", "multicast-count", STREAM, "9000", "100"];
    for (name, node) in [("near", NODES[0]), ("far", NODES[1])] {
        let pod = member_pod(name, "wan", node, &receive, "");
        // It ends when it has heard enough.
        let pod = pod.replace("spec:\n", "spec:\n  restartPolicy: Never\n");
        space.apply(&pod).expect("applied");
    }
    let sender = member_pod("sender", "wan", NODES[0], &["sleep", "86400"], "");
    space.apply(&sender).expect("applied");
    space.group_ready("wan", LIMIT).expect("key servers");
    let addresses =
        ["near", "far", "sender"].map(|pod| space.pod_ready(pod, LIMIT).expect("ready"));
    let watch = ClusterWatch::start(&cluster, &NODES).expect("captures");
    watch.protect(addresses);
    let to = format!("{STREAM}:9000");
    cluster
        .exec(
            &space.name,
            "sender",
            "main",
            &["probe", "multicast-stream", &to, "50", "20"],
        )
        .expect("sent");
    for pod in ["near", "far"] {
        let log = Cluster::wait_for(&format!("{pod} to hear the stream"), LIMIT, || {
            let log = space.kubectl(&["logs", pod, "-c", "main"])?;
            Ok(log.contains("\"different\":").then_some(log))
        })
        .expect("heard");
        println!("{pod}: {}", log.trim());
        assert!(log.contains("\"repeated\":0"), "{pod}: {log}");
    }
    let seen = watch.finish().expect("a whole capture");
    println!("{} ESP packets, {} in clear", seen.esp, seen.clear);
    assert!(seen.esp > 200, "{seen:?}");
    assert_eq!(seen.clear, 0, "{seen:?}");
}
