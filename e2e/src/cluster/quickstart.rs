//! The quickstart as users apply it, watched: `cargo xtask cluster quickstart` and a test run it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kubectl_getvpn::lab::progress::Progress;

use super::{Cluster, ClusterWatch, Seen, TOOLS, ip};

/// Namespace of the example.
pub const NAMESPACE: &str = "getvpn-quickstart";
/// Machines of the cluster whose bridges are watched.
const NODES: [&str; 2] = ["node-1", "node-2"];
/// Pods of the example that are members.
const MEMBERS: usize = 3;
/// Answers of the servers that are waited for after everything is known.
const ANSWERS: usize = 10;

/// A quickstart that runs.
pub struct Quickstart<'a> {
    cluster: &'a Cluster,
    overlay: PathBuf,
    _directory: tempfile::TempDir,
}

/// What was seen.
#[derive(Debug)]
pub struct Report {
    /// From `kubectl apply` to the first encrypted packet on a bridge.
    pub to_first_encrypted: Duration,
    /// Packets between the members since all their addresses were known.
    pub seen: Seen,
}

impl<'a> Quickstart<'a> {
    /// The example with the one change that this cluster needs: it cannot pull images.
    ///
    /// # Errors
    /// When the example cannot be read or copied.
    pub fn prepare(cluster: &'a Cluster) -> Result<Self> {
        let example =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kubernetes/quickstart");
        let directory = tempfile::tempdir()?;
        let base = directory.path().join("base");
        std::fs::create_dir(&base)?;
        let files = std::fs::read_dir(&example)
            .with_context(|| format!("cannot read {}", example.display()))?;
        for file in files {
            let file = file?;
            std::fs::copy(file.path(), base.join(file.file_name()))?;
        }
        let (image, tag) = TOOLS.split_once(':').context("the image has no tag")?;
        let text = format!(
            "resources: [base]\nsortOptions: {{ order: fifo }}\nimages:\n- {{ name: busybox, newName: {image}, newTag: {tag} }}\n"
        );
        std::fs::write(directory.path().join("kustomization.yaml"), text)?;
        Ok(Self {
            cluster,
            overlay: directory.path().to_owned(),
            _directory: directory,
        })
    }

    /// Applies it and watches its traffic until the servers answered.
    ///
    /// # Errors
    /// When anything does not come up in time, or the group's status does not say what runs.
    pub fn run(&self, progress: &mut Progress) -> Result<Report> {
        let cluster = self.cluster;
        let watch = ClusterWatch::start(cluster, &NODES)?;
        let applied = Instant::now();
        progress.begin("apply the group and two applications");
        let overlay = self.overlay.display().to_string();
        cluster.kubectl(&["apply", "-k", &overlay])?;
        progress.done("");

        progress.begin("key servers, members and applications are ready");
        for deployment in ["deployment/server", "deployment/client"] {
            cluster.rolled_out(NAMESPACE, deployment, Duration::from_secs(150))?;
        }
        let label = "app.kubernetes.io/part-of=quickstart";
        let pods = cluster.items(&["-n", NAMESPACE, "pods", "-l", label])?;
        if pods.len() != MEMBERS {
            bail!("{} pods of the quickstart instead of {MEMBERS}", pods.len());
        }
        let addresses: Vec<_> = pods.iter().map(ip).collect::<Result<_>>()?;
        watch.protect(addresses);
        self.summaries()?;
        progress.done(&format!("{:.1} s", applied.elapsed().as_secs_f64()));

        progress.begin(&format!("{ANSWERS} answers through the Service"));
        Cluster::wait_for("answers", Duration::from_secs(60), || {
            let log =
                cluster.kubectl(&["-n", NAMESPACE, "logs", "deploy/client", "-c", "client"])?;
            let answers = log
                .lines()
                .filter(|line| line.starts_with("server-"))
                .count();
            Ok((answers >= ANSWERS).then_some(()))
        })?;
        progress.done("");
        let first = watch
            .first_esp()
            .context("no ESP packet was seen on a bridge")?;
        Ok(Report {
            to_first_encrypted: first.duration_since(applied),
            seen: watch.finish()?,
        })
    }

    /// Waits until the group's status counts every key server and member.
    fn summaries(&self) -> Result<()> {
        Cluster::wait_for(
            "3/3 key servers and members",
            Duration::from_secs(30),
            || {
                let group = self
                    .cluster
                    .json(&["-n", NAMESPACE, "getvpngroup", "quickstart"])?;
                let status = &group["status"];
                let whole = status["keyServers"]["summary"] == "3/3"
                    && status["members"]["summary"] == "3/3";
                Ok(whole.then_some(()))
            },
        )
    }

    /// Deletes what was applied, and waits until it is gone.
    ///
    /// # Errors
    /// When something stays.
    pub fn delete(&self) -> Result<()> {
        let overlay = self.overlay.display().to_string();
        self.cluster
            .kubectl(&["delete", "-k", &overlay, "--timeout=120s"])
            .map(drop)
    }
}
