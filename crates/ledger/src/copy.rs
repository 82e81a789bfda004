//! Copies of the ledger: for a backup, and the note in a ledger that was restored from one.

use std::path::Path;

use jiff::Timestamp;

use crate::row::{self, millis};
use crate::{Ledger, LedgerError};

/// A restore of this ledger. What it got between the two times is not in it, unless senders shipped it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreRecord {
    /// When the backup was made.
    pub backup_at: Timestamp,
    /// When it was restored.
    pub restored_at: Timestamp,
}

impl Ledger {
    /// Writes the ledger as it is at one moment to a new file. Other roles write on meanwhile; their write-ahead log grows until
    /// the copy is done. The caller syncs the file: SQLite does not (<https://sqlite.org/lang_vacuum.html>).
    pub fn copy_to(&self, file: &Path) -> Result<(), LedgerError> {
        let name = file.display().to_string();
        let gives_back = self.file_use()?.gives_back;
        self.read("copy it", |sql| {
            if !gives_back {
                // Of this file it changes nothing, but the copy will give free pages back.
                sql.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            }
            sql.execute("VACUUM INTO ?1", [name]).map(drop)
        })
    }

    /// Notes that this ledger is the copy of a backup.
    pub fn note_restore(&mut self, backup_at: Timestamp, restored_at: Timestamp) -> Result<(), LedgerError> {
        let change = "INSERT OR REPLACE INTO restores (restored_at, backup_at) VALUES (?1, ?2)";
        self.execute("note a restore", change, (millis(restored_at), millis(backup_at)))
    }

    /// The restores of this ledger, the oldest first.
    pub fn restores(&self) -> Result<Vec<RestoreRecord>, LedgerError> {
        let query = "SELECT backup_at, restored_at FROM restores ORDER BY restored_at";
        self.list("list its restores", query, [], |row| {
            Ok(RestoreRecord {
                backup_at: row::time(row, "backup_at")?,
                restored_at: row::time(row, "restored_at")?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{TestResult, ledger, now};

    #[test]
    fn copy_has_what_the_ledger_had_and_says_that_it_was_restored() -> TestResult {
        let (_dir, ledger) = ledger()?;
        let folder = tempfile::tempdir()?;
        ledger.copy_to(&folder.path().join(crate::FILE_NAME))?;
        let mut copy = Ledger::open(folder.path())?;
        assert_eq!(copy.id()?, ledger.id()?);
        assert_eq!(copy.restores()?, []);
        let record = RestoreRecord {
            backup_at: now(),
            restored_at: now(),
        };
        copy.note_restore(record.backup_at, record.restored_at)?;
        assert_eq!(copy.restores()?, [record]);
        assert!(ledger.restores()?.is_empty());
        Ok(())
    }
}
