//! The store of one key server: who it is, its log and vote, and its newest snapshot.
//!
//! Applied state is not written at each entry. It is rebuilt at a start from the newest snapshot
//! and the log after it, which holds every committed entry that the snapshot does not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use openraft::storage::IOFlushed;
use tokio::sync::{oneshot, watch};

use super::database::{Change, Recovered, StoreFile};
use super::error::StorageError;
use super::format::{self, Identity, PURGED, VOTE};
use super::sealing::SealingKey;
use super::writer::{self, Done, Operation};
use crate::raft::types::{
    Entry, Incarnation, LogId, NodeId, SnapshotMeta, SnapshotOctets, Types, Vote,
};

/// Handle on the open store; clones share it. The file is released when the last one is dropped.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    file: Arc<StoreFile>,
    memory: Arc<Mutex<Memory>>,
    /// Absent only while the store is being dropped.
    queue: Option<Sender<Operation>>,
    thread: Option<JoinHandle<()>>,
    failure: watch::Receiver<Option<StorageError>>,
}

/// What is known without reading the file.
struct Memory {
    identity: Identity,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// Entries that are readable but not yet durable, with the append that brought them.
    pending: BTreeMap<u64, (u64, Entry)>,
    appends: u64,
    /// Octets of entries appended since the newest snapshot was stored by this process.
    since_snapshot: usize,
}

impl Store {
    /// Opens the store of `directory`, or makes one with a fresh random node identity.
    ///
    /// Every record is checked; see [`StorageError`] for what stops the start.
    ///
    /// # Errors
    /// [`StorageError`], by cause.
    pub fn open(directory: &Path, sealing: SealingKey) -> Result<Self, StorageError> {
        let (file, recovered) = StoreFile::open(directory, sealing)?;
        let Recovered {
            vote,
            committed,
            purged,
            last,
        } = recovered;
        let file = Arc::new(file);
        let memory = Memory {
            identity: file.identity(),
            vote,
            committed,
            purged,
            last,
            pending: BTreeMap::new(),
            appends: 0,
            since_snapshot: 0,
        };
        let running = writer::start(file.clone()).map_err(|error| StorageError::Environment {
            path: file.path().to_owned(),
            action: "start the writer thread",
            cause: error.to_string(),
        })?;
        Ok(Self {
            shared: Arc::new(Shared {
                file,
                memory: Arc::new(Mutex::new(memory)),
                queue: Some(running.queue),
                thread: Some(running.thread),
                failure: running.failure,
            }),
        })
    }

    /// Who the store belongs to.
    pub fn identity(&self) -> Identity {
        self.memory().identity
    }

    /// This data directory's node identity.
    pub fn node_id(&self) -> NodeId {
        self.identity().node_id
    }

    /// Tells the first failure of the store, after which it writes nothing any more.
    pub fn failure(&self) -> watch::Receiver<Option<StorageError>> {
        self.shared.failure.clone()
    }

    /// Binds the store to a formation of key servers; a store already bound to it is left alone.
    ///
    /// # Errors
    /// [`StorageError::ForeignIncarnation`] when it belongs to another one, or a write error.
    pub async fn adopt(&self, incarnation: Incarnation) -> Result<(), StorageError> {
        let identity = self.identity();
        match identity.incarnation {
            Some(stored) if stored == incarnation => return Ok(()),
            Some(stored) => {
                return Err(StorageError::ForeignIncarnation {
                    path: self.shared.file.path().to_owned(),
                    stored,
                    offered: incarnation,
                });
            }
            None => {}
        }
        let identity = Identity {
            incarnation: Some(incarnation),
            ..identity
        };
        self.write(vec![Change::Identity(identity)]).await?;
        self.memory().identity = identity;
        Ok(())
    }

    /// The newest snapshot.
    ///
    /// # Errors
    /// [`StorageError`] when it cannot be read or does not authenticate.
    pub fn snapshot(&self) -> Result<Option<(SnapshotMeta, SnapshotOctets)>, StorageError> {
        self.shared.file.snapshot()
    }

    /// Replaces the newest snapshot, durably.
    ///
    /// # Errors
    /// [`StorageError`] when the disk refuses.
    pub async fn save_snapshot(
        &self,
        meta: &SnapshotMeta,
        data: SnapshotOctets,
    ) -> Result<(), StorageError> {
        let meta = format::write_meta(meta);
        self.write(vec![Change::Snapshot { meta, data }]).await?;
        self.memory().since_snapshot = 0;
        Ok(())
    }

    /// Octets of log entries that the newest snapshot does not make superfluous yet.
    pub fn octets_since_snapshot(&self) -> usize {
        self.memory().since_snapshot
    }

    pub(super) fn vote(&self) -> Option<Vote> {
        self.memory().vote
    }

    pub(super) fn committed(&self) -> Option<LogId> {
        self.memory().committed
    }

    /// Positions of the last purged and of the last entry.
    pub(super) fn bounds(&self) -> (Option<LogId>, Option<LogId>) {
        let memory = self.memory();
        (memory.purged, memory.last)
    }

    pub(super) async fn save_vote(&self, vote: &Vote) -> Result<(), StorageError> {
        let record = format::write_vote(vote);
        self.write(vec![Change::State { name: VOTE, record }])
            .await?;
        self.memory().vote = Some(*vote);
        Ok(())
    }

    pub(super) fn save_committed(&self, committed: Option<LogId>) {
        self.memory().committed = committed;
        if let Some(committed) = committed {
            self.send(Operation::Committed(format::write_position(&committed)));
        }
    }

    /// Makes `entries` readable now and durable later; `callback` is told when they are.
    pub(super) fn append(&self, entries: Vec<Entry>, callback: IOFlushed<Types>) {
        let mut changes = Vec::with_capacity(entries.len());
        let mut memory = self.memory();
        memory.appends += 1;
        let append = memory.appends;
        let indexes: Vec<u64> = entries.iter().map(|entry| entry.log_id.index()).collect();
        for entry in entries {
            let index = entry.log_id.index();
            let record = format::write_entry(&entry);
            memory.since_snapshot = memory.since_snapshot.saturating_add(record.len());
            changes.push(Change::Entry { index, record });
            memory.last = Some(entry.log_id);
            memory.pending.insert(index, (append, entry));
        }
        drop(memory);
        let shared = self.shared.memory.clone();
        let release = Box::new(move || {
            let mut memory = shared.lock().unwrap_or_else(PoisonError::into_inner);
            for index in indexes {
                if memory
                    .pending
                    .get(&index)
                    .is_some_and(|(by, _)| *by == append)
                {
                    memory.pending.remove(&index);
                }
            }
        });
        self.send(Operation::Write {
            changes,
            done: Done::Appended(callback, release),
        });
    }

    pub(super) async fn truncate_from(&self, index: u64) -> Result<(), StorageError> {
        if self.memory().last.is_none_or(|last| last.index() < index) {
            return Ok(());
        }
        let previous = match index.checked_sub(1) {
            None => None,
            Some(previous) => match self.entries(previous, previous)?.pop() {
                Some(entry) => Some(entry.log_id),
                None => self.memory().purged,
            },
        };
        {
            let mut memory = self.memory();
            memory.pending.split_off(&index);
            memory.last = previous;
        }
        self.write(vec![Change::TruncateFrom { index }]).await
    }

    pub(super) async fn purge(&self, through: LogId) -> Result<(), StorageError> {
        let record = format::write_position(&through);
        let index = through.index();
        self.write(vec![
            Change::State {
                name: PURGED,
                record,
            },
            Change::PurgeThrough { index },
        ])
        .await?;
        let mut memory = self.memory();
        memory.purged = memory.purged.max(Some(through));
        memory.last = memory.last.max(Some(through));
        Ok(())
    }

    /// The entries from `first` to `last`, both included, as far as the log has them.
    pub(super) fn entries(&self, first: u64, last: u64) -> Result<Vec<Entry>, StorageError> {
        // Pending entries first: one that is missing here has become durable before, so the file
        // read below, which starts later, has it.
        let (first, last, mut recent) = {
            let memory = self.memory();
            let Some(newest) = memory.last.map(|id| id.index()) else {
                return Ok(Vec::new());
            };
            let oldest = memory.purged.map_or(0, |id| id.index().saturating_add(1));
            let (first, last) = (first.max(oldest), last.min(newest));
            if first > last {
                return Ok(Vec::new());
            }
            let recent: Vec<Entry> = memory
                .pending
                .range(first..=last)
                .map(|(_, (_, entry))| entry.clone())
                .collect();
            (first, last, recent)
        };
        let entries = match recent.first().map(|entry| entry.log_id.index()) {
            Some(index) if index == first => recent,
            Some(index) => {
                let mut entries = self.shared.file.entries(first, index - 1)?;
                entries.append(&mut recent);
                entries
            }
            None => self.shared.file.entries(first, last)?,
        };
        let start = entries.first().map_or(first, |entry| entry.log_id.index());
        for (entry, expected) in entries.iter().zip(start..) {
            if entry.log_id.index() != expected {
                return Err(StorageError::Corrupt {
                    path: self.shared.file.path().to_owned(),
                    what: format!("log entry {expected} is missing"),
                });
            }
        }
        Ok(entries)
    }

    async fn write(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        let (sender, receiver) = oneshot::channel();
        self.send(Operation::Write {
            changes,
            done: Done::Answer(sender),
        });
        match receiver.await {
            Ok(result) => result,
            Err(_) => Err(StorageError::Disk {
                path: self.shared.file.path().to_owned(),
                action: "writing",
                cause: "the writer has ended".to_owned(),
            }),
        }
    }

    fn send(&self, operation: Operation) {
        // Fails only when the writer has panicked; then the answer's channel is closed and the
        // caller learns it there.
        if let Some(queue) = &self.shared.queue {
            let _ = queue.send(operation);
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.shared
            .memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the writer has been reported through `failure` or a closed channel.
            let _ = thread.join();
        }
    }
}
