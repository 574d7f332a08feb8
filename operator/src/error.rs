//! Why work on an object did not succeed, and whether trying again can help.

use keyserver_api::client::ClientError;
use kube::runtime::finalizer;

use crate::authority::AuthorityError;

/// Why a reconciliation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server.
    #[error("{what}: {source}")]
    Kubernetes {
        /// What was done.
        what: String,
        /// Its answer.
        source: kube::Error,
    },
    /// The authorities of a group.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A key server.
    #[error("{what}: {source}")]
    KeyServer {
        /// What was asked.
        what: String,
        /// Its answer.
        source: ClientError,
    },
    /// Credentials for the admin API.
    #[error("the operator's own certificate for the key servers: {0}")]
    Credentials(String),
    /// A Secret that a user provides.
    #[error("{0}")]
    UserSecret(String),
    /// What must never be made anew is missing.
    #[error("{0}")]
    Irreplaceable(String),
    /// Something that the status tells about, and that is tried again.
    #[error("{0}")]
    Retried(String),
    /// The finalizer.
    #[error("{0}")]
    Finalizer(#[source] Box<finalizer::Error<Error>>),
}

impl From<finalizer::Error<Error>> for Error {
    fn from(error: finalizer::Error<Error>) -> Self {
        match error {
            finalizer::Error::ApplyFailed(error) | finalizer::Error::CleanupFailed(error) => error,
            other => Self::Finalizer(Box::new(other)),
        }
    }
}

/// Says what was done when the API server refused it.
pub(crate) trait Doing<T> {
    /// The error with these words in front.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, kube::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Kubernetes {
            what: what(),
            source,
        })
    }
}

impl Error {
    /// A short word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Kubernetes { .. } | Self::Finalizer(_) => "Kubernetes",
            Self::Authority(_) => "Authority",
            Self::KeyServer { .. } => "KeyServer",
            Self::Credentials(_) => "Credentials",
            Self::UserSecret(_) => "UserSecret",
            Self::Irreplaceable(_) => "Irreplaceable",
            Self::Retried(_) => "Retried",
        }
    }

    /// The reason of the condition `Stalled`, when trying again does not help.
    pub fn stalled(&self) -> Option<&'static str> {
        match self {
            Self::Kubernetes {
                source: kube::Error::Api(status),
                what,
            } => match status.code {
                403 if status.message.contains("exceeded quota") => Some("QuotaExceeded"),
                // The size of a claim: the storage class does not allow it.
                403 | 422 if what.contains("volume claim") => Some("StorageRejected"),
                _ => None,
            },
            Self::UserSecret(_) => Some("InvalidReference"),
            Self::Irreplaceable(_) => Some("StorageRejected"),
            Self::Authority(AuthorityError::Damaged { .. }) => Some("InvalidReference"),
            _ => None,
        }
    }
}
