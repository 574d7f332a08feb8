//! The file under the store: opening with every check, and writing several changes as one durable
//! transaction.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{Database, Durability, ReadableDatabase, ReadableTable};
use zeroize::Zeroizing;

use super::error::StorageError;
use super::format::{
    self, DATA, FORMAT, HEADER, Header, HeaderError, Identity, LOG, META, PLAIN, SEALED, SNAPSHOT,
    STATE,
};
use super::lock::DirectoryLock;
use super::sealing::SealingKey;
use crate::raft::types::{Entry, LogId, SnapshotMeta, SnapshotOctets, Vote};

const NAME: &str = "keyserver.redb";
const CACHE_OCTETS: usize = 16 << 20;

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

/// Makes a store under a temporary name and moves it into place, so that a crash in between never
/// leaves a file that looks foreign.
fn create(directory: &Path, path: &Path, sealing: &SealingKey) -> Result<(), StorageError> {
    let temporary = directory.join(format!("{NAME}.new"));
    let environment = |action| {
        let path = temporary.clone();
        move |error: io::Error| StorageError::Environment {
            path,
            action,
            cause: error.to_string(),
        }
    };
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(environment("remove an unfinished store")(error));
        }
        _ => {}
    }
    let identity = Identity {
        node_id: u64::from_be_bytes(runtime::entropy::bytes()).max(1),
        incarnation: None,
    };
    let fill = || -> Result<(), redb::Error> {
        let database = builder().create(&temporary)?;
        let mut transaction = database.begin_write()?;
        transaction.set_quick_repair(true);
        write_header(&mut transaction.open_table(HEADER)?, &identity, sealing)?;
        transaction.open_table(LOG)?;
        transaction.open_table(STATE)?;
        transaction.open_table(SNAPSHOT)?;
        transaction.commit()?;
        database.close()?;
        Ok(())
    };
    guarded(&temporary, || {
        fill().map_err(|error| classify(&temporary, "creating the store", error))
    })?;
    std::fs::rename(&temporary, path).map_err(environment("move the new store into place"))?;
    std::fs::File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| disk(directory, "syncing the data directory", &error))
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder
        .set_cache_size(CACHE_OCTETS)
        .set_check_integrity_on_open(true);
    builder
}

fn open_database(path: &Path) -> Result<Database, StorageError> {
    guarded(path, || {
        builder().open(path).map_err(|error| match error {
            redb::DatabaseError::Storage(redb::StorageError::Io(error))
                if error.kind() == io::ErrorKind::InvalidData =>
            {
                StorageError::Foreign {
                    path: path.to_owned(),
                    what: error.to_string(),
                }
            }
            redb::DatabaseError::DatabaseAlreadyOpen => StorageError::Locked {
                path: path.to_owned(),
                holder: "(unknown)".to_owned(),
            },
            other => classify(path, "opening the store", other.into()),
        })
    })
}

fn read_header(
    database: &Database,
    path: &Path,
    sealing: &SealingKey,
) -> Result<Header, StorageError> {
    guarded(path, || {
        let read = |error: redb::Error| match error {
            redb::Error::TableDoesNotExist(_) | redb::Error::TableTypeMismatch { .. } => {
                foreign(path, "a redb file without a key server's header")
            }
            other => classify(path, "reading the header", other),
        };
        let transaction = database.begin_read().map_err(|error| read(error.into()))?;
        let table = transaction
            .open_table(HEADER)
            .map_err(|error| read(error.into()))?;
        let plain = table
            .get(PLAIN)
            .map_err(|error| read(error.into()))?
            .ok_or_else(|| foreign(path, "a redb file without a key server's header"))?;
        let header = Header::parse(plain.value()).map_err(|error| match error {
            HeaderError::Foreign => foreign(path, "the header has another signature"),
            HeaderError::Newer(found) => StorageError::NewerFormat {
                path: path.to_owned(),
                found,
                known: FORMAT,
            },
            HeaderError::Damaged => corrupt(path, "the header fails its checksum"),
        })?;
        if header.sealing_key != sealing.id() {
            return Err(StorageError::WrongSealingKey {
                path: path.to_owned(),
                sealed_under: hex::encode(header.sealing_key),
                given: hex::encode(sealing.id()),
            });
        }
        let sealed = table
            .get(SEALED)
            .map_err(|error| read(error.into()))?
            .ok_or_else(|| corrupt(path, "the sealed header is missing"))?;
        let context = format::context(header.identity.node_id, "header", SEALED.as_bytes());
        match sealing.open(&context, sealed.value()) {
            Ok(copy) if copy.as_slice() == plain.value() => Ok(header),
            _ => Err(corrupt(path, "the header differs from its sealed copy")),
        }
    })
}

fn write_header(
    table: &mut redb::Table<'_, &str, &[u8]>,
    identity: &Identity,
    sealing: &SealingKey,
) -> Result<(), redb::StorageError> {
    let plain = Header {
        identity: *identity,
        sealing_key: sealing.id(),
    }
    .write();
    let context = format::context(identity.node_id, "header", SEALED.as_bytes());
    table.insert(PLAIN, plain.as_slice())?;
    table.insert(SEALED, sealing.seal(&context, &plain).as_slice())?;
    Ok(())
}

/// Runs `act` and turns a panic of the database library over damaged pages into an error.
fn guarded<T>(
    path: &Path,
    act: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| Err(corrupt(path, &words(&*panic))))
}

fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "unreadable structure".to_owned())
}

fn foreign(path: &Path, what: &str) -> StorageError {
    StorageError::Foreign {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

fn corrupt(path: &Path, what: &str) -> StorageError {
    StorageError::Corrupt {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

fn disk(path: &Path, action: &'static str, error: &io::Error) -> StorageError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::DiskFull {
            path: path.to_owned(),
            cause: error.to_string(),
        },
        _ => StorageError::Disk {
            path: path.to_owned(),
            action,
            cause: error.to_string(),
        },
    }
}

fn classify(path: &Path, action: &'static str, error: redb::Error) -> StorageError {
    match error {
        redb::Error::Io(error) => disk(path, action, &error),
        redb::Error::Corrupted(what) => corrupt(path, &what),
        redb::Error::TableDoesNotExist(table) => {
            corrupt(path, &format!("table {table} is missing"))
        }
        other => StorageError::Disk {
            path: path.to_owned(),
            action,
            cause: other.to_string(),
        },
    }
}
