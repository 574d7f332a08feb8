//! kubectl with the administrator's rights.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::place::Place;
use crate::programs::{HELM_MODULE, KUBERNETES_MODULE};

/// The kubectl of the cluster's own version, in the cache.
///
/// # Errors
/// When the sources that name it cannot be read.
pub fn program(place: &Place) -> Result<PathBuf> {
    Ok(KUBERNETES_MODULE.directory(place)?.join("kubectl"))
}

/// A command that asks the cluster at `place`: add its arguments.
///
/// # Errors
/// When the sources that name the program cannot be read.
pub fn kubectl(place: &Place) -> Result<Command> {
    let mut command = Command::new(program(place)?);
    command.arg("--kubeconfig").arg(place.kubeconfig());
    Ok(command)
}

/// Where helm is in the cache, built or not.
///
/// # Errors
/// When the sources that name it cannot be read.
pub fn helm_place(place: &Place) -> Result<PathBuf> {
    Ok(HELM_MODULE.directory(place)?.join("helm"))
}

/// A helm, in the cache; built unless it is there.
///
/// # Errors
/// When it does not build.
pub fn helm(place: &Place) -> Result<PathBuf> {
    Ok(HELM_MODULE.build(place)?.join("helm"))
}
