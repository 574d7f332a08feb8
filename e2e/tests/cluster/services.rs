//! Services whose endpoints are members.

use std::time::Duration;

use e2e::cluster::{Cluster, ClusterWatch, Namespace, TOOLS, group, ip, member_pod};
use serde_json::Value;

use crate::NODES;

const LIMIT: Duration = Duration::from_secs(180);

/// Servers that answer by HTTP, probed by `probe`, behind a cluster address and a headless name.
fn servers(replicas: u8) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{ name: server }}
spec:
  replicas: {replicas}
  selector: {{ matchLabels: {{ app: server }} }}
  template:
    metadata: {{ labels: {{ app: server, app.kubernetes.io/part-of: wan }} }}
    spec:
      terminationGracePeriodSeconds: 5
      automountServiceAccountToken: false
      containers:
      - name: main
        image: {TOOLS}
        command: [probe, tcp-serve, \"8080\"]
        ports: [{{ name: http, containerPort: 8080 }}]
        readinessProbe: {{ httpGet: {{ path: /, port: http }}, periodSeconds: 1 }}
        livenessProbe: {{ tcpSocket: {{ port: http }}, periodSeconds: 2 }}
        startupProbe: {{ exec: {{ command: [\"true\"] }}, periodSeconds: 1 }}
---
apiVersion: v1
kind: Service
metadata: {{ name: server }}
spec:
  selector: {{ app: server }}
  ports: [{{ port: 80, targetPort: http }}]
---
apiVersion: v1
kind: Service
metadata: {{ name: direct }}
spec:
  clusterIP: None
  selector: {{ app: server }}
  ports: [{{ port: 8080 }}]
"
    )
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn requests_through_a_service_are_encrypted_while_its_endpoints_change() {
    let cluster = Cluster::running().expect("a cluster");
    let space = Namespace::new(&cluster, "e2e-services").expect("a namespace");
    space.apply(&group("wan", 1)).expect("applied");
    space.apply(&servers(3)).expect("applied");
    space
        .apply(&member_pod(
            "client",
            "wan",
            NODES[0],
            &["sleep", "86400"],
            "",
        ))
        .expect("applied");
    space.group_ready("wan", LIMIT).expect("key servers");
    cluster
        .rolled_out(&space.name, "deployment/server", LIMIT)
        .expect("probes by HTTP, TCP and exec pass on protected pods");
    let client = space.pod_ready("client", LIMIT).expect("ready");
    let ask = |name: &str, count: &str| -> Value {
        let text = cluster
            .exec(
                &space.name,
                "client",
                "main",
                &["probe", "tcp-get", name, count],
            )
            .expect("asked");
        serde_json::from_str(&text).expect("JSON")
    };
    let watch = ClusterWatch::start(&cluster, &NODES).expect("captures");
    watch.protect([client]);
    let protect_servers = || {
        let pods = cluster
            .items(&["-n", &space.name, "pods", "-l", "app=server"])
            .expect("pods");
        watch.protect(pods.iter().filter_map(|pod| ip(pod).ok()));
        pods
    };
    protect_servers();
    // The client's rules follow the endpoints within moments.
    Cluster::wait_for("the Service to answer", Duration::from_secs(20), || {
        let answer = ask("server:80", "1");
        Ok((answer["failed"] == 0).then_some(()))
    })
    .expect("translated");

    let steady = ask("server:80", "500");
    println!("three endpoints: {steady}");
    assert_eq!(steady["failed"], 0, "{steady}");
    let direct = ask("direct:8080", "50");
    assert_eq!(direct["failed"], 0, "a headless name: {direct}");

    let changing = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask("server:80", "1000"));
        for replicas in ["1", "4"] {
            std::thread::sleep(Duration::from_secs(1));
            space
                .kubectl(&[
                    "scale",
                    "deployment",
                    "server",
                    &format!("--replicas={replicas}"),
                ])
                .expect("scaled");
            cluster
                .rolled_out(&space.name, "deployment/server", LIMIT)
                .expect("scaled");
            protect_servers();
        }
        let pods = protect_servers();
        let victim = pods[0]["metadata"]["name"].as_str().expect("a name");
        space
            .kubectl(&["delete", "pod", victim, "--grace-period=0", "--force"])
            .expect("killed");
        asking.join().expect("no panic")
    });
    println!("while endpoints go 3, 1, 4 and one is killed: {changing}");
    let failed = changing["failed"].as_u64().expect("a count");
    assert!(
        failed <= 10,
        "more than those to the killed pod: {changing}"
    );
    cluster
        .rolled_out(&space.name, "deployment/server", LIMIT)
        .expect("whole again");
    let after = ask("server:80", "200");
    assert_eq!(after["failed"], 0, "{after}");

    let resolved = cluster
        .exec(
            &space.name,
            "client",
            "main",
            &["probe", "resolve", "server"],
        )
        .expect("names are resolved");
    assert!(resolved.contains("10."), "{resolved}");
    let seen = watch.finish().expect("a whole capture");
    println!("{} ESP packets, {} in clear", seen.esp, seen.clear);
    assert!(seen.esp > 1000, "{seen:?}");
    assert_eq!(seen.clear, 0, "{seen:?}");
}

/// A pod that takes no part in any group.
fn stranger() -> String {
    member_pod("stranger", "nobody", NODES[0], &["sleep", "86400"], "")
}

/// A real database, probed by gRPC, behind a headless name.
fn database() -> String {
    let command = [
        "etcd",
        "--data-dir=/tmp/etcd",
        "--listen-client-urls=http://0.0.0.0:2379",
        "--advertise-client-urls=http://database:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
    ];
    member_pod(
        "database",
        "wan",
        NODES[1],
        &command,
        "readinessProbe: { grpc: { port: 2379 }, periodSeconds: 1 }\n",
    ) + "---
apiVersion: v1
kind: Service
metadata: { name: database }
spec:
  clusterIP: None
  selector: { app: database }
  ports: [{ port: 2379 }]
"
}

/// Writes a hundred entries and counts them.
const WRITE_AND_COUNT: &str = "for i in $(seq 100); do etcdctl put entry$i $i >/dev/null || exit 1; done; etcdctl get --prefix entry --keys-only | grep -c entry";

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn a_database_behind_a_headless_name_is_probed_by_grpc_and_names_are_resolved_as_before() {
    let cluster = Cluster::running().expect("a cluster");
    let space = Namespace::new(&cluster, "e2e-database").expect("a namespace");
    space.apply(&group("wan", 1)).expect("applied");
    space.apply(&database()).expect("applied");
    space.apply(&stranger()).expect("applied");
    space
        .apply(&member_pod(
            "client",
            "wan",
            NODES[0],
            &["sleep", "86400"],
            "",
        ))
        .expect("applied");
    space.group_ready("wan", LIMIT).expect("key servers");
    let server = space
        .pod_ready("database", LIMIT)
        .expect("ready, which its gRPC probe said");
    let client = space.pod_ready("client", LIMIT).expect("ready");
    space.pod_ready("stranger", LIMIT).expect("ready");
    let watch = ClusterWatch::start(&cluster, &NODES).expect("captures");
    watch.protect([client, server]);
    let counted = cluster
        .exec(
            &space.name,
            "client",
            "main",
            &[
                "env",
                "ETCDCTL_ENDPOINTS=http://database:2379",
                "sh",
                "-c",
                WRITE_AND_COUNT,
            ],
        )
        .expect("written and read");
    assert_eq!(counted.trim(), "100");
    let seen = watch.finish().expect("a whole capture");
    println!(
        "database: {} ESP packets, {} in clear",
        seen.esp, seen.clear
    );
    assert!(seen.esp > 400, "{seen:?}");
    assert_eq!(seen.clear, 0, "{seen:?}");
    for pod in ["stranger", "client"] {
        let text = cluster
            .exec(
                &space.name,
                pod,
                "main",
                &["probe", "resolve-rate", "database", "3"],
            )
            .expect("resolved");
        println!("{pod}: {}", text.trim());
        let rate: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(rate["failed"], 0, "{pod}: {rate}");
    }
}
