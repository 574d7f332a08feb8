//! Namespaces, groups and pods that tests make.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Cluster, TOOLS, ip};

/// A namespace that goes with the test.
pub struct Namespace<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Its name.
    pub name: String,
}

impl<'a> Namespace<'a> {
    /// Makes a namespace with injection.
    ///
    /// # Errors
    /// What the API server refuses.
    pub fn new(cluster: &'a Cluster, name: &str) -> Result<Self> {
        // What an earlier run left.
        let _ = cluster.kubectl(&[
            "delete",
            "namespace",
            name,
            "--ignore-not-found",
            "--timeout=90s",
        ]);
        cluster.kubectl_with(
            &["create", "-f", "-"],
            &format!(
                "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    getvpn.dev/injection: enabled\n    pod-security.kubernetes.io/enforce: privileged\n"
            ),
        )?;
        Ok(Self {
            cluster,
            name: name.to_owned(),
        })
    }

    /// Applies YAML.
    ///
    /// # Errors
    /// What the API server refuses.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        self.cluster.apply(&self.name, yaml)
    }

    /// Runs kubectl in the namespace.
    ///
    /// # Errors
    /// What it complained about.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments);
        self.cluster.kubectl(&all)
    }

    /// Objects of the namespace.
    ///
    /// # Errors
    /// What kubectl complained about.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments);
        self.cluster.json(&all)
    }

    /// Waits until the group is `Ready`; its status.
    ///
    /// # Errors
    /// With the conditions, when it is not in time.
    pub fn group_ready(&self, group: &str, limit: Duration) -> Result<Value> {
        Cluster::wait_for(&format!("group {group} to be Ready"), limit, || {
            let object = self.json(&["getvpngroup", group])?;
            let conditions = object["status"]["conditions"].as_array();
            let ready = conditions
                .into_iter()
                .flatten()
                .find(|one| one["type"] == "Ready");
            match ready {
                Some(ready) if ready["status"] == "True" => Ok(Some(object["status"].clone())),
                Some(ready) => anyhow::bail!("{}: {}", ready["reason"], ready["message"]),
                None => Ok(None),
            }
        })
    }

    /// Waits until a pod is ready; its address.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn pod_ready(&self, pod: &str, limit: Duration) -> Result<IpAddr> {
        let timeout = format!("--timeout={}s", limit.as_secs());
        self.kubectl(&[
            "wait",
            "--for=condition=Ready",
            &timeout,
            &format!("pod/{pod}"),
        ])?;
        ip(&self.json(&["pod", pod])?)
    }

    /// Registrations of a member since it started, as it says itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn registrations(&self, pod: &str) -> Result<u64> {
        let state = self.member_state(pod)?;
        let groups = state["groups"].as_array().context("no groups")?;
        Ok(groups
            .iter()
            .filter_map(|group| group["registrations"].as_u64())
            .sum())
    }

    /// State of a member.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn member_state(&self, pod: &str) -> Result<Value> {
        let text = self.cluster.exec(
            &self.name,
            pod,
            "getvpn",
            &[
                "/gm-sidecar",
                "status",
                "--socket",
                "/run/getvpn/state/control.sock",
                "--output",
                "json",
            ],
        )?;
        Ok(serde_json::from_str(&text)?)
    }
}

impl Namespace<'_> {
    /// Writes what a reader of a failed test asks first.
    fn explain(&self) {
        self.show(&["get", "pods,getvpngroups,groupmembers", "-o", "wide"]);
        self.show(&["get", "events", "--sort-by=.lastTimestamp"]);
        let pods = self.kubectl(&["get", "pods", "-o", "name"]);
        for pod in pods.iter().flat_map(|text| text.lines()) {
            self.show(&["logs", "--all-containers", "--prefix", "--tail=15", pod]);
        }
        let logs = ["-n", super::SYSTEM, "logs", "deploy/getvpn-operator"];
        if let Ok(text) = self.cluster.kubectl(&logs) {
            eprintln!("--- the operator\n{}", end_of(&text));
        }
    }

    fn show(&self, arguments: &[&str]) {
        if let Ok(text) = self.kubectl(arguments) {
            eprintln!("--- {}\n{}", arguments.join(" "), end_of(&text));
        }
    }
}

fn end_of(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(25);
    lines.get(from..).unwrap_or_default().join("\n")
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.explain();
        }
        let _ = self
            .cluster
            .kubectl(&["delete", "namespace", &self.name, "--timeout=120s"]);
    }
}

/// A group with so many key servers, its one SecurityAssociation over the pod networks, and a GroupMember for pods with
/// the label `app.kubernetes.io/part-of: NAME`.
#[must_use]
pub fn group(name: &str, replicas: u8) -> String {
    format!(
        "apiVersion: getvpn.dev/v1alpha1
kind: GetVpnGroup
metadata: {{ name: {name} }}
spec:
  groupID: 100
  keyServers: {{ replicas: {replicas} }}
  authentication: {{ mode: Certificate }}
  identity: Hostname
---
apiVersion: getvpn.dev/v1alpha1
kind: SecurityAssociation
metadata: {{ name: pods }}
spec:
  groupRef: {{ name: {name} }}
  order: 100
  rules:
  - {{ name: pods, action: Permit, source: 10.244.0.0/16, destination: 10.244.0.0/16 }}
---
apiVersion: getvpn.dev/v1alpha1
kind: GroupMember
metadata: {{ name: {name} }}
spec:
  groupRef: {{ name: {name} }}
  podSelector: {{ matchLabels: {{ app.kubernetes.io/part-of: {name} }} }}
"
    )
}

/// A pod of the group on a node, with one container that runs `command`. `more` is written below the container.
#[must_use]
pub fn member_pod(name: &str, group: &str, node: &str, command: &[&str], more: &str) -> String {
    let mut text = format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{ app.kubernetes.io/part-of: {group}, app: {name} }}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 2
  automountServiceAccountToken: false
  containers:
  - name: main
    image: {TOOLS}
    command: {command:?}
    securityContext:
      allowPrivilegeEscalation: false
      capabilities: {{ drop: [ALL] }}
      runAsNonRoot: true
      runAsUser: 65532
"
    );
    for line in more.lines() {
        let _ = writeln!(text, "    {line}");
    }
    text
}
