//! Takes a cluster down: nothing of it stays outside of the cache.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::lock::Lock;
use crate::place::Place;
use crate::record::Records;
use crate::shape::Shape;
use crate::{host, names};

/// Ends every process of the cluster and removes its state; no cluster is no error.
///
/// # Errors
/// What could not be ended or removed.
pub fn down(place: &Place) -> Result<()> {
    if Shape::read(place)?.is_none() {
        return Ok(());
    }
    let _lock = Lock::acquire(&place.state.join("lock"), || {
        println!("another command works on the cluster: waiting for it");
    })?;
    remove(place)
}

/// As [`down`], for who holds the lock.
pub(crate) fn remove(place: &Place) -> Result<()> {
    let Some(shape) = Shape::read(place)? else {
        return Ok(());
    };
    let records = Records::read(&place.state)?;
    // The first process of a machine takes all others with it, and is gone only after them.
    for process in records.all().iter().filter(|process| process.is_first()) {
        process.kill()?;
    }
    for process in records.all().iter().filter(|process| !process.is_first()) {
        process.kill()?;
    }
    names::take(place, &shape.machines())?;
    host::remove_groups(place)?;
    let mounts = mounts_below(place);
    if !mounts.is_empty() {
        bail!("still mounted, so not removed: {}", mounts.join(", "));
    }
    fs::remove_dir_all(&place.state)
        .with_context(|| format!("cannot remove {}", place.state.display()))
}

/// What of a cluster is there outside of its machines: for the test that `down` leaves nothing.
#[must_use]
pub fn left(place: &Place) -> Vec<String> {
    let mut left = Vec::new();
    if place.state.exists() {
        left.push(place.state.display().to_string());
    }
    left.extend(mounts_below(place));
    left.extend(
        host::groups_left(place)
            .iter()
            .map(|path| path.display().to_string()),
    );
    left
}

fn mounts_below(place: &Place) -> Vec<String> {
    let state = place.state.display().to_string();
    fs::read_to_string("/proc/mounts")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|path| path.starts_with(&state))
        .map(str::to_owned)
        .collect()
}
