//! What can go wrong on a cluster, by cause, and the exit code of each.

use std::path::PathBuf;

use keyserver_api::client::ClientError;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The command line is wrong, or names what does not exist.
    #[error("{0}")]
    Usage(String),
    /// There is no way to the cluster.
    #[error("no cluster: {0}; set KUBECONFIG, or name a context with --context")]
    NoCluster(String),
    /// The API server refused or did not answer.
    #[error("cannot {doing}: {source}")]
    Api {
        /// What was tried.
        doing: String,
        /// Its answer.
        source: Box<kube::Error>,
    },
    /// A Secret lacks what it should hold.
    #[error("Secret {name}: {message}")]
    Credentials {
        /// Namespace and name.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// No key server did what was asked.
    #[error("key servers of {group}: {message}")]
    KeyServers {
        /// Namespace and name of the group.
        group: String,
        /// The last answer.
        message: String,
    },
    /// A sidecar did not answer as expected.
    #[error("member {pod}: {message}")]
    Member {
        /// Namespace and name of the pod.
        pod: String,
        /// What went wrong.
        message: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl ClusterError {
    /// The process exit code: 1 error, 2 usage or environment.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::NoCluster(_) => 2,
            Self::Api { .. }
            | Self::Credentials { .. }
            | Self::KeyServers { .. }
            | Self::Member { .. }
            | Self::File { .. } => 1,
        }
    }

    /// Wraps an answer of the API server with what was tried.
    pub(crate) fn api(doing: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Api {
            doing,
            source: Box::new(source),
        }
    }

    /// An answer of a key server with all its causes.
    pub(crate) fn key_servers(group: &str, error: &ClientError) -> Self {
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self::KeyServers {
            group: group.to_owned(),
            message,
        }
    }
}
