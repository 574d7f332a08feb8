//! A full disk, on a small memory file system in a mount namespace of its own. Needs root.

mod support;

use std::path::Path;

use keyserver::storage::StorageError;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorageExt;
use support::{entry, open};

fn mount_memory(directory: &Path, flags: MsFlags, size: &str) {
    let options = format!("size={size}");
    mount(
        Some("memory"),
        directory,
        Some("tmpfs"),
        flags,
        Some(options.as_str()),
    )
    .expect("a memory file system can be mounted; run this test as root");
}

#[test]
fn a_full_disk_stops_the_store_with_its_name_and_loses_nothing() {
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace can be made; run this test as root");
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .expect("mounts stay in this namespace");
    let directory = tempfile::tempdir().expect("temporary directory");
    mount_memory(directory.path(), MsFlags::empty(), "4m");
    let executor = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("runtime");
    executor.block_on(async {
        let mut store = open(directory.path()).expect("room enough for a fresh store");
        let large = "x".repeat(50_000);
        let mut acknowledged = 0;
        while store
            .blocking_append([entry(1, acknowledged, &large)])
            .await
            .is_ok()
        {
            acknowledged += 1;
            assert!(acknowledged < 1000, "4 MiB cannot hold this");
        }
        let failure = store.failure().borrow().clone();
        assert!(
            matches!(failure, Some(StorageError::DiskFull { .. })),
            "{failure:?}"
        );
        assert_eq!(
            failure.map(|error| error.exit_code()),
            Some(runtime::exit::DISK)
        );
        drop(store);
        assert!(acknowledged > 5);

        mount_memory(directory.path(), MsFlags::MS_REMOUNT, "64m");
        let mut store = open(directory.path()).expect("opens when there is room again");
        let entries = store
            .try_get_log_entries(0..acknowledged)
            .await
            .expect("entries");
        assert_eq!(entries.len() as u64, acknowledged);
        store
            .blocking_append([entry(1, acknowledged, &large)])
            .await
            .expect("goes on");
    });
}
