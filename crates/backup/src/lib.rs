//! A backup of the relay host's ledger and spool while every role runs, and its restore.
//!
//! The order makes a backup consistent. First the ledger is copied as it is at one moment. Then each batch that the copy
//! names is saved. Every such batch has its bytes in the backup:
//! - The relay syncs a batch's file before it commits the length to the ledger, so the file holds at least the bytes that
//!   the copied ledger names. An open file may be longer by now; only the named bytes are saved.
//! - The bytes of a sealed batch never change. Its file may be moved by the forwarder meanwhile; then it is found in its new
//!   folder. The backup puts it where the copied ledger says it is.
//! - Only the housekeeper removes a file, and it does not run: the backup holds its lock.
//!
//! Invariants:
//! - Nothing in the data folder is changed.
//! - `backup.json` is written last. A folder without it is no backup, and is not restored.
//! - `ledger.db` is the last file that a restore gives its name. Before that the relay refuses to start there.
//!
//! `make` makes a backup, `restore` restores one, `manifest` is `backup.json`, `file_copy` copies a file.

mod error;
mod file_copy;
mod make;
mod manifest;
mod restore;
#[cfg(test)]
mod tests;

pub use error::BackupError;
pub use make::{BackupReport, BatchFault, make, refuse_inside};
pub use manifest::BackupManifest;
pub use restore::{RestoreReport, restore};
