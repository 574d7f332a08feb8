//! The one thread that writes the store.
//!
//! It takes operations in order, joins those that wait into one durable transaction, and reports
//! each only afterwards: vote, log, truncation and snapshot share one sequence and one sync point.
//! After the first failure nothing is written any more, because nothing proves what reached the
//! disk; every later operation gets the same error.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError, Sender, TryRecvError};

use openraft::storage::IOFlushed;
use tokio::sync::{oneshot, watch};
use zeroize::Zeroizing;

use super::database::{Change, StoreFile};
use super::error::StorageError;
use super::format::COMMITTED;
use crate::raft::types::Types;

const LARGEST_GROUP: usize = 64;

/// Who is told that an operation is durable.
pub(super) enum Done {
    /// openraft, about log entries up to the given sequence number of [`Pending`](super::store).
    Appended(IOFlushed<Types>, Box<dyn FnOnce() + Send>),
    /// A caller that waits.
    Answer(oneshot::Sender<Result<(), StorageError>>),
}

/// A request to the writer.
pub(super) enum Operation {
    /// Makes `changes` durable, then reports.
    Write { changes: Vec<Change>, done: Done },
    /// Remembers the committed position; it goes to disk with the next write or at the end.
    Committed(Zeroizing<Vec<u8>>),
}

/// A running writer; it ends when `queue` is dropped.
pub(super) struct Running {
    /// Takes operations.
    pub(super) queue: Sender<Operation>,
    /// Tells the first failure.
    pub(super) failure: watch::Receiver<Option<StorageError>>,
    /// The thread.
    pub(super) thread: std::thread::JoinHandle<()>,
}

/// Starts the writer of `file`.
pub(super) fn start(file: Arc<StoreFile>) -> std::io::Result<Running> {
    let (queue, receiver) = std::sync::mpsc::channel();
    let (failure_sender, failure) = watch::channel(None);
    let thread = std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(move || Writer::new(file, failure_sender).run(&receiver))?;
    Ok(Running {
        queue,
        failure,
        thread,
    })
}

struct Writer {
    file: Arc<StoreFile>,
    committed: Option<Zeroizing<Vec<u8>>>,
    failure: watch::Sender<Option<StorageError>>,
}

impl Writer {
    fn new(file: Arc<StoreFile>, failure: watch::Sender<Option<StorageError>>) -> Self {
        Self {
            file,
            committed: None,
            failure,
        }
    }

    fn run(mut self, operations: &Receiver<Operation>) {
        loop {
            let mut ended = false;
            let mut changes = Vec::new();
            let mut waiting = Vec::new();
            match operations.recv() {
                Ok(operation) => self.gather(operation, &mut changes, &mut waiting),
                Err(RecvError) => ended = true,
            }
            while !ended && waiting.len() < LARGEST_GROUP {
                match operations.try_recv() {
                    Ok(operation) => self.gather(operation, &mut changes, &mut waiting),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            if !waiting.is_empty() || ended {
                self.commit(changes, waiting);
            }
            if ended {
                return;
            }
        }
    }

    fn gather(&mut self, operation: Operation, changes: &mut Vec<Change>, waiting: &mut Vec<Done>) {
        match operation {
            Operation::Write {
                changes: more,
                done,
            } => {
                changes.extend(more);
                waiting.push(done);
            }
            Operation::Committed(record) => self.committed = Some(record),
        }
    }

    fn commit(&mut self, mut changes: Vec<Change>, waiting: Vec<Done>) {
        if let Some(record) = self.committed.take() {
            changes.push(Change::State {
                name: COMMITTED,
                record,
            });
        }
        let failed = self.failure.borrow().clone();
        let result = match failed {
            Some(error) => Err(error),
            None if changes.is_empty() => Ok(()),
            None => self.file.commit(&changes).inspect_err(|error| {
                tracing::error!(%error, "the store cannot go on");
                self.failure.send_replace(Some(error.clone()));
            }),
        };
        for done in waiting {
            match done {
                Done::Appended(callback, release) => {
                    if result.is_ok() {
                        release();
                    }
                    callback.io_completed(result.clone().map_err(Into::into));
                }
                // A caller that no longer waits needs no answer.
                Done::Answer(sender) => drop(sender.send(result.clone())),
            }
        }
    }
}
