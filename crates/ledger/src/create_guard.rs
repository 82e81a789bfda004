//! Decides whether a ledger may be created: only where there never was one.
//!
//! A relay that created a new ledger beside the spool of a lost one would forget which lines it has stored and delivered.
//! Its senders would ship all these lines again.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::{BatchState, FILE_NAME, LedgerError, WAL_EXTENSION};

/// What to do about a ledger that is lost or damaged. A `ledger.db` of a backup does not know what came to the spool since, so
/// it goes back with its spool only.
pub(crate) const REMEDY: &str = "make a new one from the spool with `logferry fsck --rebuild`, or, if the spool is gone too, \
    restore a whole backup with `logferry restore` (docs/trouble/ledger-lost.md)";

/// What to say of a ledger that is not there. `trace`: what shows that there was one.
pub(crate) fn missing_text(ledger: &Path, trace: Option<&Path>) -> String {
    let ledger = ledger.display();
    let Some(trace) = trace else {
        return format!(
            "ledger {ledger} does not exist, or is empty: start the relay once, or correct data_dir"
        );
    };
    format!(
        "ledger {ledger} is missing or empty, but there was one: {} exists. A new, empty ledger would make all senders ship \
         delivered lines again, so the relay makes none: {REMEDY}. To start from nothing, move the whole data folder away",
        trace.display()
    )
}

/// Whether the ledger's file is missing or blank: SQLite accepts an empty file, and one of a single byte, as a database
/// without tables. A file that cannot be looked at is not missing: who opens it is told why.
pub(crate) fn is_blank(ledger: &Path) -> bool {
    match fs::metadata(ledger) {
        Ok(file) => file.len() <= 1,
        Err(error) => matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

/// SQLite's write-ahead log beside the ledger, if it is not blank. Beside a blank ledger it proves that there was another
/// ledger. SQLite deletes the log when it opens the blank ledger.
pub(crate) fn log(data_dir: &Path) -> Option<PathBuf> {
    let log = data_dir.join(FILE_NAME).with_extension(WAL_EXTENSION);
    (!is_blank(&log)).then_some(log)
}

/// Any file of the spool. It proves that there was a ledger, which knew this file.
pub(crate) fn spool_file(data_dir: &Path) -> Result<Option<PathBuf>, LedgerError> {
    for state in BatchState::ALL {
        for source in entries(&data_dir.join(state.as_str()))? {
            if let Some(file) = entries(&source)?.into_iter().next() {
                return Ok(Some(file));
            }
        }
    }
    Ok(None)
}

/// The entries of a folder; empty if the path is not a folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, LedgerError> {
    let read =
        || -> io::Result<Vec<PathBuf>> { fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect() };
    match read() {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        read => read.map_err(|source| LedgerError::Spool {
            folder: folder.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests;
