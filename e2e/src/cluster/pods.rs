//! Networks and processes of pods, seen from this machine.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::Value;

use super::Cluster;

/// The address of a pod.
///
/// # Errors
/// When it has none.
pub fn ip(pod: &Value) -> Result<IpAddr> {
    let text = pod["status"]["podIP"]
        .as_str()
        .with_context(|| format!("{} has no address", pod["metadata"]["name"]))?;
    Ok(text.parse()?)
}

/// A process of a pod: its control group carries the pod's identity. `program` narrows the choice to a program.
///
/// # Errors
/// When there is none.
pub fn pod_process(pod: &Value, program: Option<&str>) -> Result<i32> {
    let uid = pod["metadata"]["uid"].as_str().context("no uid")?;
    let mark = format!("pod{uid}");
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let belongs = fs::read_to_string(entry.path().join("cgroup"))
            .is_ok_and(|groups| groups.contains(&mark));
        let fits = program.is_none_or(|program| {
            fs::read_to_string(entry.path().join("comm")).is_ok_and(|name| name.trim() == program)
        });
        if belongs && fits {
            return Ok(id);
        }
    }
    anyhow::bail!(
        "no process of pod {} was found{}",
        pod["metadata"]["name"],
        program
            .map(|program| format!(" that runs {program}"))
            .unwrap_or_default()
    )
}

/// A pod's network under a name, for threads that enter it. It keeps the network alive.
pub struct PodNetwork {
    /// The name, as `ip netns` knows it.
    pub name: String,
    path: PathBuf,
}

impl PodNetwork {
    /// Names the network of a pod.
    ///
    /// # Errors
    /// When the pod has no process, or the kernel refuses.
    pub fn of(cluster: &Cluster, namespace: &str, pod: &str) -> Result<Self> {
        let object = cluster.json(&["-n", namespace, "pod", pod])?;
        let process = pod_process(&object, None)?;
        let name = format!("e2e-{namespace}-{pod}");
        let path = Path::new("/run/netns").join(&name);
        fs::create_dir_all("/run/netns")?;
        File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        mount(
            Some(format!("/proc/{process}/ns/net").as_str()),
            &path,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .with_context(|| format!("cannot name the network of {pod}"))?;
        Ok(Self { name, path })
    }
}

impl Drop for PodNetwork {
    fn drop(&mut self) {
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&self.path);
    }
}
