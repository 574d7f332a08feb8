//! From the first init container to the end of a Job.

use std::time::{Duration, Instant};

use e2e::cluster::{Cluster, Namespace, TOOLS, group, member_pod};

use crate::NODES;

const LIMIT: Duration = Duration::from_secs(240);

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn jobs_end_init_containers_are_protected_ephemeral_ones_work_and_pods_go_quickly() {
    let cluster = Cluster::running().expect("a cluster");
    let space = Namespace::new(&cluster, "e2e-pod-life").expect("a namespace");
    space.apply(&group("wan", 1)).expect("applied");
    space
        .apply(&member_pod(
            "server",
            "wan",
            NODES[0],
            &["probe", "tcp-serve", "8080"],
            "",
        ))
        .expect("applied");
    space.group_ready("wan", LIMIT).expect("key servers");
    let server = space.pod_ready("server", LIMIT).expect("ready");

    // Its init container reaches a member already, which it can only when it is encrypted.
    space
        .apply(&format!(
            "apiVersion: batch/v1
kind: Job
metadata: {{ name: once }}
spec:
  backoffLimit: 0
  template:
    metadata: {{ labels: {{ app.kubernetes.io/part-of: wan }} }}
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      initContainers:
      - {{ name: first, image: {TOOLS}, command: [probe, tcp-get, '{server}:8080', '3'] }}
      containers:
      - {{ name: main, image: {TOOLS}, command: [probe, tcp-get, '{server}:8080', '3'] }}
"
        ))
        .expect("applied");
    space
        .kubectl(&[
            "wait",
            "--for=condition=Complete",
            "job/once",
            "--timeout=120s",
        ])
        .expect("the Job completes with its sidecar");
    for container in ["first", "main"] {
        let log = space
            .kubectl(&["logs", "job/once", "-c", container])
            .expect("a log");
        assert!(log.contains("\"failed\":0"), "{container}: {log}");
    }

    space
        .kubectl(&[
            "debug",
            "server",
            "--image",
            TOOLS,
            "--container=debug",
            "--image-pull-policy=IfNotPresent",
            "--",
            "sleep",
            "60",
        ])
        .expect("an ephemeral container");
    Cluster::wait_for("the ephemeral container", LIMIT, || {
        cluster
            .exec(&space.name, "server", "debug", &["true"])
            .map(Some)
    })
    .expect("it runs");

    let begun = Instant::now();
    space
        .kubectl(&["delete", "pod", "server", "--timeout=60s"])
        .expect("deleted");
    let took = begun.elapsed();
    println!(
        "a pod with a grace period of 2 s was gone after {:.1} s",
        took.as_secs_f64()
    );
    assert!(took < Duration::from_secs(2 + 5 + 2), "{took:?}");

    let count = if std::env::var_os("GETVPN_FULL").is_some() {
        30
    } else {
        12
    };
    let begun = Instant::now();
    for number in 0..count {
        let node = NODES[number % NODES.len()];
        space
            .apply(&member_pod(
                &format!("storm-{number}"),
                "wan",
                node,
                &["sleep", "86400"],
                "",
            ))
            .expect("applied");
    }
    space
        .kubectl(&[
            "wait",
            "--for=condition=Ready",
            "pod",
            "-l",
            "app.kubernetes.io/part-of=wan",
            "--field-selector=status.phase!=Succeeded",
            "--timeout=240s",
        ])
        .expect("all are ready");
    println!(
        "{count} pods at once: all ready after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    Cluster::wait_for("all to be registered", LIMIT, || {
        let object = space.json(&["getvpngroup", "wan"])?;
        let registered = object["status"]["members"]["registered"]
            .as_u64()
            .unwrap_or(0);
        Ok((registered >= count as u64).then_some(()))
    })
    .expect("registered");
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn a_pod_that_must_wait_for_key_servers_has_an_event_that_says_so_and_starts_by_itself() {
    let cluster = Cluster::running().expect("a cluster");
    let space = Namespace::new(&cluster, "e2e-waiting").expect("a namespace");
    // Key servers that no node may run yet.
    let label = "getvpn.dev/e2e-waiting";
    let group = group("wan", 1).replace(
        "replicas: 1 }",
        &format!("replicas: 1, placement: {{ nodeSelector: {{ {label}: \"yes\" }} }} }}"),
    );
    space.apply(&group).expect("applied");
    space
        .apply(&member_pod(
            "client",
            "wan",
            NODES[0],
            &["sleep", "86400"],
            "",
        ))
        .expect("applied");
    let event = Cluster::wait_for("an Event on the pod", LIMIT, || {
        let events = space.json(&[
            "events",
            "--field-selector=involvedObject.kind=Pod,involvedObject.name=client,reason=NotRegistered",
        ])?;
        Ok(events["items"]
            .as_array()
            .and_then(|all| all.first().cloned()))
    })
    .expect("told");
    let message = event["message"].as_str().expect("a message");
    println!("{message}");
    assert_eq!(event["type"], "Warning");
    assert!(
        message.contains("no keys of group 100 yet: KeyServerUnreachable"),
        "{message}"
    );
    let node = |change: &str| {
        cluster
            .kubectl(&["label", "node", NODES[0], "--overwrite", change])
            .expect("labelled")
    };
    node(&format!("{label}=yes"));
    let started = space.pod_ready("client", LIMIT);
    node(&format!("{label}-"));
    started.expect("it starts as soon as it can");
}
