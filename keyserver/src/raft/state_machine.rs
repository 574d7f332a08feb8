//! openraft's state machine: gives committed commands, in order, to the application.
//!
//! The application lives elsewhere (the runner owns `keyserver-core`); this side only remembers how
//! far it is and which membership was applied, and stores snapshots.

use std::future::Future;
use std::io;

use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};

use super::types::{
    CommandOctets, LogId, OutcomeOctets, Snapshot, SnapshotMeta, SnapshotOctets, StoredMembership,
    Types,
};
use crate::storage::Store;

/// Why the application could not take a committed entry or a snapshot. The node stops.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApplicationError {
    /// The task that owns the application has ended.
    #[error("the application has ended")]
    Ended,
    /// The application cannot read a snapshot.
    #[error("the snapshot cannot be restored: {0}")]
    Snapshot(String),
}

/// What is replicated: commands in, outcomes out. The same on every key server.
pub trait Application: Send + Sync + 'static {
    /// Applies the command committed at `index`.
    fn apply(
        &mut self,
        index: u64,
        command: &CommandOctets,
    ) -> impl Future<Output = Result<OutcomeOctets, ApplicationError>> + Send;

    /// The whole replicated state as of the last applied command.
    fn snapshot(&mut self)
    -> impl Future<Output = Result<SnapshotOctets, ApplicationError>> + Send;

    /// Replaces the replicated state by the one that the command at `index` had left.
    fn restore(
        &mut self,
        index: u64,
        snapshot: SnapshotOctets,
    ) -> impl Future<Output = Result<(), ApplicationError>> + Send;
}

/// Binds an [`Application`] to the log.
pub struct StateMachine<A> {
    application: A,
    store: Store,
    applied: Option<LogId>,
    membership: StoredMembership,
}

impl<A: Application> StateMachine<A> {
    /// A state machine at the beginning of the log; openraft restores the newest snapshot.
    pub fn new(application: A, store: Store) -> Self {
        Self {
            application,
            store,
            applied: None,
            membership: StoredMembership::default(),
        }
    }
}

impl<A: Application> RaftStateMachine<Types> for StateMachine<A> {
    type SnapshotData = SnapshotOctets;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let outcome = match &entry.payload {
                EntryPayload::Normal(command) => self
                    .application
                    .apply(entry.log_id.index(), command)
                    .await
                    .map_err(io::Error::other)?,
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                    OutcomeOctets::new(Vec::new())
                }
                EntryPayload::Blank => OutcomeOctets::new(Vec::new()),
            };
            self.applied = Some(entry.log_id);
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            meta: SnapshotMeta {
                last_log_id: self.applied,
                last_membership: self.membership.clone(),
            },
            contents: self.application.snapshot().await,
            store: self.store.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotOctets,
    ) -> Result<(), io::Error> {
        self.application
            .restore(
                meta.last_log_id.map_or(0, |id| id.index()),
                snapshot.clone(),
            )
            .await
            .map_err(io::Error::other)?;
        self.store.save_snapshot(meta, snapshot).await?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self
            .store
            .snapshot()?
            .map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// A view of the state at one position, about to be stored.
pub struct SnapshotBuilder {
    meta: SnapshotMeta,
    contents: Result<SnapshotOctets, ApplicationError>,
    store: Store,
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = SnapshotOctets;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let snapshot = self.contents.clone().map_err(io::Error::other)?;
        self.store
            .save_snapshot(&self.meta, snapshot.clone())
            .await?;
        Ok(Snapshot {
            meta: self.meta.clone(),
            snapshot,
        })
    }
}
