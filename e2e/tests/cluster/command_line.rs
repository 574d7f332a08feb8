//! `kubectl getvpn` on the cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use e2e::cluster::{Cluster, Namespace, group, member_pod};
use serde_json::Value;

use crate::NODES;

const LIMIT: Duration = Duration::from_secs(180);
const EVICTED: &str = "FQDN:right.e2e-command-line.member.getvpn";

/// The plugin, used as a person with the administrator's kubeconfig would.
struct Plugin<'a> {
    space: &'a Namespace<'a>,
}

impl Plugin<'_> {
    /// Exit code, standard output and standard error.
    fn run(&self, arguments: &[&str], input: Option<&str>) -> (i32, String, String) {
        let directory = std::env::var_os("GETVPN_BIN_DIR").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/debug"),
            PathBuf::from,
        );
        let mut command = Command::new(directory.join("kubectl-getvpn"));
        command
            .env("KUBECONFIG", self.space.cluster.place.kubeconfig())
            .args(["--namespace", &self.space.name])
            .args(arguments);
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), input.unwrap_or_default()).expect("written");
        command.stdin(file.reopen().expect("reopened"));
        let output = command.output().expect("the plugin runs");
        let text = |octets: Vec<u8>| String::from_utf8(octets).expect("text");
        (
            output.status.code().expect("no signal"),
            text(output.stdout),
            text(output.stderr),
        )
    }

    /// The answer of a command that succeeds, as JSON.
    fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        let (code, said, complained) = self.run(&all, None);
        assert_eq!(code, 0, "{arguments:?}: {complained}");
        serde_json::from_str(&said).expect("JSON")
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let (code, said, complained) = self.run(arguments, None);
        assert_eq!(code, 0, "{arguments:?}: {said}{complained}");
        said
    }
}

/// Octets of every Secret of the namespace, as they stand in the Secret and in base64.
fn secrets(space: &Namespace<'_>) -> Vec<String> {
    let list = space.json(&["secrets"]).expect("secrets");
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let public = ["ca.crt", "tls.crt", "chain.pem", "trust.pem"];
    items
        .iter()
        .filter_map(|secret| secret["data"].as_object().cloned())
        .flatten()
        .filter(|(name, _)| !public.contains(&name.as_str()))
        .filter_map(|(_, value)| value.as_str().map(str::to_owned))
        .collect()
}

#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn the_plugin_shows_and_changes_a_group_and_its_dump_holds_no_secret() {
    let cluster = Cluster::running().expect("a cluster");
    let space = Namespace::new(&cluster, "e2e-command-line").expect("a namespace");
    space.apply(&group("wan", 3)).expect("applied");
    for (pod, node) in [("left", NODES[0]), ("right", NODES[1])] {
        space
            .apply(&member_pod(pod, "wan", node, &["sleep", "86400"], ""))
            .expect("applied");
    }
    for pod in ["left", "right"] {
        space.pod_ready(pod, LIMIT).expect("ready");
    }
    space.group_ready("wan", LIMIT).expect("key servers");
    let plugin = Plugin { space: &space };

    let servers = plugin.json(&["keyservers", "wan"]);
    let mut roles: BTreeMap<String, usize> = BTreeMap::new();
    for server in servers.as_array().expect("rows") {
        *roles
            .entry(server["role"].as_str().expect("a role").to_owned())
            .or_default() += 1;
    }
    assert_eq!(
        roles,
        BTreeMap::from([("Primary".to_owned(), 1), ("Secondary".to_owned(), 2)]),
        "{servers}"
    );
    let members = plugin.json(&["members", "wan"]);
    assert_eq!(members.as_array().map(Vec::len), Some(2), "{members}");
    let before = plugin.json(&["sa", "wan"]);
    assert!(
        plugin
            .succeeds(&["status", "wan"])
            .contains("Needs attention")
    );

    // A rehearsal changes nothing; a rekey makes the staged key current.
    assert!(
        plugin
            .succeeds(&["rekey", "wan", "--dry-run"])
            .contains("Nothing was changed")
    );
    let staged = before
        .as_array()
        .expect("rows")
        .iter()
        .find(|key| key["state"] == "Staged")
        .expect("a staged key");
    plugin.succeeds(&["rekey", "wan"]);
    // Senders change after the activation delay.
    Cluster::wait_for(
        "the staged key to be current",
        Duration::from_secs(30),
        || {
            let keys = plugin.json(&["sa", "wan"]);
            let rows = keys.as_array().into_iter().flatten();
            let mut states = rows.filter(|key| key["spi"] == staged["spi"]);
            Ok(states.any(|key| key["state"] == "Current").then_some(()))
        },
    )
    .expect("a rekey");

    let test = plugin.json(&["connectivity-test", "wan"]);
    assert_eq!(test["passed"], true, "{test}");
    Cluster::wait_for("nothing to find", Duration::from_secs(60), || {
        let (code, said, _) = plugin.run(&["diagnose"], None);
        if code == 0 {
            return Ok(Some(()));
        }
        anyhow::bail!("{said}")
    })
    .expect("a group in order");

    let passphrase = "a passphrase that is long\n";
    let (code, pem, _) = plugin.run(&["rsa", "export", "wan"], Some(passphrase));
    assert_eq!(code, 0);
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    let (code, _, complained) = plugin.run(&["rsa", "export", "wan"], Some("short\n"));
    assert_eq!(code, 2, "{complained}");

    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("dump.tar.gz").display().to_string();
    plugin.succeeds(&["sysdump", "--file", &file]);
    let dump = Command::new("tar")
        .args(["--extract", "--gzip", "--to-stdout", "--file", &file])
        .output()
        .expect("tar");
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    assert!(dump.contains("wan-ks-0") && dump.contains("GetVpnGroup"));
    let secrets = secrets(&space);
    assert!(secrets.len() >= 4, "{}", secrets.len());
    for secret in &secrets {
        assert!(!dump.contains(secret.as_str()), "a Secret is in the dump");
    }
    assert!(!dump.contains("PRIVATE KEY"));

    plugin.succeeds(&["evict", "wan", EVICTED]);
    // The others change keys after the activation delay.
    Cluster::wait_for(
        "the evicted member to be cut off",
        Duration::from_secs(20),
        || {
            let (code, _, _) = plugin.run(&["connectivity-test", "wan"], None);
            Ok((code == 3).then_some(()))
        },
    )
    .expect("an eviction");
    plugin.succeeds(&["admit", "wan", EVICTED]);
    let (code, _, complained) = plugin.run(&["admit", "wan", EVICTED], None);
    assert_eq!(code, 1, "{complained}");
    let (code, _, complained) = plugin.run(&["status", "nothing"], None);
    assert_eq!(code, 2, "{complained}");
    assert!(complained.contains("`nothing`"), "{complained}");
}

/// Every replica of the operator enrols; none may do it with what the group had before.
#[test]
#[ignore = "needs a cluster: cargo xtask test --only cluster"]
fn a_group_that_is_made_again_is_joined_whichever_operator_answers() {
    let cluster = Cluster::running().expect("a cluster");
    for round in 1..=2 {
        let space = Namespace::new(&cluster, "e2e-again").expect("a namespace");
        space.apply(&group("wan", 1)).expect("applied");
        let pods: Vec<String> = (0..6).map(|number| format!("member-{number}")).collect();
        for (pod, node) in pods.iter().zip(NODES.iter().cycle()) {
            space
                .apply(&member_pod(pod, "wan", node, &["sleep", "86400"], ""))
                .expect("applied");
        }
        for pod in &pods {
            space
                .pod_ready(pod, Duration::from_secs(60))
                .unwrap_or_else(|error| panic!("round {round}: {pod}: {error:#}"));
        }
    }
}
