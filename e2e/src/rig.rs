//! A lab that a test owns: brought up as a user does it, judged from outside, gone at the end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use keyserver_api::request::{EvictRequest, RekeyRequest};
use keyserver_api::status::{GroupStatus, MemberRow, ServerRole};
use kubectl_getvpn::lab::admin::Admin;
use kubectl_getvpn::lab::capture::{Audit, AuditReport, LiveCapture};
use kubectl_getvpn::lab::name::LabName;
use kubectl_getvpn::lab::progress::Progress;
use kubectl_getvpn::lab::state::{Lab, Node};
use kubectl_getvpn::lab::up::{UpOptions, up};
use kubectl_getvpn::lab::{control, down, node_control, ping};
use serde_json::Value;

use crate::traffic::{self, CANARY, Plan, Traffic};
use crate::wire::Recording;

/// UDP port of test traffic.
const PORT: u16 = 20_000;

/// A lab that goes down when it is dropped.
pub struct Rig {
    /// The lab.
    pub lab: Lab,
    name: LabName,
    resources: Option<PathBuf>,
}

/// A capture in the core with its judge.
pub struct Watch(LiveCapture<Audit>);

impl Watch {
    /// Ends the capture; what it saw.
    ///
    /// # Errors
    /// When the capture itself failed.
    pub fn finish(self) -> Result<AuditReport> {
        let (audit, dropped) = self.0.finish()?;
        Ok(audit.report(dropped))
    }
}

/// Whether a test of namespaces can run here; in continuous integration it must.
///
/// # Panics
/// In continuous integration without root.
#[must_use]
pub fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    assert!(
        root || std::env::var_os("CI").is_none(),
        "continuous integration must run the lab tests as root"
    );
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

/// The file of an example.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(name)
}

impl Rig {
    /// Brings a lab up from a file, quietly.
    ///
    /// # Errors
    /// What `lab up` says.
    pub fn up(file: &Path, name: &str, members: Option<u16>) -> Result<Self> {
        Self::up_with(file, name, members, &mut Progress::silent())
    }

    /// Brings a lab up and shows progress.
    ///
    /// # Errors
    /// What `lab up` says.
    pub fn up_with(
        file: &Path,
        name: &str,
        members: Option<u16>,
        progress: &mut Progress,
    ) -> Result<Self> {
        let name: LabName = name.parse()?;
        down::down(&name)?;
        let options = UpOptions {
            file: file.to_owned(),
            name: Some(name.clone()),
            members,
            keep: false,
        };
        Ok(Self {
            lab: up(&options, progress)?,
            name,
            resources: None,
        })
    }

    /// Brings a lab up from an example with all its times multiplied by `scale`.
    ///
    /// # Errors
    /// What `lab up` says.
    pub fn up_scaled(file: &str, name: &str, members: Option<u16>, scale: &str) -> Result<Self> {
        let text = std::fs::read_to_string(example(file))?;
        let annotated = text.replacen(
            "kind: GetVpnGroup\nmetadata:\n",
            &format!("kind: GetVpnGroup\nmetadata:\n  annotations:\n    lab.getvpn.dev/time-scale: \"{scale}\"\n"),
            1,
        );
        Self::up_text(&annotated, name, members)
    }

    /// Brings a lab up from the text of a file.
    ///
    /// # Errors
    /// What `lab up` says.
    pub fn up_text(text: &str, name: &str, members: Option<u16>) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("getvpn-{name}-{}.yaml", std::process::id()));
        std::fs::write(&path, text)?;
        let mut rig = Self::up(&path, name, members)?;
        rig.resources = Some(path);
        Ok(rig)
    }

    /// The first group's name.
    #[must_use]
    pub fn group(&self) -> String {
        self.lab
            .groups
            .first()
            .map(|group| group.policy.name.clone())
            .unwrap_or_default()
    }

    /// Every member.
    #[must_use]
    pub fn members(&self) -> Vec<Node> {
        self.lab.members().cloned().collect()
    }

    /// Pings every ordered pair of members once; answers how many replied and how many pairs there are.
    ///
    /// # Errors
    /// When `ping` cannot be run.
    pub fn ping_all(&self) -> Result<(usize, usize)> {
        let pairs = ping::all_pairs(&self.lab);
        let silent = ping::unanswered(&pairs, false, 3)?;
        Ok((pairs.len() - silent.len(), pairs.len()))
    }

    /// Whether one member's ping over IPv6 is answered by another.
    ///
    /// # Errors
    /// When a member is unknown or `ping` cannot be run.
    pub fn ping_ipv6(&self, from: &str, to: &str) -> Result<bool> {
        let pair = (self.lab.node(from)?, self.lab.node(to)?);
        Ok(ping::unanswered(&[pair], true, 3)?.is_empty())
    }

    /// Starts to capture in the core and to judge.
    ///
    /// # Errors
    /// When the core cannot be entered.
    pub fn watch(&self) -> Result<Watch> {
        let audit = Audit::new(&self.lab, CANARY);
        let core = self.name.core_namespace();
        let live = LiveCapture::start(&core, audit, |audit, frame| {
            audit.frame(frame.bytes);
            Ok(())
        })?;
        Ok(Watch(live))
    }

    /// Starts to keep every packet that crosses the core.
    ///
    /// # Errors
    /// When the core cannot be entered.
    pub fn record(&self) -> Result<Recording> {
        Recording::start(&self.lab)
    }

    /// Runs a program in the namespace of a node, or in the `core`.
    ///
    /// # Errors
    /// When it cannot be started or does not succeed.
    pub fn run(&self, node: &str, program: &[&str]) -> Result<String> {
        let namespace = match node {
            "core" => self.name.core_namespace(),
            node => self.lab.node(node)?.namespace.clone(),
        };
        let output = std::process::Command::new("ip")
            .args(["netns", "exec", &namespace])
            .args(program)
            .output()?;
        if !output.status.success() {
            bail!(
                "{program:?} in {node}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The rows of the first group's table of members.
    ///
    /// # Errors
    /// What the key servers say.
    pub fn member_rows(&self) -> Result<Vec<MemberRow>> {
        let group = self.group();
        Ok(
            Admin::new(&self.name)?.group_call(&self.lab, &group, async |client| {
                client.members(&group).await
            })?,
        )
    }

    /// Starts numbered packets between two members.
    ///
    /// # Errors
    /// When a namespace cannot be entered.
    pub fn traffic(&self, from: &str, to: &str, rate: u32) -> Result<Traffic> {
        let (from, to) = (self.lab.node(from)?, self.lab.node(to)?);
        Traffic::start(&Plan {
            from: (from.namespace.clone(), from.addresses.ipv4.into()),
            to: (to.namespace.clone(), to.addresses.ipv4.into()),
            port: PORT,
            rate,
            size: 200,
        })
    }

    /// Starts numbered packets from a member to a multicast group that another member listens to.
    ///
    /// # Errors
    /// When a namespace cannot be entered.
    pub fn multicast(
        &self,
        from: &str,
        to: &str,
        group: std::net::IpAddr,
        rate: u32,
    ) -> Result<Traffic> {
        let (from, to) = (self.lab.node(from)?, self.lab.node(to)?);
        Traffic::start(&traffic::Plan {
            from: (from.namespace.clone(), from.addresses.ipv4.into()),
            to: (to.namespace.clone(), group),
            port: PORT,
            rate,
            // Two of them are longer than the links' MTU: a router of multicast must not meet them as one.
            size: 1_200,
        })
    }

    /// Rekeys the first group.
    ///
    /// # Errors
    /// What the key servers say.
    pub fn rekey(&self, request: &RekeyRequest) -> Result<u64> {
        let group = self.group();
        let accepted = Admin::new(&self.name)?.group_call(&self.lab, &group, async |client| {
            client.rekey(&group, request).await
        })?;
        Ok(accepted.generation)
    }

    /// Evicts a member from the first group.
    ///
    /// # Errors
    /// What the key servers say.
    pub fn evict(&self, member: &str) -> Result<()> {
        let group = self.group();
        let request = EvictRequest {
            member: self.lab.node(member)?.identity.clone(),
        };
        Admin::new(&self.name)?.group_call(&self.lab, &group, async |client| {
            client.evict(&group, &request).await
        })?;
        Ok(())
    }

    /// The first group as its primary sees it, and the primary's name.
    ///
    /// # Errors
    /// When nobody is primary.
    pub fn primary(&self) -> Result<(String, GroupStatus)> {
        let status =
            node_control::primary(&self.lab, &self.group())?.context("no key server is primary")?;
        if status.role != ServerRole::Primary {
            bail!("{} is not primary", status.name);
        }
        let group = status
            .groups
            .into_iter()
            .find(|group| group.name == self.group());
        Ok((
            status.name,
            group.context("the primary does not know the group")?,
        ))
    }

    /// Kills a node's process with SIGKILL.
    ///
    /// # Errors
    /// When it does not end.
    pub fn kill(&self, node: &str) -> Result<()> {
        Ok(node_control::kill(&self.lab, node, true)?)
    }

    /// Starts a killed node again and waits until it serves.
    ///
    /// # Errors
    /// When it does not.
    pub fn heal(&mut self, node: &str) -> Result<()> {
        Ok(node_control::heal(&mut self.lab, node)?)
    }

    /// State of a member.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn member(&self, name: &str) -> Result<Value> {
        Ok(control::status(self.lab.node(name)?)?)
    }

    /// The SPI a member sends with now.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn active_spi(&self, name: &str) -> Result<Option<String>> {
        let status = self.member(name)?;
        let keys = status["groups"][0]["trafficKeys"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        Ok(keys
            .iter()
            .find(|key| key["phase"] == "active")
            .and_then(|key| key["spi"].as_str().map(str::to_owned)))
    }

    /// Registrations that succeeded, over all running members.
    ///
    /// # Errors
    /// When a member does not answer.
    pub fn registrations(&self) -> Result<u64> {
        self.members().iter().try_fold(0, |sum, node| {
            let status = self.member(&node.name)?;
            let groups = status["groups"].as_array().cloned().unwrap_or_default();
            Ok(sum
                + groups
                    .iter()
                    .filter_map(|group| group["registrations"].as_u64())
                    .sum::<u64>())
        })
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
        crate::waiting::wait_for(what, limit, Duration::from_millis(20), look)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.lab.nodes {
                eprintln!("--- end of {}'s log\n{}", node.name, node.log_tail(15));
            }
        }
        if let Err(error) = down::down(&self.name) {
            eprintln!("the lab could not be taken down: {error}");
        }
        if let Some(path) = &self.resources {
            let _ = std::fs::remove_file(path);
        }
    }
}
