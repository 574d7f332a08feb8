//! Exit codes shared by the programs, so that scripts can tell causes apart.

/// Everything went well.
pub const OK: u8 = 0;
/// The program failed while running.
pub const FAILURE: u8 = 1;
/// The command line, configuration or environment does not allow a start.
pub const USAGE: u8 = 2;
/// Checks were run and at least one failed.
pub const CHECKS_FAILED: u8 = 3;
/// Stored data is damaged, or was sealed under another key.
pub const CORRUPT: u8 = 10;
/// The disk refused to write (full, input/output error).
pub const DISK: u8 = 11;
/// The data belongs to another key server group or program.
pub const FOREIGN: u8 = 12;
/// Another process holds the data directory.
pub const LOCKED: u8 = 13;
