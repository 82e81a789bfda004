//! The size of the ledger's file: pages that no row needs any more go back to the file system.
//!
//! Only a file that was made for it can give pages back in short steps (`auto_vacuum`, <https://sqlite.org/pragma.html>). One of an
//! earlier version uses its free pages again, but stays as large as it is until [`Ledger::write_anew`].

use rusqlite::Connection;

use crate::{Ledger, LedgerError, WriteGuard};

/// So much is written anew beside a relay, whose commits wait meanwhile (docs/run/upgrade.md).
const BESIDE_RELAY_MAX: u64 = 32 << 20;

/// How much of the file is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileUse {
    /// All of it, what the write-ahead log adds included.
    pub bytes: u64,
    /// What no row needs.
    pub free_bytes: u64,
    /// Whether it can give free pages back in steps.
    pub gives_back: bool,
}

impl FileUse {
    /// Bytes that rows need.
    pub const fn used_bytes(self) -> u64 {
        self.bytes.saturating_sub(self.free_bytes)
    }

    /// Whether [`Ledger::write_anew`] is worth it: half of the file is free, and it cannot give that back in steps.
    pub const fn is_worth_writing_anew(self) -> bool {
        !self.gives_back && self.free_bytes > 0 && self.free_bytes >= self.used_bytes()
    }

    /// Whether that takes so short a time that commits of the relay may wait for it.
    pub const fn is_written_anew_at_once(self) -> bool {
        self.used_bytes() <= BESIDE_RELAY_MAX
    }
}

impl Ledger {
    /// How much of the file is in use. Reads its first pages only.
    pub fn file_use(&self) -> Result<FileUse, LedgerError> {
        let query = "SELECT page_count * page_size, freelist_count * page_size, auto_vacuum
            FROM pragma_page_count(), pragma_page_size(), pragma_freelist_count(), pragma_auto_vacuum()";
        self.read("find its size", |sql| {
            sql.query_row(query, [], |row| {
                Ok(FileUse {
                    bytes: row.get(0)?,
                    free_bytes: row.get(1)?,
                    gives_back: row.get::<_, i64>(2)? != 0,
                })
            })
        })
    }

    /// Gives at most so many free pages of the file back to the file system. Returns how many are left. One transaction of
    /// milliseconds, so that no commit of the relay waits for it.
    pub fn give_back_pages(&mut self, at_most: u32) -> Result<u64, LedgerError> {
        self.write("give back free pages", |sql| {
            let mut vacuum = sql.prepare(&format!("PRAGMA incremental_vacuum({at_most})"))?;
            // Each row is a page (<https://sqlite.org/pragma.html#pragma_incremental_vacuum>).
            let mut pages = vacuum.query([])?;
            while pages.next()?.is_some() {}
            sql.query_row("PRAGMA freelist_count", [], |row| row.get(0))
        })
    }

    /// Writes the file anew without its free pages, as one that can give pages back.
    ///
    /// From begin to end nobody else can write, and it takes time in proportion to [`FileUse::used_bytes`]. It needs as much room in
    /// SQLite's temporary folder and again beside the file, where the write-ahead log gets all of it
    /// (<https://sqlite.org/lang_vacuum.html>). After an error, or a crash, the file is as it was.
    pub fn write_anew(&mut self) -> Result<(), LedgerError> {
        let _guard = WriteGuard::take(&self.write_lock);
        self.read("write its file anew", |sql| {
            sql.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            sql.execute_batch("VACUUM")
        })
    }
}

/// Makes an empty file one that can give pages back. Later only [`Ledger::write_anew`] can.
pub(crate) fn make_new_file_give_back(connection: &Connection) -> rusqlite::Result<()> {
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    if pages == 0 {
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::TestResult;

    /// A ledger as version 0.1 made it: its file keeps free pages.
    fn old_ledger() -> Result<(tempfile::TempDir, Ledger), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let sqlite = Connection::open(dir.path().join(crate::FILE_NAME))?;
        crate::schema::before(&sqlite, "")?;
        drop(sqlite);
        let ledger = Ledger::open_or_create(dir.path())?;
        Ok((dir, ledger))
    }

    #[test]
    fn start_of_the_relay_leaves_the_file_of_an_earlier_version_as_it_is() -> TestResult {
        let (_dir, ledger) = old_ledger()?;
        assert!(!ledger.file_use()?.gives_back);
        let (_dir, new) = crate::tests::ledger()?;
        assert!(new.file_use()?.gives_back);
        Ok(())
    }

    #[test]
    fn file_that_is_written_anew_is_the_same_ledger_for_everybody_who_has_it_open() -> TestResult {
        let (dir, mut ledger) = old_ledger()?;
        let id = ledger.id()?;
        // Another role, with a moment that it is still reading.
        let mut other = Ledger::open(dir.path())?;
        let reader = Ledger::open(dir.path())?;
        ledger.connection.execute_batch(
            "CREATE TABLE gone (bytes BLOB) STRICT; INSERT INTO gone VALUES (zeroblob(4000000)); DROP TABLE gone;",
        )?;
        let before = ledger.file_use()?;
        assert!(before.free_bytes > 3_900_000, "{before:?}");
        reader.at_one_moment(|reader| -> Result<(), LedgerError> {
            reader.id()?;
            ledger.write_anew()?;
            assert_eq!(reader.id()?, id);
            Ok(())
        })?;
        let after = ledger.file_use()?;
        assert_eq!((after.free_bytes, after.gives_back), (0, true));
        assert_eq!(after.bytes, other.file_use()?.bytes);
        // The others write into the new layout of pages.
        for _ in 0..3 {
            other.overwrite_stale_wal()?;
            other.connection.execute_batch(
                "CREATE TABLE more (bytes BLOB) STRICT; INSERT INTO more VALUES (zeroblob(400000)); DROP TABLE more;",
            )?;
            while ledger.give_back_pages(10)? > 0 {}
        }
        assert_eq!((ledger.integrity()?, other.id()?), (Vec::new(), id));
        Ok(())
    }
}
