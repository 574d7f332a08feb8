//! Making, recognising and opening the file under the store.

use std::io;
use std::path::Path;

use redb::{Database, ReadableDatabase};

use super::error::StorageError;
use super::fault::{classify, corrupt, disk, foreign, guarded};
use super::format::{
    self, FORMAT, HEADER, Header, HeaderError, Identity, LOG, PLAIN, SEALED, SNAPSHOT, STATE,
};
use super::sealing::SealingKey;

const CACHE_OCTETS: usize = 16 << 20;

/// Makes a store under a temporary name and moves it into place, so that a crash in between never
/// leaves a file that looks foreign.
pub(super) fn create(
    directory: &Path,
    path: &Path,
    sealing: &SealingKey,
) -> Result<(), StorageError> {
    let temporary = path.with_extension("redb.new");
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

pub(super) fn open_database(path: &Path) -> Result<Database, StorageError> {
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

pub(super) fn read_header(
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
            HeaderError::Older(found) => foreign(
                path,
                &format!("a store in format {found}, which only an unreleased version wrote"),
            ),
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

pub(super) fn write_header(
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
