//! Growing, shrinking, upgrading and losing key servers under traffic.

use std::time::{Duration, Instant};

use e2e::cluster::{Cluster, ClusterWatch, Namespace, PodNetwork, group, member_pod};
use e2e::traffic::{Plan, Traffic};

use crate::NODES;

const LIMIT: Duration = Duration::from_secs(240);

/// Waits until so many key servers are ready and belong to the cooperation, and the group rests; how long it took.
fn settled(space: &Namespace<'_>, replicas: usize) -> Duration {
    let begun = Instant::now();
    Cluster::wait_for(&format!("{replicas} key servers"), LIMIT, || {
        let object = space.json(&["getvpngroup", "wan"])?;
        let status = &object["status"];
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let holds = |kind: &str| {
            conditions
                .iter()
                .any(|one| one["type"] == kind && one["status"] == "True")
        };
        let peers = status["keyServers"]["peers"].as_array().map_or(0, Vec::len);
        let current = status["observedGeneration"] == object["metadata"]["generation"];
        let summary = format!("{replicas}/{replicas}");
        if current
            && status["keyServers"]["summary"] == summary.as_str()
            && peers == replicas
            && holds("Ready")
            && !holds("Reconciling")
        {
            return Ok(Some(()));
        }
        anyhow::bail!(
            "{} with {peers} peers; {conditions:?}",
            status["keyServers"]["summary"]
        )
    })
    .unwrap_or_else(|error| panic!("{error:#}"));
    begun.elapsed()
}

fn scale(space: &Namespace<'_>, replicas: usize) -> Duration {
    space
        .kubectl(&[
            "scale",
            "getvpngroup",
            "wan",
            &format!("--replicas={replicas}"),
        ])
        .expect("scaled");
    settled(space, replicas)
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn key_servers_come_go_and_are_replaced_while_no_packet_is_lost_and_nobody_registers_again() {
    let cluster = Cluster::running().expect("a cluster");
    let space = Namespace::new(&cluster, "e2e-key-servers").expect("a namespace");
    space.apply(&group("wan", 1)).expect("applied");
    space.group_ready("wan", LIMIT).expect("one key server");
    for (pod, node) in [("left", NODES[0]), ("right", NODES[1])] {
        space
            .apply(&member_pod(pod, "wan", node, &["sleep", "86400"], ""))
            .expect("applied");
    }
    let left = space.pod_ready("left", LIMIT).expect("ready");
    let right = space.pod_ready("right", LIMIT).expect("ready");
    let networks = ["left", "right"]
        .map(|pod| PodNetwork::of(&cluster, &space.name, pod).expect("its network"));
    let watch = ClusterWatch::start(&cluster, &NODES).expect("captures");
    watch.protect([left, right]);
    let traffic = Traffic::start(&Plan {
        from: (networks[0].name.clone(), left),
        to: (networks[1].name.clone(), right),
        port: 7000,
        rate: 500,
        size: 200,
    })
    .expect("traffic");

    let up = scale(&space, 3);
    println!("1 to 3 key servers: {:.1} s", up.as_secs_f64());
    println!(
        "3 to 5 key servers: {:.1} s",
        scale(&space, 5).as_secs_f64()
    );
    println!(
        "5 to 3 key servers: {:.1} s",
        scale(&space, 3).as_secs_f64()
    );

    // Another template: every pod is replaced, the primary last.
    let before = space
        .json(&["pods", "-l", "getvpn.dev/role=key-server"])
        .expect("pods");
    space
        .kubectl(&[
            "patch",
            "getvpngroup",
            "wan",
            "--type=merge",
            "-p",
            r#"{"spec":{"keyServers":{"resources":{"requests":{"cpu":"20m"}}}}}"#,
        ])
        .expect("patched");
    let begun = Instant::now();
    let uids = |list: &serde_json::Value| -> Vec<String> {
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .map(|pod| pod["metadata"]["uid"].to_string())
            .collect()
    };
    Cluster::wait_for("every key server to be replaced", LIMIT, || {
        let now = space.json(&["pods", "-l", "getvpn.dev/role=key-server"])?;
        let old = uids(&before);
        let same = uids(&now).iter().filter(|uid| old.contains(uid)).count();
        Ok((same == 0).then_some(()))
    })
    .expect("replaced");
    settled(&space, 3);
    println!("all three replaced: {:.1} s", begun.elapsed().as_secs_f64());

    // A volume is lost with its pod.
    space
        .kubectl(&["delete", "pvc", "state-wan-ks-1", "--wait=false"])
        .expect("deleted");
    space
        .kubectl(&["delete", "pod", "wan-ks-1", "--timeout=60s"])
        .expect("deleted");
    println!(
        "a volume and its pod lost: {:.1} s",
        settled(&space, 3).as_secs_f64()
    );

    let report = traffic.stop().expect("a report");
    let seen = watch.finish().expect("a whole capture");
    println!("{report:?}; {} ESP, {} clear", seen.esp, seen.clear);
    assert_eq!(report.lost(), 0, "{report:?}");
    assert_eq!((seen.clear, seen.canary), (0, 0), "{seen:?}");
    for pod in ["left", "right"] {
        assert_eq!(space.registrations(pod).expect("its state"), 1, "{pod}");
    }
}
