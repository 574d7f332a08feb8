//! The store against openraft's conformance suite, and against what disks and people do to files.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use keyserver::raft::state_machine::StateMachine;
use keyserver::raft::types::{Incarnation, Types, Vote};
use keyserver::storage::{SealingKey, StorageError, Store};
use openraft::RaftLogReader;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt};
use openraft::testing::log::{StoreBuilder, Suite};
use support::{Journal, entry, filled, log_id, open};

struct Builder;

impl StoreBuilder<Types, Store, StateMachine<Journal>, tempfile::TempDir> for Builder {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, Store, StateMachine<Journal>), openraft::StorageError<Types>>
    {
        let directory = tempfile::tempdir().expect("temporary directory");
        let store = open(directory.path()).expect("a fresh store opens");
        let machine = StateMachine::new(Journal::default(), store.clone());
        Ok((directory, store, machine))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_passes_the_consensus_library_s_conformance_suite() {
    Suite::test_all(Builder).await.expect("conformance suite");
}

fn file(directory: &Path) -> PathBuf {
    directory.join("keyserver.redb")
}

fn refused(result: Result<Store, StorageError>) -> StorageError {
    match result {
        Ok(_) => panic!("the store opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_restart_finds_exactly_what_was_acknowledged() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let store = filled(directory.path()).await;
    store.adopt(Incarnation([5; 16])).await.expect("adopted");
    let identity = store.identity();
    drop(store);

    let mut store = open(directory.path()).expect("opens again");
    assert_eq!(store.identity(), identity);
    assert_eq!(store.identity().incarnation, Some(Incarnation([5; 16])));
    assert_eq!(
        store.read_vote().await.expect("vote"),
        Some(Vote::new_committed(3, 1))
    );
    assert_eq!(
        store.read_committed().await.expect("committed"),
        Some(log_id(3, 17))
    );
    let state = store.get_log_state().await.expect("state");
    assert_eq!(state.last_purged_log_id, Some(log_id(3, 2)));
    assert_eq!(state.last_log_id, Some(log_id(3, 19)));
    let entries = store.try_get_log_entries(0..100).await.expect("entries");
    let expected: Vec<_> = (3..20)
        .map(|index| entry(3, index, &format!("command {index}")))
        .collect();
    assert_eq!(entries, expected);
    let (meta, data) = store.snapshot().expect("readable").expect("there is one");
    assert_eq!(meta.last_log_id, Some(log_id(3, 5)));
    assert_eq!(data.as_slice(), b"the state");
}

#[tokio::test]
async fn no_stored_secret_can_be_found_in_the_file() {
    let directory = tempfile::tempdir().expect("temporary directory");
    drop(filled(directory.path()).await);
    let octets = fs::read(file(directory.path())).expect("readable");
    for secret in [&b"command 7"[..], b"the state"] {
        assert!(!octets.windows(secret.len()).any(|window| window == secret));
    }
}

#[tokio::test]
async fn the_wrong_sealing_key_is_told_apart_from_damage() {
    let directory = tempfile::tempdir().expect("temporary directory");
    drop(filled(directory.path()).await);
    let error = refused(Store::open(directory.path(), SealingKey::new([1; 32])));
    assert!(
        matches!(error, StorageError::WrongSealingKey { .. }),
        "{error}"
    );
    assert_eq!(error.exit_code(), runtime::exit::CORRUPT);
    open(directory.path()).expect("the right key still opens it");
}

#[tokio::test]
async fn a_foreign_file_is_refused_and_left_as_it_was() {
    let directory = tempfile::tempdir().expect("temporary directory");
    for foreign in [
        b"SQLite format 3\0 and so on".repeat(400),
        Vec::new(),
        vec![0; 8192],
    ] {
        fs::write(file(directory.path()), &foreign).expect("written");
        let error = refused(open(directory.path()));
        assert!(matches!(error, StorageError::Foreign { .. }), "{error}");
        assert_eq!(error.exit_code(), runtime::exit::FOREIGN);
        assert_eq!(fs::read(file(directory.path())).expect("readable"), foreign);
    }
}

#[tokio::test]
async fn another_program_s_database_is_refused() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let table: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("prices");
    let database = redb::Database::create(file(directory.path())).expect("created");
    let transaction = database.begin_write().expect("begun");
    transaction
        .open_table(table)
        .expect("table")
        .insert("tea", 3)
        .expect("inserted");
    transaction.commit().expect("committed");
    drop(database);
    let error = refused(open(directory.path()));
    assert!(matches!(error, StorageError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn a_second_process_on_the_directory_is_refused() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let store = filled(directory.path()).await;
    let error = refused(open(directory.path()));
    assert!(matches!(error, StorageError::Locked { .. }), "{error}");
    assert!(error.to_string().contains(&std::process::id().to_string()));
    drop(store);
    open(directory.path()).expect("free again");
}

#[tokio::test]
async fn an_unfinished_creation_does_not_block_the_next_start() {
    let directory = tempfile::tempdir().expect("temporary directory");
    fs::write(directory.path().join("keyserver.redb.new"), b"half").expect("written");
    open(directory.path()).expect("a fresh store opens");
}

#[tokio::test]
async fn a_store_belongs_to_one_incarnation_for_ever() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let store = filled(directory.path()).await;
    store.adopt(Incarnation([5; 16])).await.expect("the first");
    store.adopt(Incarnation([5; 16])).await.expect("the same");
    let error = store
        .adopt(Incarnation([6; 16]))
        .await
        .expect_err("another");
    assert!(
        matches!(error, StorageError::ForeignIncarnation { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn appends_that_were_truncated_do_not_come_back() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut store = filled(directory.path()).await;
    store
        .truncate_after(Some(log_id(3, 10)))
        .await
        .expect("truncated");
    store
        .blocking_append([entry(4, 11, "new")])
        .await
        .expect("append");
    drop(store);
    let mut store = open(directory.path()).expect("opens again");
    let entries = store.try_get_log_entries(10..).await.expect("entries");
    assert_eq!(entries, [entry(3, 10, "command 10"), entry(4, 11, "new")]);
}
