//! The file under the store: opening with every check, and writing several changes as one durable
//! transaction.

use std::path::{Path, PathBuf};

use redb::{Database, Durability, ReadableDatabase, ReadableTable};
use zeroize::Zeroizing;

use super::error::StorageError;
use super::fault::{classify, disk, guarded};
use super::format::{self, DATA, HEADER, Identity, LOG, META, SNAPSHOT, STATE};
use super::lock::DirectoryLock;
use super::opening::{create, open_database, read_header, write_header};
use super::sealing::SealingKey;
use crate::raft::types::{Entry, LogId, SnapshotMeta, SnapshotOctets, Vote};

const NAME: &str = "keyserver.redb";

/// One change of the store.
pub(super) enum Change {
    /// Adds or replaces the entry at `index`.
    Entry {
        index: u64,
        record: Zeroizing<Vec<u8>>,
    },
    /// Sets a named record of the state table.
    State {
        name: &'static str,
        record: Zeroizing<Vec<u8>>,
    },
    /// Removes the entries from `index` on.
    TruncateFrom { index: u64 },
    /// Removes the entries up to and with `index`.
    PurgeThrough { index: u64 },
    /// Replaces the snapshot.
    Snapshot {
        meta: Zeroizing<Vec<u8>>,
        data: SnapshotOctets,
    },
    /// Replaces the header.
    Identity(Identity),
}

/// What the store held when it was opened.
#[derive(Debug, Default)]
pub(super) struct Recovered {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
}

/// An open, verified store file.
pub(super) struct StoreFile {
    database: Database,
    sealing: SealingKey,
    path: PathBuf,
    identity: Identity,
    _lock: DirectoryLock,
}

impl StoreFile {
    /// Opens the store of `directory`, making one with a fresh node identity when there is none.
    pub(super) fn open(
        directory: &Path,
        sealing: SealingKey,
    ) -> Result<(Self, Recovered), StorageError> {
        std::fs::create_dir_all(directory).map_err(|error| StorageError::Environment {
            path: directory.to_owned(),
            action: "create the data directory",
            cause: error.to_string(),
        })?;
        let lock = DirectoryLock::take(directory)?;
        let path = directory.join(NAME);
        if !path
            .try_exists()
            .map_err(|error| disk(&path, "looking for the store", &error))?
        {
            create(directory, &path, &sealing)?;
        }
        if std::fs::metadata(&path).is_ok_and(|data| data.len() == 0) {
            return Err(StorageError::Foreign {
                path,
                what: "the file is empty".to_owned(),
            });
        }
        let database = open_database(&path)?;
        let header = read_header(&database, &path, &sealing)?;
        let file = Self {
            database,
            sealing,
            path,
            identity: header.identity,
            _lock: lock,
        };
        let recovered = guarded(&file.path, || file.verify())?;
        Ok((file, recovered))
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes all `changes` durable, or none of them.
    pub(super) fn commit(&self, changes: &[Change]) -> Result<(), StorageError> {
        guarded(&self.path, || {
            self.write(changes)
                .map_err(|error| classify(&self.path, "writing", error))
        })
    }

    /// The entries with an index from `first` to `last`, both included, without holes.
    pub(super) fn entries(&self, first: u64, last: u64) -> Result<Vec<Entry>, StorageError> {
        guarded(&self.path, || {
            let read = |error: redb::Error| classify(&self.path, "reading the log", error);
            let transaction = self
                .database
                .begin_read()
                .map_err(|error| read(error.into()))?;
            let table = transaction
                .open_table(LOG)
                .map_err(|error| read(error.into()))?;
            let mut entries = Vec::new();
            for row in table
                .range(first..=last)
                .map_err(|error| read(error.into()))?
            {
                let (index, record) = row.map_err(|error| read(error.into()))?;
                entries.push(self.entry(index.value(), record.value())?);
            }
            Ok(entries)
        })
    }

    /// The newest snapshot.
    pub(super) fn snapshot(&self) -> Result<Option<(SnapshotMeta, SnapshotOctets)>, StorageError> {
        guarded(&self.path, || {
            let read = |error: redb::Error| classify(&self.path, "reading the snapshot", error);
            let transaction = self
                .database
                .begin_read()
                .map_err(|error| read(error.into()))?;
            let table = transaction
                .open_table(SNAPSHOT)
                .map_err(|error| read(error.into()))?;
            let Some(meta) = table.get(META).map_err(|error| read(error.into()))? else {
                return Ok(None);
            };
            let data = table
                .get(DATA)
                .map_err(|error| read(error.into()))?
                .ok_or_else(|| self.corrupt("the snapshot has no contents"))?;
            let meta = self.open_record("snapshot", META.as_bytes(), meta.value())?;
            let meta = format::parse_meta(&meta).map_err(|error| self.corrupt(error))?;
            let mut data = self.open_record("snapshot", DATA.as_bytes(), data.value())?;
            Ok(Some((
                meta,
                SnapshotOctets::new(std::mem::take(&mut *data)),
            )))
        })
    }

    fn write(&self, changes: &[Change]) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        // Two phases, so that the primary slot is never one that a crash left half written: a
        // checksum error after a crash is damage and never silently an older state.
        transaction.set_quick_repair(true);
        {
            let mut log = transaction.open_table(LOG)?;
            let mut state = transaction.open_table(STATE)?;
            for change in changes {
                match change {
                    Change::Entry { index, record } => {
                        let sealed = self.seal_record("log", &index.to_be_bytes(), record);
                        log.insert(index, sealed.as_slice())?;
                    }
                    Change::State { name, record } => {
                        let sealed = self.seal_record("state", name.as_bytes(), record);
                        state.insert(name, sealed.as_slice())?;
                    }
                    Change::TruncateFrom { index } => log.retain_in(*index.., |_, _| false)?,
                    Change::PurgeThrough { index } => log.retain_in(..=*index, |_, _| false)?,
                    Change::Snapshot { meta, data } => {
                        let mut snapshot = transaction.open_table(SNAPSHOT)?;
                        let sealed = self.seal_record("snapshot", META.as_bytes(), meta);
                        snapshot.insert(META, sealed.as_slice())?;
                        let sealed = self.seal_record("snapshot", DATA.as_bytes(), data.as_slice());
                        snapshot.insert(DATA, sealed.as_slice())?;
                    }
                    Change::Identity(identity) => {
                        write_header(
                            &mut transaction.open_table(HEADER)?,
                            identity,
                            &self.sealing,
                        )?;
                    }
                }
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Opens every record once and checks that the log has no hole.
    fn verify(&self) -> Result<Recovered, StorageError> {
        let read = |error: redb::Error| classify(&self.path, "checking the store", error);
        let transaction = self
            .database
            .begin_read()
            .map_err(|error| read(error.into()))?;
        let state = transaction
            .open_table(STATE)
            .map_err(|error| read(error.into()))?;
        let record = |name: &'static str| -> Result<Option<Zeroizing<Vec<u8>>>, StorageError> {
            match state.get(name).map_err(|error| read(error.into()))? {
                None => Ok(None),
                Some(sealed) => self
                    .open_record("state", name.as_bytes(), sealed.value())
                    .map(Some),
            }
        };
        let position = |name| -> Result<Option<LogId>, StorageError> {
            record(name)?
                .map(|octets| format::parse_position(&octets).map_err(|error| self.corrupt(error)))
                .transpose()
        };
        let mut recovered = Recovered {
            vote: record(format::VOTE)?
                .map(|octets| format::parse_vote(&octets).map_err(|error| self.corrupt(error)))
                .transpose()?,
            committed: position(format::COMMITTED)?,
            purged: position(format::PURGED)?,
            last: None,
        };
        recovered.last = recovered.purged;
        let log = transaction
            .open_table(LOG)
            .map_err(|error| read(error.into()))?;
        for row in log.iter().map_err(|error| read(error.into()))? {
            let (index, sealed) = row.map_err(|error| read(error.into()))?;
            let entry = self.entry(index.value(), sealed.value())?;
            let expected = recovered
                .last
                .map_or(index.value(), |last| last.index().saturating_add(1));
            if index.value() != expected {
                return Err(self.corrupt(format!(
                    "log entry {expected} is missing before entry {}",
                    index.value()
                )));
            }
            recovered.last = Some(entry.log_id);
        }
        drop((log, state, transaction));
        self.snapshot()?;
        Ok(recovered)
    }

    fn entry(&self, index: u64, sealed: &[u8]) -> Result<Entry, StorageError> {
        let record = self.open_record("log", &index.to_be_bytes(), sealed)?;
        let entry = format::parse_entry(&record).map_err(|error| self.corrupt(error))?;
        if entry.log_id.index() == index {
            Ok(entry)
        } else {
            Err(self.corrupt(format!("log entry {index} says it is another")))
        }
    }

    fn seal_record(&self, table: &str, key: &[u8], plain: &[u8]) -> Vec<u8> {
        self.sealing
            .seal(&format::context(self.identity.node_id, table, key), plain)
    }

    fn open_record(
        &self,
        table: &str,
        key: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, StorageError> {
        self.sealing
            .open(&format::context(self.identity.node_id, table, key), sealed)
            .map_err(|_| {
                let key = std::str::from_utf8(key).map_or_else(|_| hex::encode(key), str::to_owned);
                self.corrupt(format!(
                    "record {key} of table {table} does not authenticate"
                ))
            })
    }

    fn corrupt(&self, what: impl ToString) -> StorageError {
        StorageError::Corrupt {
            path: self.path.clone(),
            what: what.to_string(),
        }
    }
}
