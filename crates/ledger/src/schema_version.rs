//! The version of a ledger's schema, for those who must know it before they open the ledger.
//!
//! A program refuses a ledger whose version is higher than its own newest one ([`LedgerError::TooNew`]).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use logferry_sqlite_file::versions;
use rusqlite::{Connection, OpenFlags};

use crate::{FILE_NAME, LedgerError, create_guard, schema, sqlite_error, wait_for_lock};

/// The version that this program writes, and the newest one that it reads.
pub fn known() -> usize {
    schema::SCHEMA.known()
}

/// The version of the ledger in `data_dir`; `None` if there is no ledger. Changes nothing: opening a ledger brings it to the
/// newest version.
pub fn found(data_dir: &Path) -> Result<Option<usize>, LedgerError> {
    let path = data_dir.join(FILE_NAME);
    if create_guard::is_blank(&path) {
        return Ok(None);
    }
    let failed = |source| sqlite_error(&path, "read its schema version", source);
    let mut connection =
        Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    connection.busy_handler(Some(wait_for_lock)).map_err(failed)?;
    match versions(&connection).map_err(failed)? {
        (schema::APPLICATION_ID, found) => Ok(Some(found)),
        _ => Err(LedgerError::Foreign { path }),
    }
}

/// Whether the file of the ledger in `data_dir` is no database. Only reads its first bytes: who opens a database as another
/// user than its owner leaves files beside it that the owner cannot use.
pub fn is_no_database(data_dir: &Path) -> io::Result<bool> {
    const MAGIC: &[u8; 16] = b"SQLite format 3\0";
    let path = data_dir.join(FILE_NAME);
    if create_guard::is_blank(&path) {
        return Ok(false);
    }
    let mut beginning = Vec::new();
    let file = File::open(&path)?;
    file.take(MAGIC.len() as u64).read_to_end(&mut beginning)?;
    Ok(beginning != MAGIC)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests lay out files")]
mod tests {
    use std::error::Error;

    use super::*;
    use crate::Ledger;

    #[test]
    fn versions_are_read_without_a_migration() -> Result<(), Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        assert_eq!(found(dir.path())?, None);
        drop(Ledger::open_or_create(dir.path())?);
        assert_eq!(found(dir.path())?, Some(known()));
        for written in [1, known() + 1] {
            let sqlite = Connection::open(dir.path().join(FILE_NAME))?;
            sqlite.pragma_update(None, "user_version", written)?;
            drop(sqlite);
            assert_eq!(found(dir.path())?, Some(written));
        }
        Ok(())
    }

    #[test]
    fn a_file_that_is_no_database_is_told_without_opening_it() -> Result<(), Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        assert!(!is_no_database(dir.path())?);
        drop(Ledger::open_or_create(dir.path())?);
        assert!(!is_no_database(dir.path())?);
        std::fs::write(dir.path().join(FILE_NAME), "garbage")?;
        assert!(is_no_database(dir.path())?);
        Ok(())
    }

    #[test]
    fn version_is_read_from_the_write_ahead_log_too() -> Result<(), Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let _running = Ledger::open_or_create(dir.path())?;
        let sqlite = Connection::open(dir.path().join(FILE_NAME))?;
        sqlite.pragma_update(None, "user_version", 99)?;
        assert!(dir.path().join("ledger.db-wal").metadata()?.len() > 0);
        assert_eq!(found(dir.path())?, Some(99));
        Ok(())
    }
}
