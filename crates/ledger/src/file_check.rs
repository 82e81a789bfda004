//! Looking for damage in the ledger's file.
//!
//! SQLite finds damage in a page when it reads the page. That may be late: the relay would go on for days with rows of
//! batches that cannot be read any more. So the relay has the file read when it starts. SQLite reads some 200 MB a second.

use crate::{Ledger, LedgerError};

/// A file of at most so many bytes is read before the relay accepts lines.
pub(crate) const WHOLE_AT_START_MAX: u64 = 32 << 20;

/// SQLite's short check (<https://sqlite.org/pragma.html#pragma_quick_check>), of the tables that say how far streams are
/// durable. With wrong rows there, the relay would accept lines twice, or not at all. They are small.
const STREAM_CHECKS: [&str; 4] = [
    "PRAGMA quick_check(sources)",
    "PRAGMA quick_check(streams)",
    "PRAGMA quick_check(senders)",
    "PRAGMA quick_check(uploads)",
];

impl Ledger {
    /// Checks the file if it has at most `whole_max` bytes, otherwise what says how far streams are durable.
    pub(crate) fn check_at_start(&self, whole_max: u64) -> Result<(), LedgerError> {
        if self.file_bytes()? <= whole_max {
            return self.check_file();
        }
        STREAM_CHECKS
            .into_iter()
            .try_for_each(|check| self.quick_check(check))
    }

    /// Whether the file is so large that [`Self::open_or_create`] has checked only a part of it.
    pub fn is_partly_checked(&self) -> Result<bool, LedgerError> {
        Ok(self.file_bytes()? > WHOLE_AT_START_MAX)
    }

    /// Checks the whole file: [`LedgerError::Damaged`] if there is a fault. Other connections may write meanwhile.
    pub fn check_file(&self) -> Result<(), LedgerError> {
        self.quick_check("PRAGMA quick_check(1)")
    }

    /// Lets SQLite check the whole file, the contents of its indices too. Returns one line for each fault.
    pub fn integrity(&self) -> Result<Vec<String>, LedgerError> {
        self.faults("PRAGMA integrity_check")
    }

    fn quick_check(&self, pragma: &'static str) -> Result<(), LedgerError> {
        match self.faults(pragma)?.pop() {
            None => Ok(()),
            Some(detail) => Err(LedgerError::Damaged {
                path: self.path.clone(),
                detail,
            }),
        }
    }

    fn faults(&self, pragma: &'static str) -> Result<Vec<String>, LedgerError> {
        let mut faults: Vec<String> = self.list("check its file", pragma, [], |row| row.get(0))?;
        faults.retain(|line| line != "ok");
        Ok(faults)
    }

    /// Size of the database in bytes, what the write-ahead log adds included.
    fn file_bytes(&self) -> Result<u64, LedgerError> {
        let query = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
        let bytes: Option<u64> = self.find("find its size", query, [], |row| row.get(0))?;
        Ok(bytes.unwrap_or(0))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests damage files")]
mod tests {
    use std::error::Error;
    use std::fs;

    use super::*;
    use crate::FILE_NAME;
    use crate::tests::ledger;

    const PAGE: usize = 4096;

    /// Overwrites the first page of a table.
    fn damage(ledger: &Ledger, table: &str) -> Result<(), Box<dyn Error>> {
        let root: usize = ledger.connection.query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?1",
            [table],
            |row| row.get(0),
        )?;
        ledger
            .connection
            .pragma_update(None, "wal_checkpoint", "TRUNCATE")?;
        let mut file = fs::read(ledger.path())?;
        file[(root - 1) * PAGE..root * PAGE].fill(0x5a);
        Ok(fs::write(ledger.path(), file)?)
    }

    fn is_damaged(result: &Result<(), LedgerError>) -> bool {
        matches!(result, Err(LedgerError::Damaged { .. }))
    }

    #[test]
    fn large_ledger_starts_with_damage_in_its_batches_and_not_in_its_streams() -> Result<(), Box<dyn Error>> {
        for (table, is_found_at_start) in [("batches", false), ("deliveries", false), ("streams", true)] {
            let (dir, first) = ledger()?;
            damage(&first, table)?;
            drop(first);
            let opened = Ledger::open(dir.path())?;
            assert_eq!(
                is_damaged(&opened.check_at_start(0)),
                is_found_at_start,
                "{table}"
            );
            assert!(is_damaged(&opened.check_file()), "{table}");
            assert!(is_damaged(&opened.check_at_start(1 << 30)), "{table}");
            assert!(dir.path().join(FILE_NAME).exists());
        }
        Ok(())
    }
}
