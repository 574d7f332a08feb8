//! Helpers shared by the tests.
#![allow(dead_code, reason = "each test program uses another part")]

pub(crate) mod cluster;
pub(crate) mod member;
pub(crate) mod ports;
pub(crate) mod process;

use std::path::Path;
use std::sync::{Arc, Mutex};

use keyserver::raft::state_machine::{Application, ApplicationError};
use keyserver::raft::types::{
    CommandOctets, CommittedLeaderId, Entry, LogId, OutcomeOctets, SnapshotMeta, SnapshotOctets,
    Vote,
};
use keyserver::storage::{SealingKey, StorageError, Store};
use openraft::EntryPayload;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};

/// The sealing key of every test store.
pub(crate) fn sealing_key() -> SealingKey {
    SealingKey::new([42; 32])
}

/// Opens the store of `directory` under the test sealing key.
pub(crate) fn open(directory: &Path) -> Result<Store, StorageError> {
    Store::open(directory, sealing_key())
}

/// An application that remembers every command it applied.
#[derive(Clone, Default)]
pub(crate) struct Journal {
    /// The applied commands, oldest first.
    pub(crate) commands: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Journal {
    /// The applied commands, oldest first.
    pub(crate) fn commands(&self) -> Vec<Vec<u8>> {
        self.commands.lock().expect("no test panics here").clone()
    }
}

impl Application for Journal {
    async fn apply(
        &mut self,
        _index: u64,
        command: &CommandOctets,
    ) -> Result<OutcomeOctets, ApplicationError> {
        let mut commands = self.commands.lock().expect("no test panics here");
        commands.push(command.as_slice().to_vec());
        let mut outcome = b"applied ".to_vec();
        outcome.extend_from_slice(command.as_slice());
        Ok(OutcomeOctets::new(outcome))
    }

    async fn snapshot(&mut self) -> Result<SnapshotOctets, ApplicationError> {
        let commands = self.commands();
        Ok(SnapshotOctets::new(
            postcard::to_stdvec(&commands).expect("serialises"),
        ))
    }

    async fn restore(
        &mut self,
        _index: u64,
        snapshot: SnapshotOctets,
    ) -> Result<(), ApplicationError> {
        let commands = postcard::from_bytes(snapshot.as_slice())
            .map_err(|error| ApplicationError::Snapshot(error.to_string()))?;
        *self.commands.lock().expect("no test panics here") = commands;
        Ok(())
    }
}

/// A position written by node 1.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId { term, node_id: 1 }, index)
}

/// An entry written by node 1.
pub(crate) fn entry(term: u64, index: u64, command: &str) -> Entry {
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Normal(CommandOctets::new(command.into())),
    }
}

/// A store with a vote, entries 3 to 19 and a snapshot.
pub(crate) async fn filled(directory: &Path) -> Store {
    let mut store = open(directory).expect("a fresh store opens");
    RaftLogStorage::save_vote(&mut store, &Vote::new_committed(3, 1))
        .await
        .expect("vote");
    let entries: Vec<_> = (0..20)
        .map(|index| entry(3, index, &format!("command {index}")))
        .collect();
    store.blocking_append(entries).await.expect("append");
    RaftLogStorage::save_committed(&mut store, Some(log_id(3, 17)))
        .await
        .expect("committed");
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(3, 5)),
        ..SnapshotMeta::default()
    };
    store
        .save_snapshot(&meta, SnapshotOctets::new(b"the state".to_vec()))
        .await
        .expect("snapshot");
    RaftLogStorage::purge(&mut store, log_id(3, 2))
        .await
        .expect("purge");
    store
}
