//! What a cluster consists of: remembered in its state directory, so that every command agrees.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::component::Component;
use crate::network::Node;
use crate::place::Place;
use crate::programs::KUBERNETES_MODULE;
use crate::{control, node};

/// The file that marks a directory as the state of a cluster.
const FILE: &str = "cluster.json";

/// What a cluster is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Number of nodes.
    pub nodes: u8,
    /// Port of the API server on the loopback address.
    pub port: u16,
}

impl Shape {
    /// The shape of the cluster at a place; none when there is no cluster.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn read(place: &Place) -> Result<Option<Self>> {
        let file = place.state.join(FILE);
        match fs::read(&file) {
            Ok(text) => {
                Ok(Some(serde_json::from_slice(&text).with_context(|| {
                    format!("{} is damaged", file.display())
                })?))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Marks the directory.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write(self, place: &Place) -> Result<()> {
        let file = place.state.join(FILE);
        fs::write(&file, serde_json::to_vec(&self)?)
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(self) -> Vec<Node> {
        (1..=self.nodes).map(Node::number).collect()
    }

    /// Names of all machines.
    #[must_use]
    pub fn machines(self) -> Vec<String> {
        std::iter::once(control::MACHINE.to_owned())
            .chain(self.nodes().into_iter().map(|node| node.name))
            .collect()
    }

    /// Every program, in the order in which they start.
    ///
    /// # Errors
    /// When the sources that name the programs cannot be read.
    pub(crate) fn components(self, place: &Place) -> Result<Vec<Component>> {
        let programs: PathBuf = KUBERNETES_MODULE.directory(place)?;
        let mut all = control::components(place, &programs);
        for one in self.nodes() {
            all.extend(node::components(place, &programs, &one));
        }
        Ok(all)
    }
}
