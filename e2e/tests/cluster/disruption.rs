//! Whatever is killed, members that run go on.

use std::process::Command;
use std::time::Duration;

use e2e::cluster::{
    Cluster, ClusterWatch, Namespace, PodNetwork, SYSTEM, group, member_pod, pod_process,
};
use e2e::traffic::{Plan, Report, Traffic};

use crate::NODES;

const LIMIT: Duration = Duration::from_secs(240);

/// How long the API server stays away: ten minutes at full size.
fn api_server_away() -> Duration {
    let full = std::env::var_os("GETVPN_FULL").is_some();
    Duration::from_secs(if full { 600 } else { 45 })
}

struct Pair<'a> {
    cluster: &'a Cluster,
    space: Namespace<'a>,
    networks: [PodNetwork; 2],
    addresses: [std::net::IpAddr; 2],
}

impl<'a> Pair<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        let space = Namespace::new(cluster, "e2e-disruption").expect("a namespace");
        space.apply(&group("wan", 3)).expect("applied");
        space.group_ready("wan", LIMIT).expect("key servers");
        for (pod, node) in [("left", NODES[0]), ("right", NODES[1])] {
            space
                .apply(&member_pod(pod, "wan", node, &["sleep", "86400"], ""))
                .expect("applied");
        }
        let addresses = ["left", "right"].map(|pod| space.pod_ready(pod, LIMIT).expect("ready"));
        let networks = ["left", "right"]
            .map(|pod| PodNetwork::of(cluster, &space.name, pod).expect("its network"));
        Self {
            cluster,
            space,
            networks,
            addresses,
        }
    }

    fn traffic(&self) -> Traffic {
        Traffic::start(&Plan {
            from: (self.networks[0].name.clone(), self.addresses[0]),
            to: (self.networks[1].name.clone(), self.addresses[1]),
            port: 7000,
            rate: 500,
            size: 200,
        })
        .expect("traffic")
    }

    /// Runs traffic while `act` breaks something; what became of it.
    fn while_broken(&self, what: &str, act: impl FnOnce()) -> Report {
        let traffic = self.traffic();
        act();
        let report = traffic.stop().expect("a report");
        println!("{what}: {report:?}");
        report
    }

    fn ready(&self) {
        self.space
            .group_ready("wan", LIMIT)
            .expect("the group is whole again");
        self.cluster
            .rolled_out(SYSTEM, "deployment/getvpn-operator", LIMIT)
            .expect("the operator is whole again");
    }

    fn primary(&self) -> String {
        let object = self.space.json(&["getvpngroup", "wan"]).expect("the group");
        object["status"]["keyServers"]["primary"]
            .as_str()
            .expect("a primary")
            .to_owned()
    }
}

/// A program of the cluster.
fn process(cluster: &Cluster, name: &str, machine: &str) -> i32 {
    let records = e2e_cluster::record::Records::read(&cluster.place.state).expect("records");
    let process = records.find(name, Some(machine));
    process
        .unwrap_or_else(|| panic!("no {name} on {machine}: {:?}", records.all()))
        .pid
}

/// What a service manager would do.
fn start_what_is_missing() {
    let status = Command::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--package",
            "xtask",
            "--",
            "cluster",
            "up",
        ])
        .status()
        .expect("cargo");
    assert!(status.success());
}

fn signal(process: i32, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &process.to_string()])
        .status()
        .expect("kill");
    assert!(sent.success());
}

/// Lets a stopped program go on, and the `nsenter` that brought it into its machine and stopped with it.
fn go_on(process: i32) {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it is there");
    let (_, fields) = stat.rsplit_once(") ").expect("a state");
    let parent = fields.split(' ').nth(1).expect("a parent");
    signal(parent.parse().expect("a number"), "-CONT");
    signal(process, "-CONT");
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn members_go_on_whatever_is_killed_and_everything_comes_back() {
    let cluster = Cluster::running().expect("a cluster");
    let pair = Pair::new(&cluster);
    let watch = ClusterWatch::start(&cluster, &NODES).expect("captures");
    watch.protect(pair.addresses);

    let operators = [
        "delete",
        "pods",
        "-l",
        "app.kubernetes.io/component=operator",
        "--grace-period=0",
        "--force",
    ];
    let report = pair.while_broken("all operators (webhook and enrolment) killed", || {
        let mut all = vec!["-n", SYSTEM];
        all.extend(operators);
        cluster.kubectl(&all).expect("killed");
        pair.ready();
    });
    assert_eq!(report.lost(), 0, "{report:?}");

    let primary = pair.primary();
    let report = pair.while_broken("the primary killed", || {
        let object = pair.space.json(&["pod", &primary]).expect("its pod");
        signal(
            pod_process(&object, Some("keyserver")).expect("its process"),
            "-9",
        );
        Cluster::wait_for("another primary or the same again", LIMIT, || {
            let object = pair.space.json(&["getvpngroup", "wan"])?;
            let conditions = object["status"]["conditions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let whole = conditions
                .iter()
                .any(|one| one["type"] == "Ready" && one["status"] == "True");
            Ok(whole.then_some(()))
        })
        .expect("converged");
        std::thread::sleep(Duration::from_secs(10));
        pair.ready();
    });
    assert_eq!(report.lost(), 0, "{report:?}");

    let report = pair.while_broken("a kubelet killed and started again", || {
        signal(process(&cluster, "kubelet", NODES[0]), "-9");
        start_what_is_missing();
        pair.ready();
    });
    assert_eq!(report.lost(), 0, "{report:?}");

    let server = process(&cluster, "kube-apiserver", "control");
    let report = pair.while_broken("the API server away", || {
        signal(server, "-STOP");
        std::thread::sleep(api_server_away());
        go_on(server);
        Cluster::wait_for("the API server", LIMIT, || {
            cluster.kubectl(&["get", "--raw", "/readyz"]).map(Some)
        })
        .expect("it is back");
        pair.ready();
    });
    assert_eq!(report.lost(), 0, "{report:?}");

    // A sidecar that dies loses what arrives meanwhile, and lets nothing through in clear.
    let report = pair.while_broken("a sidecar killed", || {
        let object = pair.space.json(&["pod", "right"]).expect("its pod");
        signal(
            pod_process(&object, Some("gm-sidecar")).expect("its process"),
            "-9",
        );
        Cluster::wait_for("the sidecar to be back", LIMIT, || {
            let state = pair.space.member_state("right")?;
            Ok((state["ready"] == true).then_some(()))
        })
        .expect("it is back");
    });
    println!(
        "longest gap with the sidecar killed: {:?}",
        report.longest_gap
    );
    let report = pair.while_broken("afterwards", || std::thread::sleep(Duration::from_secs(3)));
    assert_eq!(report.lost(), 0, "{report:?}");

    let seen = watch.finish().expect("a whole capture");
    println!("{} ESP packets, {} in clear", seen.esp, seen.clear);
    assert_eq!((seen.clear, seen.canary), (0, 0), "{seen:?}");
    assert_eq!(pair.space.registrations("left").expect("its state"), 1);
}
