//! The rig of the cluster tests: a real Kubernetes that `cargo xtask cluster up` started, with the chart installed.

mod fixtures;
mod pods;
pub mod quickstart;
mod watch;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e_cluster::command::run_with_input;
use e2e_cluster::kubectl;
use e2e_cluster::place::Place;
use serde_json::Value;

pub use fixtures::{Namespace, group, member_pod};
pub use pods::{PodNetwork, ip, pod_process};
pub use watch::{ClusterWatch, Seen};

/// Namespace of the operator.
pub const SYSTEM: &str = "getvpn-system";
/// Image of pods that tests make.
pub const TOOLS: &str = concat!("getvpn/e2e-tools:", env!("CARGO_PKG_VERSION"));

/// The cluster.
pub struct Cluster {
    /// Where it lives.
    pub place: Place,
}

impl Cluster {
    /// The cluster that runs.
    ///
    /// # Errors
    /// When none runs, or the operator is not installed.
    pub fn running() -> Result<Self> {
        let cluster = Self {
            place: Place::from_environment()?,
        };
        cluster
            .kubectl(&["-n", SYSTEM, "get", "deployment", "getvpn-operator"])
            .context(
                "the cluster tests need `cargo xtask cluster up` and `cargo xtask cluster install`",
            )?;
        Ok(cluster)
    }

    /// Runs kubectl; what it wrote.
    ///
    /// # Errors
    /// What it complained about.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let output = kubectl::kubectl(&self.place)?.args(arguments).output()?;
        if !output.status.success() {
            bail!(
                "kubectl {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs kubectl with `input`; what it wrote.
    ///
    /// # Errors
    /// What it complained about.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = kubectl::kubectl(&self.place)?;
        run_with_input(command.args(arguments), input)
    }

    /// Applies YAML to a namespace.
    ///
    /// # Errors
    /// What the API server refuses.
    pub fn apply(&self, namespace: &str, yaml: &str) -> Result<()> {
        self.kubectl_with(&["-n", namespace, "apply", "-f", "-"], yaml)
            .map(drop)
    }

    /// Objects as JSON.
    ///
    /// # Errors
    /// What kubectl complained about.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = vec!["get", "-o", "json"];
        all.extend(arguments);
        Ok(serde_json::from_str(&self.kubectl(&all)?)?)
    }

    /// Items of a list as JSON.
    ///
    /// # Errors
    /// What kubectl complained about.
    pub fn items(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let list = self.json(arguments)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Runs a program in the container of a pod; what it wrote.
    ///
    /// # Errors
    /// What it complained about.
    pub fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        program: &[&str],
    ) -> Result<String> {
        let mut arguments = vec!["-n", namespace, "exec", pod, "-c", container, "--"];
        arguments.extend(program);
        self.kubectl(&arguments)
    }

    /// A program in the network of a machine of the cluster.
    #[must_use]
    pub fn on_machine(&self, machine: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command
            .args([
                "netns",
                "exec",
                &e2e_cluster::names::of(&self.place, machine),
            ])
            .arg(program);
        command
    }

    /// Waits until a rollout is done.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn rolled_out(&self, namespace: &str, what: &str, limit: Duration) -> Result<()> {
        let timeout = format!("--timeout={}s", limit.as_secs());
        self.kubectl(&["-n", namespace, "rollout", "status", what, &timeout])
            .map(drop)
    }

    /// Asks again and again until the answer is something.
    ///
    /// # Errors
    /// At the deadline, with the last reason.
    pub fn wait_for<T>(
        what: &str,
        limit: Duration,
        look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        crate::waiting::wait_for(what, limit, Duration::from_millis(200), look)
    }
}
