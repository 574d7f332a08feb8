//! What a key server keeps on disk: one crash-safe file, every record sealed.
//!
//! An error of the disk, a record that does not authenticate, a foreign file or a wrong sealing key
//! stops the process with its own message and exit code. It never starts empty instead.

mod database;
mod error;
mod fault;
mod format;
mod lock;
mod log_store;
mod opening;
mod sealing;
mod store;
mod writer;

pub use error::StorageError;
pub use format::{FORMAT, Identity};
pub use sealing::{OpenError, SealingKey, SealingKeyId};
pub use store::Store;
