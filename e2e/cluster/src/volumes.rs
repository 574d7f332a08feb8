//! Volumes on demand: a directory per claim, on the node that the scheduler chose.
//!
//! Kubernetes has no such provisioner of its own that honours `fsGroup`. This one follows claims and
//! volumes by watches of kubectl, makes `local` volumes, and removes them when their claims are gone.

use std::fs;
use std::io::{self, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::command::{run, run_with_input};
use crate::kubectl::kubectl;
use crate::place::Place;

/// Name in the records and of the log.
pub(crate) const NAME: &str = "volumes";

/// The class and the provisioner, as in `manifests/base.yaml`.
const CLASS: &str = "getvpn-local";
const PROVISIONER: &str = "cluster.getvpn.dev/local";

/// How long a watch that ended is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// Serves until it is killed.
///
/// # Errors
/// Never: what goes wrong is written to the log and tried again with the next change or watch.
pub fn serve(place: &Place) -> Result<()> {
    std::thread::scope(|scope| {
        scope.spawn(|| follow(place, "persistentvolumeclaims", provide));
        follow(place, "persistentvolumes", reclaim);
    });
    Ok(())
}

/// Calls `act` with every object of a kind as it is and whenever it changes, for ever.
fn follow(place: &Place, kind: &str, act: fn(&Place, &Value) -> Result<()>) {
    loop {
        if let Err(error) = watch(place, kind, act) {
            eprintln!("{kind}: {error:#}");
        }
        std::thread::sleep(PAUSE);
    }
}

fn watch(place: &Place, kind: &str, act: fn(&Place, &Value) -> Result<()>) -> Result<()> {
    let mut child = kubectl(place)?
        .args(["get", kind, "--all-namespaces", "--watch", "--output=json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start kubectl")?;
    let output = child.stdout.take().context("kubectl has no output")?;
    for object in serde_json::Deserializer::from_reader(BufReader::new(output)).into_iter() {
        let object: Value = object.context("kubectl wrote no JSON")?;
        if let Err(error) = act(place, &object) {
            eprintln!("{} {}: {error:#}", kind, object["metadata"]["name"]);
        }
    }
    child.wait()?;
    Ok(())
}

/// Makes the volume of a claim that waits for one.
fn provide(place: &Place, claim: &Value) -> Result<()> {
    let Some(volume) = volume_for(place, claim) else {
        return Ok(());
    };
    let directory = directory(
        place,
        volume["metadata"]["name"].as_str().unwrap_or_default(),
    );
    make(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    match run_with_input(
        kubectl(place)?.args(["create", "-f", "-"]),
        &volume.to_string(),
    ) {
        // The claim changed again before it was bound.
        Err(error) if format!("{error:#}").contains("AlreadyExists") => Ok(()),
        other => other.map(drop),
    }
}

/// A directory that is there already may be in use: its mode is that of the pod's `fsGroup` then.
fn make(directory: &Path) -> io::Result<()> {
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::create_dir(directory) {
        Ok(()) => fs::set_permissions(directory, fs::Permissions::from_mode(0o755)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// The volume that a claim waits for; none when it is not ours, has one, or has no node yet.
fn volume_for(place: &Place, claim: &Value) -> Option<Value> {
    let (meta, spec) = (&claim["metadata"], &claim["spec"]);
    let node = meta["annotations"]["volume.kubernetes.io/selected-node"].as_str()?;
    let waits = spec["storageClassName"] == CLASS
        && claim["status"]["phase"] == "Pending"
        && meta["deletionTimestamp"].is_null();
    if !waits {
        return None;
    }
    let name = format!("pvc-{}", meta["uid"].as_str()?);
    Some(json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
        },
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
            "local": {"path": directory(place, &name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]},
            ]}]}},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": CLASS,
            "volumeMode": "Filesystem",
        },
    }))
}

/// Removes a volume whose claim is gone.
fn reclaim(place: &Place, volume: &Value) -> Result<()> {
    if !is_free(volume) {
        return Ok(());
    }
    let name = volume["metadata"]["name"].as_str().unwrap_or_default();
    let directory = directory(place, name);
    if let Err(error) = fs::remove_dir_all(&directory)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error).with_context(|| format!("cannot remove {}", directory.display()));
    }
    run(kubectl(place)?.args([
        "delete",
        "--wait=false",
        "--ignore-not-found",
        "persistentvolume",
        name,
    ]))
    .map(drop)
}

fn is_free(volume: &Value) -> bool {
    let meta = &volume["metadata"];
    meta["annotations"]["pv.kubernetes.io/provisioned-by"] == PROVISIONER
        && volume["status"]["phase"] == "Released"
        && volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
        && meta["deletionTimestamp"].is_null()
        // The name becomes a path.
        && meta["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("pvc-") && !name.contains('/'))
}

fn directory(place: &Place, volume: &str) -> PathBuf {
    place.state.join("volumes").join(volume)
}

#[cfg(test)]
mod self_tests {
    use super::*;

    fn claim() -> Value {
        json!({
            "metadata": {
                "name": "data-ks-0", "namespace": "vpn", "uid": "u-1",
                "annotations": {"volume.kubernetes.io/selected-node": "node-2"},
            },
            "spec": {
                "storageClassName": CLASS,
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
            "status": {"phase": "Pending"},
        })
    }

    #[test]
    fn a_claim_with_a_node_gets_a_volume_of_its_size_on_that_node() {
        let place = Place {
            state: "/s".into(),
            cache: "/c".into(),
            port: 1,
        };
        let volume = volume_for(&place, &claim()).expect("volume");
        let spec = &volume["spec"];
        assert_eq!(spec["local"]["path"], "/s/volumes/pvc-u-1");
        assert_eq!(spec["capacity"]["storage"], "1Gi");
        assert_eq!(spec["claimRef"]["uid"], "u-1");
        let term = &spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0];
        assert_eq!(term["matchExpressions"][0]["values"], json!(["node-2"]));
    }

    #[test]
    fn a_claim_that_is_bound_or_going_or_foreign_or_without_a_node_gets_none() {
        let place = Place {
            state: "/s".into(),
            cache: "/c".into(),
            port: 1,
        };
        for (pointer, value) in [
            ("/status/phase", json!("Bound")),
            ("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z")),
            ("/spec/storageClassName", json!("other")),
            ("/metadata/annotations", json!({})),
        ] {
            let mut claim = claim();
            match claim.pointer_mut(pointer) {
                Some(slot) => *slot = value,
                None => claim["metadata"]["deletionTimestamp"] = value,
            }
            assert_eq!(volume_for(&place, &claim), None, "{pointer}");
        }
    }

    #[test]
    fn only_a_released_volume_of_ours_is_removed() {
        let ours = json!({
            "metadata": {"name": "pvc-u-1", "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
            "spec": {"persistentVolumeReclaimPolicy": "Delete"},
            "status": {"phase": "Released"},
        });
        assert!(is_free(&ours));
        for (pointer, value) in [
            ("/status/phase", "Bound"),
            (
                "/metadata/annotations/pv.kubernetes.io~1provisioned-by",
                "other",
            ),
            ("/spec/persistentVolumeReclaimPolicy", "Retain"),
            ("/metadata/name", "pvc-/../.."),
        ] {
            let mut volume = ours.clone();
            *volume.pointer_mut(pointer).expect("field") = json!(value);
            assert!(!is_free(&volume), "{pointer}");
        }
    }
}
