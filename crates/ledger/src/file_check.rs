//! Looking for damage in the ledger's file.
//!
//! SQLite finds damage in a page when it reads the page. That may be late: the relay would go on for days with rows of
//! batches that cannot be read any more. So the relay has the file read when it starts. SQLite reads some 200 MB a second.

use rusqlite::Params;

use crate::{Ledger, LedgerError};

/// A file of at most so many bytes is read before the relay accepts lines.
pub(crate) const WHOLE_AT_START_MAX: u64 = 32 << 20;

/// The tables that say how far streams are durable. With wrong rows there, the relay would accept lines twice, or not at all.
/// `streams` has a row of some 360 bytes for each log file that was ever shipped. None is deleted.
const STREAM_TABLES: [&str; 4] = ["sources", "streams", "senders", "uploads"];

/// The table of tables. With it, SQLite checks the list of free pages.
const SCHEMA_TABLE: &str = "sqlite_schema";

impl Ledger {
    /// Checks the file if it has at most `whole_max` bytes, otherwise what says how far streams are durable.
    pub(crate) fn check_at_start(&self, whole_max: u64) -> Result<(), LedgerError> {
        if self.file_use()?.bytes <= whole_max {
            return self.check_file(|| true);
        }
        STREAM_TABLES
            .into_iter()
            .try_for_each(|table| self.check_table(table))
    }

    /// Whether the file is so large that [`Self::open_or_create`] has checked only a part of it.
    pub fn is_partly_checked(&self) -> Result<bool, LedgerError> {
        Ok(self.file_use()?.bytes > WHOLE_AT_START_MAX)
    }

    /// Checks the whole file, one table with its indices after the other: [`LedgerError::Damaged`] if there is a fault. Other
    /// connections may write meanwhile. As long as a table is read, SQLite cannot start its write-ahead log over, which grows.
    /// So before each table it is asked whether to go on: a wait there lets the log start over.
    pub fn check_file(&self, mut may_go_on: impl FnMut() -> bool) -> Result<(), LedgerError> {
        let query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 ORDER BY rootpage";
        let tables: Vec<String> = self.list("list its tables", query, [], |row| row.get(0))?;
        let tables = std::iter::once(SCHEMA_TABLE).chain(tables.iter().map(String::as_str));
        tables
            .take_while(|_| may_go_on())
            .try_for_each(|table| self.check_table(table))
    }

    /// Lets SQLite check the whole file, the contents of its indices too. Returns one line for each fault.
    pub fn integrity(&self) -> Result<Vec<String>, LedgerError> {
        self.faults("SELECT * FROM pragma_integrity_check()", [])
    }

    /// SQLite's short check (<https://sqlite.org/pragma.html#pragma_quick_check>) of a table and its indices.
    fn check_table(&self, table: &str) -> Result<(), LedgerError> {
        match self
            .faults("SELECT * FROM pragma_quick_check(?1)", [table])?
            .pop()
        {
            None => Ok(()),
            Some(detail) => Err(LedgerError::Damaged {
                path: self.path.clone(),
                detail,
            }),
        }
    }

    fn faults(&self, query: &'static str, params: impl Params) -> Result<Vec<String>, LedgerError> {
        let mut faults: Vec<String> = self.list("check its file", query, params, |row| row.get(0))?;
        faults.retain(|line| line != "ok");
        Ok(faults)
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

    /// Overwrites a page of the file.
    fn damage_page(ledger: &Ledger, page: usize) -> Result<(), Box<dyn Error>> {
        ledger
            .connection
            .pragma_update(None, "wal_checkpoint", "TRUNCATE")?;
        let mut file = fs::read(ledger.path())?;
        file[(page - 1) * PAGE..page * PAGE].fill(0x5a);
        Ok(fs::write(ledger.path(), file)?)
    }

    /// Overwrites the first page of a table.
    fn damage(ledger: &Ledger, table: &str) -> Result<(), Box<dyn Error>> {
        let query = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let root = ledger.connection.query_row(query, [table], |row| row.get(0))?;
        damage_page(ledger, root)
    }

    /// A ledger in which tables and indices have several pages, and some pages are free.
    fn full_ledger() -> Result<(tempfile::TempDir, Ledger), Box<dyn Error>> {
        let (dir, ledger) = ledger()?;
        ledger.connection.execute_batch(
            "CREATE TABLE free (bytes BLOB) STRICT;
             INSERT INTO free VALUES (zeroblob(8000000));
             DROP TABLE free;
             WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers LIMIT 2000)
             INSERT INTO uploads SELECT 'source-' || number, hex(randomblob(16)), number FROM numbers;
             CREATE TABLE long (text TEXT) STRICT;
             CREATE INDEX long_texts ON long (text);
             WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers LIMIT 100)
             INSERT INTO long SELECT hex(randomblob(3000)) FROM numbers;",
        )?;
        Ok((dir, ledger))
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
            assert!(is_damaged(&opened.check_file(|| true)), "{table}");
            assert!(is_damaged(&opened.check_at_start(1 << 30)), "{table}");
            assert!(dir.path().join(FILE_NAME).exists());
        }
        Ok(())
    }

    #[test]
    fn damage_of_any_page_in_use_is_found_table_by_table() -> Result<(), Box<dyn Error>> {
        let (dir, ledger) = full_ledger()?;
        ledger.check_file(|| true)?;
        let roots = "SELECT rootpage FROM sqlite_schema WHERE rootpage > 0";
        let mut pages: Vec<usize> = ledger.list("list", roots, [], |row| row.get(0))?;
        let tables = pages.len();
        assert!(tables > 30);
        // Inner and last pages, and the list of the free ones.
        let (first_free, all): (usize, usize) = {
            let sql = &ledger.connection;
            sql.pragma_update(None, "wal_checkpoint", "TRUNCATE")?;
            let file = fs::read(ledger.path())?;
            let first_free = u32::from_be_bytes(file[32..36].try_into()?);
            (usize::try_from(first_free)?, file.len() / PAGE)
        };
        assert!(first_free > 0);
        pages.push(first_free);
        let file = fs::read(ledger.path())?;
        let is_node = |page: &usize| matches!(file[(page - 1) * PAGE], 2 | 5 | 10 | 13);
        let used = ledger.check_file(|| true);
        used?;
        pages.extend((2..=all).rev().filter(is_node).take(60));
        drop(ledger);
        let good = fs::read(dir.path().join(FILE_NAME))?;
        for page in pages {
            fs::write(dir.path().join(FILE_NAME), &good)?;
            let mut damaged = good.clone();
            damaged[(page - 1) * PAGE..page * PAGE].fill(0x5a);
            fs::write(dir.path().join(FILE_NAME), damaged)?;
            let found = Ledger::open(dir.path()).and_then(|ledger| ledger.check_file(|| true));
            assert!(is_damaged(&found), "page {page}: {found:?}");
        }
        Ok(())
    }

    #[test]
    fn the_write_ahead_log_can_start_over_between_two_tables() -> Result<(), Box<dyn Error>> {
        let (dir, checked) = ledger()?;
        let writer = Ledger::open(dir.path())?;
        let mut tables = 0;
        checked.check_file(|| {
            // It is refused while somebody reads.
            let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
            let is_refused: bool = writer
                .connection
                .query_row(checkpoint, [], |row| row.get(0))
                .unwrap_or(true);
            assert!(!is_refused);
            tables += 1;
            true
        })?;
        assert!(tables > 20, "{tables}");
        // One that is stopped says nothing of damage.
        damage(&checked, "batches")?;
        drop((checked, writer));
        Ledger::open(dir.path())?.check_file(|| false)?;
        Ok(())
    }
}
