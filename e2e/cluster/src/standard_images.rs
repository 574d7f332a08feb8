//! Images that every cluster needs: the pause program of sandboxes, and CoreDNS.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::command::run;
use crate::image::Image;
use crate::place::Place;
use crate::tar::{Entry, Tree};

/// The image of sandboxes.
pub(crate) const PAUSE: &str = "docker.io/getvpn/pause:1";
/// The image of the name service.
pub(crate) const COREDNS: &str = "docker.io/getvpn/coredns:1";

/// Source of the pause program.
const PAUSE_SOURCE: &str = include_str!("../pause.c");
/// A user without rights.
const NOBODY: &str = "65532:65532";

/// Builds the pause program unless it is in the cache; answers its file.
///
/// # Errors
/// When the C compiler fails.
pub(crate) fn pause_program(place: &Place) -> Result<PathBuf> {
    let digest = Sha256::digest(PAUSE_SOURCE.as_bytes());
    let short: String = digest
        .iter()
        .take(8)
        .map(|octet| format!("{octet:02x}"))
        .collect();
    let directory = place.cache.join("cluster").join(format!("pause-{short}"));
    let program = directory.join("pause");
    if program.is_file() {
        return Ok(program);
    }
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let part = directory.join(format!("part-{}", std::process::id()));
    run(Command::new("cc")
        .args(["-Os", "-static", "-s", "-o"])
        .arg(&part)
        .arg(Place::source().join("pause.c")))
    .context("the pause program does not build")?;
    fs::rename(&part, &program)?;
    Ok(program)
}

/// Packs both images; answers their files.
///
/// # Errors
/// When a program cannot be read or an archive not written.
pub(crate) fn pack(place: &Place, pause: &Path, coredns: &Path) -> Result<Vec<PathBuf>> {
    let images = place.state.join("images");
    [(PAUSE, "pause", pause), (COREDNS, "coredns", coredns)]
        .into_iter()
        .map(|(reference, name, program)| {
            let content =
                fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
            let image = Image {
                reference: reference.to_owned(),
                files: Tree::from([(name.to_owned(), Entry::File(0o755, content))]),
                entry_point: vec![format!("/{name}")],
                user: NOBODY.to_owned(),
                ..Image::default()
            };
            let file = images.join(format!("{name}.tar"));
            image.write(&file)?;
            Ok(file)
        })
        .collect()
}
