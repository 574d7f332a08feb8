//! Puts an image into every node's containerd.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::machine::Machine;
use crate::node::CONTAINERD_SOCKET;
use crate::place::Place;
use crate::record::Records;
use crate::shape::Shape;

/// Loads an archive (OCI layout or `docker save`) into every node.
///
/// # Errors
/// When no cluster runs, the file cannot be read, or containerd refuses it.
pub fn load(place: &Place, archive: &Path) -> Result<()> {
    let shape = Shape::read(place)?.context("no cluster runs: `cargo xtask cluster up`")?;
    let records = Records::read(&place.state)?;
    std::thread::scope(|scope| {
        let loads: Vec<_> = shape
            .nodes()
            .into_iter()
            .map(|node| {
                let machine = Machine::find(&records, &node.name);
                scope.spawn(move || {
                    let machine = machine.with_context(|| format!("{} has ended", node.name))?;
                    load_into(&machine, archive)
                })
            })
            .collect();
        loads.into_iter().try_for_each(|load| {
            load.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

fn load_into(machine: &Machine, archive: &Path) -> Result<()> {
    // The archive need not lie where the machine sees it.
    let input =
        File::open(archive).with_context(|| format!("cannot read {}", archive.display()))?;
    let output = machine
        .enter()
        .args([
            "ctr",
            "--address",
            CONTAINERD_SOCKET,
            "--namespace",
            "k8s.io",
        ])
        .args(["images", "import", "-"])
        .stdin(Stdio::from(input))
        .output()
        .context("cannot start nsenter")?;
    if !output.status.success() {
        bail!(
            "{}: containerd refuses {}: {}",
            machine.name,
            archive.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
