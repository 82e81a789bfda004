//! Whether a ledger may be begun: only where there never was one.
//!
//! A relay that began a new ledger beside the spool of a lost one would forget what it has taken and delivered, and its
//! senders would ship all of that again.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::{BatchState, FILE_NAME, LedgerError};

/// Whether the ledger's file is not there, or holds nothing: SQLite takes an empty file, and one of a single byte, for a
/// database without tables.
pub(crate) fn is_blank(ledger: &Path) -> bool {
    fs::metadata(ledger).map_or(true, |file| file.len() <= 1)
}

/// The log that SQLite keeps beside the ledger, if something is in it. Beside a blank ledger it shows that there was
/// another; SQLite deletes it when it opens the blank one.
pub(crate) fn log(data_dir: &Path) -> Option<PathBuf> {
    let log = data_dir.join(FILE_NAME).with_extension("db-wal");
    (!is_blank(&log)).then_some(log)
}

/// A file of the spool, if there is one: then there was a ledger, which knew it.
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

/// What is in a folder; nothing in what is none.
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
