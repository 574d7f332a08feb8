//! Bit rot: this test replaces the panic hook, so it has a process of its own.

mod support;

use std::fs;

use keyserver::raft::types::Vote;
use keyserver::storage::StorageError;
use openraft::RaftLogReader;
use support::{filled, open};

/// Flips bits all over the file. Each copy must open with exactly the stored contents (the bit was
/// in a free page) or be refused; never open with less or something else.
#[tokio::test]
async fn a_flipped_bit_is_noticed_or_harmless() {
    let directory = tempfile::tempdir().expect("temporary directory");
    drop(filled(directory.path()).await);
    let file = directory.path().join("keyserver.redb");
    let good = fs::read(&file).expect("readable");
    // The panics of the database library over damaged pages are expected and caught.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut noticed, mut harmless) = (0, 0);
    let used = good
        .iter()
        .rposition(|octet| *octet != 0)
        .expect("not empty");
    let failed = |octet: usize, what: String| -> ! {
        let _ = std::panic::take_hook();
        panic!("octet {octet}: {what}")
    };
    for step in 0..1000 {
        let octet = (step * 7919) % used;
        let mut damaged = good.clone();
        damaged[octet] ^= 1 << (step % 8);
        fs::write(&file, &damaged).expect("written");
        match open(directory.path()) {
            Err(StorageError::Locked { .. } | StorageError::Environment { .. }) => {
                failed(octet, "another error than expected".to_owned());
            }
            Err(_) => noticed += 1,
            Ok(mut store) => {
                let entries = store.try_get_log_entries(0..100).await.expect("entries");
                let vote = store.read_vote().await.expect("vote");
                let data = store.snapshot().expect("readable").map(|(_, data)| data);
                if entries.len() != 17
                    || vote != Some(Vote::new_committed(3, 1))
                    || data.is_none_or(|data| data.as_slice() != b"the state")
                {
                    failed(octet, format!("{} entries, {vote:?}", entries.len()));
                }
                harmless += 1;
            }
        }
    }
    let _ = std::panic::take_hook();
    println!("noticed {noticed}, harmless {harmless}");
    assert!(noticed > 100);
}
