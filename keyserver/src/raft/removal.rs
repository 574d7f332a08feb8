//! Removing a key server from the group on purpose.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// Longest a removal may take before its asker is told that the end is not known.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a key server was not removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemovalError {
    /// Only the leader removes.
    #[error("this key server is not the primary")]
    NotPrimary,
    /// The group has no key server of that name.
    #[error("there is no key server {0:?} in the group; the status shows the names of all")]
    Unknown(String),
    /// The leader cannot remove itself.
    #[error("key server {0:?} leads; it hands leadership on before it is removed")]
    Leads(String),
    /// The remaining voters cannot commit it now.
    #[error("it is not done yet: {0}; it goes on by itself, ask again to see its end")]
    Unfinished(String),
}

/// Asks the steward of this node to remove key servers; clones share the way.
#[derive(Clone, Debug)]
pub struct Remover {
    sender: mpsc::Sender<Removal>,
}

/// One removal that is asked for.
#[derive(Debug)]
pub(super) struct Removal {
    pub(super) name: String,
    /// Whether a key server of that name was found when the removal began.
    pub(super) begun: bool,
    pub(super) reply: oneshot::Sender<Result<(), RemovalError>>,
}

impl Remover {
    pub(super) fn channel() -> (Self, mpsc::Receiver<Removal>) {
        let (sender, receiver) = mpsc::channel(16);
        (Self { sender }, receiver)
    }

    /// Takes the vote of the key server `name` away, removes it, and remembers that its data
    /// directory is not taken in again.
    ///
    /// # Errors
    /// [`RemovalError`].
    pub async fn remove(&self, name: &str) -> Result<(), RemovalError> {
        let (reply, answer) = oneshot::channel();
        let removal = Removal {
            name: name.to_owned(),
            begun: false,
            reply,
        };
        self.sender
            .send(removal)
            .await
            .map_err(|_| RemovalError::NotPrimary)?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(RemovalError::NotPrimary),
            Err(_) => Err(RemovalError::Unfinished(
                "no majority of the key servers confirmed it in time".to_owned(),
            )),
        }
    }
}
