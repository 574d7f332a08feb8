//! Where the cluster lives: one directory for its state, one for what is built once.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shape::Shape;

/// Where the search for a free port on the loopback address begins, and how many are tried.
const PORTS: std::ops::Range<u16> = 16_443..16_543;

/// Longest name of a cluster: it is part of names of interfaces' namespaces and control groups.
const NAME: usize = 24;

/// Directories and port of a cluster.
#[derive(Debug, Clone)]
pub struct Place {
    /// Everything of a running cluster: keys, data, logs, records. Removed by `down`.
    pub state: PathBuf,
    /// Programs and images that are built once and survive `down` and `git clean`.
    pub cache: PathBuf,
    /// Port of the API server on the loopback address.
    pub port: u16,
}

impl Place {
    /// The place that the environment names: `GETVPN_CLUSTER_DIR` (default
    /// `/var/lib/getvpn-cluster`), `GETVPN_CACHE` (default `getvpn` in the user's cache directory),
    /// `GETVPN_CLUSTER_PORT` (default: that of the cluster that runs there, else a free one).
    ///
    /// # Errors
    /// When a variable does not hold an absolute path or a port, or no port is free.
    pub fn from_environment() -> Result<Self> {
        let state = directory("GETVPN_CLUSTER_DIR")?
            .unwrap_or_else(|| PathBuf::from("/var/lib/getvpn-cluster"));
        let cache = match directory("GETVPN_CACHE")? {
            Some(cache) => cache,
            None => user_cache()?.join("getvpn"),
        };
        let mut place = Self {
            state,
            cache,
            port: 0,
        };
        check_name(&place.name())?;
        place.port = match std::env::var("GETVPN_CLUSTER_PORT") {
            Ok(text) => text
                .parse()
                .with_context(|| format!("GETVPN_CLUSTER_PORT: `{text}` is not a port"))?,
            Err(_) => match Shape::read(&place)? {
                Some(shape) => shape.port,
                None => free_port()?,
            },
        };
        Ok(place)
    }

    /// Name of the cluster: the last part of its directory. Clusters with different names can run side
    /// by side.
    #[must_use]
    pub fn name(&self) -> String {
        self.state
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    /// Kubeconfig of the cluster's administrator, for use outside of its namespaces.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// Keys and certificates.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.state.join("pki")
    }

    /// What the programs say.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// What one program says.
    #[must_use]
    pub fn log(&self, program: &str) -> PathBuf {
        self.logs().join(format!("{program}.log"))
    }

    /// The directory of one machine.
    #[must_use]
    pub fn machine(&self, name: &str) -> PathBuf {
        self.state.join(name)
    }

    /// Where the programs of the cluster are described in the source tree.
    #[must_use]
    pub fn source() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }
}

fn check_name(name: &str) -> Result<()> {
    let plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    if name.is_empty() || name.len() > NAME || !name.chars().all(plain) {
        bail!(
            "GETVPN_CLUSTER_DIR: its last part, `{name}`, is the cluster's name: 1 to {NAME} of a-z, 0-9 and -"
        );
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    PORTS
        .into_iter()
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .with_context(|| {
            format!(
                "no port of 127.0.0.1 from {} to {} is free: set GETVPN_CLUSTER_PORT",
                PORTS.start,
                PORTS.end - 1
            )
        })
}

fn directory(variable: &str) -> Result<Option<PathBuf>> {
    let Some(value) = std::env::var_os(variable).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let path = PathBuf::from(value);
    if !path.is_absolute() {
        bail!("{variable}: `{}` is not an absolute path", path.display());
    }
    Ok(Some(path))
}

fn user_cache() -> Result<PathBuf> {
    if let Some(cache) = directory("XDG_CACHE_HOME")? {
        return Ok(cache);
    }
    let home = std::env::var_os("HOME")
        .context("neither GETVPN_CACHE nor XDG_CACHE_HOME nor HOME is set: set GETVPN_CACHE")?;
    Ok(PathBuf::from(home).join(".cache"))
}
