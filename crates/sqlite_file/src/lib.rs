//! Our SQLite files. `application_id` says whose a file is, `user_version` how many of the steps of its tables it has taken.
//!
//! The index and the console's database are opened by it; they and the ledger, which has more to do when it is opened, take their
//! steps by it. What each says to people when a file cannot be used is its own: the advice differs.
//!
//! Invariants:
//! - A file of another program, or of a later version, is never changed.
//! - All missing steps are one transaction: after a crash a file has the tables of one version.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Result as SqlResult, TransactionBehavior};

/// Opens a file for reading and writing, and creates it if it is not there. A transaction is durable when it is committed.
/// `busy`: how long it waits for another connection.
pub fn open(path: &Path, busy: Duration) -> SqlResult<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(busy)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // With a write-ahead log SQLite syncs a commit only by this (https://sqlite.org/pragma.html#pragma_synchronous).
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// The tables of one kind of file.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Marks a file as ours, and of this kind.
    pub application_id: i64,
    /// From an empty file to the tables of this version. Only ever a new step at the end: files in the field have taken the others.
    pub steps: &'static [&'static str],
}

/// What a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// The tables of this version.
    Current,
    /// No tables at all.
    Blank,
    /// Tables of another program.
    Foreign,
    /// The tables of another version: so many steps.
    Other(usize),
}

/// `application_id` and `user_version`.
pub fn versions(connection: &Connection) -> SqlResult<(i64, usize)> {
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((application, version))
}

impl Schema {
    /// The number of steps that this version knows.
    pub const fn known(&self) -> usize {
        self.steps.len()
    }

    /// What the file has.
    pub fn state(&self, connection: &Connection) -> SqlResult<SchemaState> {
        let (application, found) = versions(connection)?;
        if application == self.application_id && found > 0 {
            return Ok(if found == self.known() {
                SchemaState::Current
            } else {
                SchemaState::Other(found)
            });
        }
        let count = "SELECT count(*) = 0 FROM sqlite_schema";
        let is_blank = connection.query_row(count, [], |row| row.get(0))?;
        Ok(if is_blank {
            SchemaState::Blank
        } else {
            SchemaState::Foreign
        })
    }

    /// Brings a file of an earlier version to the tables of this one, and a blank one if `may_begin`. What it has then.
    pub fn migrate(&self, connection: &mut Connection, may_begin: bool) -> SqlResult<SchemaState> {
        // Most files are of this version. They are not locked.
        if self.state(connection)? == SchemaState::Current {
            return Ok(SchemaState::Current);
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Read again under the lock: two programs that start together must not both migrate.
        let taken = match self.state(&transaction)? {
            SchemaState::Blank if may_begin => 0,
            SchemaState::Other(found) if found < self.known() => found,
            state => return Ok(state),
        };
        for step in self.steps.iter().skip(taken) {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "application_id", self.application_id)?;
        transaction.pragma_update(None, "user_version", self.known())?;
        transaction.commit()?;
        Ok(SchemaState::Current)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Schema = Schema {
        application_id: 7,
        steps: &["CREATE TABLE a (x INTEGER) STRICT"],
    };
    const SECOND: Schema = Schema {
        steps: &[FIRST.steps[0], "ALTER TABLE a ADD COLUMN y INTEGER"],
        ..FIRST
    };
    const BROKEN: Schema = Schema {
        steps: &[FIRST.steps[0], "CREATE TABLE b (x)", "CREATE TABLE b (x)"],
        ..FIRST
    };

    fn memory() -> Connection {
        Connection::open_in_memory().unwrap()
    }

    #[test]
    fn blank_file_gets_tables_only_if_it_may() {
        let mut sql = memory();
        assert_eq!(SECOND.migrate(&mut sql, false).unwrap(), SchemaState::Blank);
        assert_eq!(versions(&sql).unwrap(), (0, 0));
        assert_eq!(SECOND.migrate(&mut sql, true).unwrap(), SchemaState::Current);
        assert_eq!(versions(&sql).unwrap(), (7, 2));
    }

    #[test]
    fn file_of_an_earlier_version_takes_the_missing_steps_and_one_of_a_later_is_left_alone() {
        let mut sql = memory();
        assert_eq!(FIRST.migrate(&mut sql, true).unwrap(), SchemaState::Current);
        assert_eq!(SECOND.state(&sql).unwrap(), SchemaState::Other(1));
        assert_eq!(SECOND.migrate(&mut sql, false).unwrap(), SchemaState::Current);
        sql.execute_batch("INSERT INTO a (x, y) VALUES (1, 2)").unwrap();
        assert_eq!(FIRST.migrate(&mut sql, true).unwrap(), SchemaState::Other(2));
    }

    #[test]
    fn file_of_another_program_is_never_changed() {
        for application in [0, 8] {
            let mut sql = memory();
            sql.execute_batch("CREATE TABLE theirs (x)").unwrap();
            sql.pragma_update(None, "application_id", application).unwrap();
            assert_eq!(SECOND.migrate(&mut sql, true).unwrap(), SchemaState::Foreign);
            assert_eq!(versions(&sql).unwrap(), (application, 0));
        }
    }

    #[test]
    fn step_that_fails_leaves_the_file_as_it_was() {
        let mut sql = memory();
        assert_eq!(FIRST.migrate(&mut sql, true).unwrap(), SchemaState::Current);
        assert!(BROKEN.migrate(&mut sql, false).is_err());
        assert_eq!(FIRST.state(&sql).unwrap(), SchemaState::Current);
    }
}
