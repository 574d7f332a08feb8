//! Keys are where they belong and nowhere else.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use e2e::cluster::{Cluster, Namespace, SYSTEM, group, member_pod, pod_process};
use serde_json::Value;

use crate::NODES;

const LIMIT: Duration = Duration::from_secs(180);

/// Long strings that are secret: private keys in PEM without their frame, and what seals volumes.
fn secrets(list: &[Value]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for secret in list {
        for (entry, value) in secret["data"].as_object().into_iter().flatten() {
            let text = value.as_str().unwrap_or_default();
            let private = entry.ends_with(".key") || entry == "key.pem" || entry.starts_with("key");
            if private && text.len() > 40 {
                found.insert(text.to_owned());
                if let Ok(octets) = serde_json::from_value::<k8s_openapi::ByteString>(value.clone())
                {
                    let plain = String::from_utf8_lossy(&octets.0).into_owned();
                    found.extend(
                        plain
                            .lines()
                            .filter(|line| line.len() >= 40 && !line.starts_with("-----"))
                            .map(str::to_owned),
                    );
                }
            }
        }
    }
    found
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn no_key_is_in_status_events_logs_environment_arguments_or_undocumented_secrets() {
    let cluster = Cluster::running().expect("a cluster");
    let space = Namespace::new(&cluster, "e2e-secrets").expect("a namespace");
    space.apply(&group("wan", 1)).expect("applied");
    space.group_ready("wan", LIMIT).expect("key servers");
    space
        .apply(&member_pod(
            "left",
            "wan",
            NODES[0],
            &["sleep", "86400"],
            "",
        ))
        .expect("applied");
    space.pod_ready("left", LIMIT).expect("ready");

    let here = cluster
        .items(&["-n", &space.name, "secrets"])
        .expect("secrets");
    let names: BTreeSet<&str> = here
        .iter()
        .filter_map(|secret| secret["metadata"]["name"].as_str())
        .collect();
    let documented = ["wan-admin", "wan-ks-ike", "wan-ks-sealing", "wan-ks-tls"];
    assert_eq!(names, documented.into_iter().collect());
    let own = cluster.items(&["-n", SYSTEM, "secrets"]).expect("secrets");
    let mut keys = secrets(&here);
    keys.extend(secrets(&own));
    assert!(
        keys.len() > 6,
        "the scan has something to look for: {}",
        keys.len()
    );

    let mut texts: Vec<(String, String)> = Vec::new();
    let mut text = |what: &str, arguments: &[&str]| {
        texts.push((what.to_owned(), cluster.kubectl(arguments).expect("read")));
    };
    let ns = space.name.as_str();
    text(
        "resources",
        &[
            "-n",
            ns,
            "get",
            "getvpngroups,securityassociations,groupmembers",
            "-o",
            "yaml",
        ],
    );
    text(
        "objects",
        &[
            "-n",
            ns,
            "get",
            "pods,statefulsets,configmaps,services,networkpolicies",
            "-o",
            "yaml",
        ],
    );
    text("events", &["-n", ns, "get", "events", "-o", "yaml"]);
    text("key server's log", &["-n", ns, "logs", "wan-ks-0"]);
    text("sidecar's log", &["-n", ns, "logs", "left", "-c", "getvpn"]);
    text(
        "operator's log",
        &[
            "-n",
            SYSTEM,
            "logs",
            "-l",
            "app.kubernetes.io/component=operator",
            "--tail=-1",
        ],
    );
    text(
        "operator",
        &[
            "-n",
            SYSTEM,
            "get",
            "deployments,configmaps,leases",
            "-o",
            "yaml",
        ],
    );
    for (pod, program) in [("wan-ks-0", "keyserver"), ("left", "gm-sidecar")] {
        let object = space.json(&["pod", pod]).expect("a pod");
        let process = pod_process(&object, Some(program)).expect("its process");
        for file in ["environ", "cmdline"] {
            let octets = fs::read(format!("/proc/{process}/{file}")).expect("readable");
            texts.push((
                format!("{file} of {program}"),
                String::from_utf8_lossy(&octets).into_owned(),
            ));
        }
    }
    for (what, text) in &texts {
        assert!(!text.is_empty(), "{what}");
        for key in &keys {
            assert!(!text.contains(key.as_str()), "a key is in {what}");
        }
        for mark in ["PRIVATE KEY", "eyJhbGciOi"] {
            assert!(!text.contains(mark), "`{mark}` is in {what}");
        }
    }
    println!("{} secrets looked for in {} texts", keys.len(), texts.len());
}
