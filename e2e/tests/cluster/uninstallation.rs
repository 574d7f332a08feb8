//! Installing, upgrading and removing getvpn by Helm and by Kustomize. Last of all, because the others need it installed.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e::cluster::quickstart::Quickstart;
use e2e::cluster::{
    Cluster, ClusterWatch, Namespace, PodNetwork, SYSTEM, TOOLS, group, member_pod,
};
use e2e::traffic::{Plan, Traffic};
use kubectl_getvpn::lab::progress::Progress;

use crate::NODES;

const LIMIT: Duration = Duration::from_secs(180);

/// Kinds of objects outside of namespaces that an installation makes.
const CLUSTER_KINDS: &str = "customresourcedefinitions,mutatingwebhookconfigurations,validatingwebhookconfigurations,\
validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,clusterrolebindings";

fn charts(path: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../charts")
        .join(path)
        .display()
        .to_string()
}

fn helm(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let output = Command::new(e2e_cluster::kubectl::helm(&cluster.place)?)
        .arg("--kubeconfig")
        .arg(cluster.place.kubeconfig())
        .args(["--namespace", SYSTEM])
        .args(arguments)
        .stderr(Stdio::piped())
        .output()
        .context("helm")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("helm {}: {}", arguments.join(" "), said.trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn install(cluster: &Cluster) {
    let chart = charts("getvpn");
    let arguments = [
        "upgrade",
        "--install",
        "getvpn",
        &chart,
        "--create-namespace",
        "--wait",
        "--timeout",
        "180s",
    ];
    helm(cluster, &arguments).expect("installed");
}

/// Objects of getvpn outside of namespaces, and the namespace of the operator.
fn traces(cluster: &Cluster) -> Vec<String> {
    let mut found = Vec::new();
    for kinds in [CLUSTER_KINDS, "namespaces"] {
        let names = cluster.kubectl(&["get", kinds, "-o", "name"]);
        let names = names.expect("a list");
        found.extend(
            names
                .lines()
                // The test cluster's own rights begin with its name.
                .filter(|name| name.contains("getvpn") && !name.contains("/getvpn-cluster:"))
                .map(str::to_owned),
        );
    }
    found
}

fn remove_definitions(cluster: &Cluster) {
    cluster
        .kubectl(&[
            "delete",
            "crd",
            "getvpngroups.getvpn.dev",
            "securityassociations.getvpn.dev",
            "groupmembers.getvpn.dev",
            "--timeout=60s",
        ])
        .expect("the definitions go");
}

fn remove_namespace(cluster: &Cluster) {
    cluster
        .kubectl(&["delete", "namespace", SYSTEM, "--timeout=90s"])
        .expect("the operator's namespace goes");
}

/// A namespace with injection whose pods nobody protects any more is not blocked.
fn pods_start(space: &Namespace<'_>) {
    let pod = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: free}}, spec: {{terminationGracePeriodSeconds: 0, containers: [{{name: main, image: {TOOLS}, command: [sleep, \"600\"]}}]}}}}"
    );
    space.apply(&pod).expect("not refused");
    space.pod_ready("free", LIMIT).expect("started");
    space.kubectl(&["delete", "pod", "free"]).expect("deleted");
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn helm_upgrades_under_traffic_without_difference_and_removal_in_order_leaves_nothing() {
    let cluster = Cluster::running().expect("a cluster");
    helm(&cluster, &["test", "getvpn", "--timeout", "90s"]).expect("helm test passes");

    let space = Namespace::new(&cluster, "e2e-uninstallation").expect("a namespace");
    space.apply(&group("wan", 1)).expect("applied");
    for (pod, node) in [("left", NODES[0]), ("right", NODES[1])] {
        space
            .apply(&member_pod(pod, "wan", node, &["sleep", "86400"], ""))
            .expect("applied");
    }
    let addresses = ["left", "right"].map(|pod| space.pod_ready(pod, LIMIT).expect("ready"));
    let networks =
        ["left", "right"].map(|pod| PodNetwork::of(&cluster, &space.name, pod).expect("network"));
    let watch = ClusterWatch::start(&cluster, &NODES).expect("captures");
    watch.protect(addresses);
    let traffic = Traffic::start(&Plan {
        from: (networks[0].name.clone(), addresses[0]),
        to: (networks[1].name.clone(), addresses[1]),
        port: 7000,
        rate: 500,
        size: 200,
    })
    .expect("traffic");
    let chart = charts("getvpn");
    for level in ["debug", "info"] {
        let level = format!("operator.logLevel={level}");
        let arguments = [
            "upgrade",
            "getvpn",
            &chart,
            "--set",
            &level,
            "--wait",
            "--timeout",
            "180s",
        ];
        helm(&cluster, &arguments).expect("upgraded");
    }
    let report = traffic.stop().expect("a report");
    let seen = watch.finish().expect("a whole capture");
    println!("two upgrades of the release: {report:?}, {seen:?}");
    assert_eq!((report.lost(), seen.clear), (0, 0), "{report:?} {seen:?}");

    // What is there is what the chart says, so a tool that compares sees nothing to do.
    let manifest = helm(&cluster, &["get", "manifest", "getvpn"]).expect("the manifest");
    let difference = cluster
        .kubectl_with(&["diff", "-f", "-"], &manifest)
        .expect("no difference");
    assert_eq!(difference, "");

    // The documented order: what users made, the release, the definitions, the namespace.
    space
        .kubectl(&["delete", "pods", "--all", "--wait"])
        .expect("pods go");
    space
        .kubectl(&[
            "delete",
            "groupmembers,securityassociations,getvpngroups",
            "--all",
            "--timeout=60s",
        ])
        .expect("no finalizer hangs");
    helm(&cluster, &["uninstall", "getvpn", "--wait"]).expect("uninstalled");
    remove_definitions(&cluster);
    remove_namespace(&cluster);
    assert_eq!(traces(&cluster), Vec::<String>::new());
    pods_start(&space);

    kustomize(&cluster, &space);
    install(&cluster);
}

/// The same without Helm, for a cluster that has never seen getvpn.
fn kustomize(cluster: &Cluster, space: &Namespace<'_>) {
    let base = charts("kustomize/base");
    let apply = ["apply", "--server-side", "-k", &base];
    cluster.kubectl(&apply).expect("applied");
    cluster
        .rolled_out(SYSTEM, "deployment/getvpn-operator", LIMIT)
        .expect("the operator runs");
    let quickstart = Quickstart::prepare(cluster).expect("prepared");
    let report = quickstart
        .run(&mut Progress::silent())
        .expect("the quickstart runs");
    println!("with Kustomize: {report:?}");
    assert!(report.seen.esp > 20 && report.seen.clear == 0, "{report:?}");
    let difference = cluster
        .kubectl(&["diff", "--server-side", "-k", &base])
        .expect("no difference");
    assert_eq!(difference, "");
    quickstart.delete().expect("deleted");
    cluster
        .kubectl(&["delete", "-k", &base, "--timeout=120s"])
        .expect("removed");
    assert_eq!(traces(cluster), Vec::<String>::new());
    pods_start(space);
}
