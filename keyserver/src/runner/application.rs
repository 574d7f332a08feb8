//! The consensus' way to the runner, which owns the replicated state.

use tokio::sync::{mpsc, oneshot};

use crate::raft::state_machine::{Application, ApplicationError};
use crate::raft::types::{CommandOctets, OutcomeOctets, SnapshotOctets};

/// What the consensus hands over, in order.
pub enum Committed {
    /// A committed command.
    Command {
        /// Its position.
        index: u64,
        /// Its octets.
        command: CommandOctets,
        /// Where its outcome goes.
        outcome: oneshot::Sender<OutcomeOctets>,
    },
    /// The state is wanted.
    Snapshot(oneshot::Sender<Result<SnapshotOctets, ApplicationError>>),
    /// The state is replaced.
    Restore {
        /// Position of the last command in it.
        index: u64,
        /// The state.
        snapshot: SnapshotOctets,
        /// Where the result goes.
        reply: oneshot::Sender<Result<(), ApplicationError>>,
    },
}

/// Forwards everything to the runner and waits for its answer.
#[derive(Clone)]
pub struct RunnerApplication {
    sender: mpsc::Sender<Committed>,
}

impl RunnerApplication {
    /// The consensus' end, and the runner's.
    pub fn channel() -> (Self, mpsc::Receiver<Committed>) {
        let (sender, receiver) = mpsc::channel(256);
        (Self { sender }, receiver)
    }

    async fn send(&self, committed: Committed) -> Result<(), ApplicationError> {
        self.sender
            .send(committed)
            .await
            .map_err(|_| ApplicationError::Ended)
    }
}

impl Application for RunnerApplication {
    async fn apply(
        &mut self,
        index: u64,
        command: &CommandOctets,
    ) -> Result<OutcomeOctets, ApplicationError> {
        let (outcome, receiver) = oneshot::channel();
        let command = command.clone();
        self.send(Committed::Command {
            index,
            command,
            outcome,
        })
        .await?;
        receiver.await.map_err(|_| ApplicationError::Ended)
    }

    async fn snapshot(&mut self) -> Result<SnapshotOctets, ApplicationError> {
        let (sender, receiver) = oneshot::channel();
        self.send(Committed::Snapshot(sender)).await?;
        receiver.await.map_err(|_| ApplicationError::Ended)?
    }

    async fn restore(
        &mut self,
        index: u64,
        snapshot: SnapshotOctets,
    ) -> Result<(), ApplicationError> {
        let (reply, receiver) = oneshot::channel();
        self.send(Committed::Restore {
            index,
            snapshot,
            reply,
        })
        .await?;
        receiver.await.map_err(|_| ApplicationError::Ended)?
    }
}
