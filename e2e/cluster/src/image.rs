//! Container images without a registry: an archive in OCI layout that `ctr images import`,
//! `docker load`, `podman load` and `skopeo` read, the same octets for the same content.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::tar::{Entry, Tree, pack};

/// The time in every image: what is built from the same sources is the same.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// An image to pack.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Full name with a tag: `docker.io/getvpn/keyserver:0.1.0`.
    pub reference: String,
    /// Files of its only layer.
    pub files: Tree,
    /// What a container runs.
    pub entry_point: Vec<String>,
    /// Numeric user and group that it runs as, as in `65532:65532`.
    pub user: String,
    /// Environment, as `NAME=value`.
    pub environment: Vec<String>,
    /// Labels (`org.opencontainers.image.…`).
    pub labels: BTreeMap<String, String>,
}

impl Image {
    /// Packs the image into a file; answers the digest of its manifest.
    ///
    /// # Errors
    /// When a path does not fit the format or the file cannot be written.
    pub fn write(&self, file: &Path) -> Result<String> {
        let (archive, digest) = self.archive()?;
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        let part = file.with_extension("part");
        fs::write(&part, archive)
            .and_then(|()| fs::rename(&part, file))
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(digest)
    }

    fn archive(&self) -> Result<(Vec<u8>, String)> {
        let layer = pack(&self.files)?;
        let layer_digest = digest(&layer);
        let config = serde_json::to_vec(&json!({
            "architecture": architecture(),
            "os": "linux",
            "created": CREATED,
            "config": {
                "Entrypoint": self.entry_point,
                "Env": self.environment,
                "User": self.user,
                "WorkingDir": "/",
                "Labels": self.labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
            "history": [{"created": CREATED, "created_by": "cargo xtask images"}],
        }))?;
        let config_digest = digest(&config);
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config, &config_digest),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer, &layer_digest)],
        }))?;
        let manifest_digest = digest(&manifest);
        let mut listed = descriptor(
            "application/vnd.oci.image.manifest.v1+json",
            &manifest,
            &manifest_digest,
        );
        if let Some(fields) = listed.as_object_mut() {
            fields.insert(
                "annotations".to_owned(),
                json!({
                    "io.containerd.image.name": self.reference,
                    "org.opencontainers.image.ref.name": self.tag(),
                }),
            );
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [listed],
        });
        let blob = |digest: &str| format!("blobs/sha256/{digest}");
        // For programs that know only the older format of `docker save`.
        let older = json!([{
            "Config": blob(&config_digest),
            "RepoTags": [self.reference],
            "Layers": [blob(&layer_digest)],
        }]);
        let file = |content: Vec<u8>| Entry::File(0o644, content);
        let tree = Tree::from([
            (blob(&config_digest), file(config)),
            (blob(&layer_digest), file(layer)),
            (blob(&manifest_digest), file(manifest)),
            ("index.json".to_owned(), file(serde_json::to_vec(&index)?)),
            (
                "manifest.json".to_owned(),
                file(serde_json::to_vec(&older)?),
            ),
            (
                "oci-layout".to_owned(),
                file(br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            ),
        ]);
        Ok((pack(&tree)?, format!("sha256:{manifest_digest}")))
    }

    fn tag(&self) -> &str {
        self.reference
            .rsplit_once(':')
            .map_or("latest", |(_, tag)| tag)
    }
}

fn descriptor(kind: &str, content: &[u8], digest: &str) -> Value {
    json!({
        "mediaType": kind,
        "digest": format!("sha256:{digest}"),
        "size": content.len(),
    })
}

fn digest(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect()
}

/// This machine's architecture in the words of images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod self_tests {
    use super::*;

    fn image() -> Image {
        Image {
            reference: "docker.io/getvpn/test:1".to_owned(),
            files: Tree::from([("bin/test".to_owned(), Entry::File(0o755, b"test".to_vec()))]),
            entry_point: vec!["/bin/test".to_owned()],
            user: "65532:65532".to_owned(),
            ..Image::default()
        }
    }

    #[test]
    fn the_same_content_gives_the_same_octets_and_digest() {
        assert_eq!(
            image().archive().expect("packed"),
            image().archive().expect("packed")
        );
    }

    #[test]
    fn another_file_another_user_and_another_label_each_change_the_digest() {
        let first = image().archive().expect("packed").1;
        let mut others = vec![image(), image(), image()];
        others[0]
            .files
            .insert("etc/x".to_owned(), Entry::File(0o644, Vec::new()));
        others[1].user = "0:0".to_owned();
        others[2].labels.insert("a".to_owned(), "b".to_owned());
        for other in others {
            assert_ne!(other.archive().expect("packed").1, first, "{other:?}");
        }
    }
}
