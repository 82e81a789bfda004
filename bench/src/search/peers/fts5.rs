//! `SQLite`'s full-text search (FTS5), in its write-ahead log.

use std::path::Path;

use rusqlite::Connection;

use super::{SearchPeer, phrase};

const FILE: &str = "lines.db";

pub(super) struct Fts5Table {
    connection: Connection,
}

impl SearchPeer for Fts5Table {
    const NAME: &'static str = "SQLite FTS5";

    fn create(dir: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(dir.join(FILE))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch("CREATE VIRTUAL TABLE lines USING fts5(line); BEGIN")?;
        Ok(Self { connection })
    }

    fn add(&mut self, number: u64, line: &str) -> anyhow::Result<()> {
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO lines (rowid, line) VALUES (?1, ?2)")?;
        insert.execute((i64::try_from(number)?, line))?;
        Ok(())
    }

    fn sync(&mut self) -> anyhow::Result<()> {
        Ok(self.connection.execute_batch("COMMIT; BEGIN")?)
    }

    fn finish(self) -> anyhow::Result<()> {
        self.connection
            .execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok(())
    }

    fn ask(dir: &Path, word: &str, limit: usize) -> anyhow::Result<u64> {
        let connection = Connection::open(dir.join(FILE))?;
        let mut query =
            connection.prepare("SELECT line FROM lines WHERE lines MATCH ?1 ORDER BY rowid DESC LIMIT ?2")?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = query.query((phrase(word), limit))?;
        let mut hits = 0;
        while let Some(row) = rows.next()? {
            let line: String = row.get(0)?;
            hits += u64::from(!line.is_empty());
        }
        Ok(hits)
    }
}
