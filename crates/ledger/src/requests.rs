//! Outcomes of what people asked for in the console. Each is recorded with its effect, in one transaction.

use jiff::{SignedDuration, Timestamp};

use crate::row::millis;
use crate::{Ledger, LedgerError};

/// An outcome is kept for so long: longer than a request may be carried out.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);

pub(crate) const REQUESTS_STEP: &str = "
CREATE TABLE requests (
    id      TEXT PRIMARY KEY,
    outcome TEXT NOT NULL,
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;";

impl Ledger {
    /// What became of a request; `None` if it was not carried out.
    pub fn request_outcome(&self, id: &str) -> Result<Option<String>, LedgerError> {
        let query = "SELECT outcome FROM requests WHERE id = ?1";
        self.find("find the outcome of a request", query, [id], |row| row.get(0))
    }

    /// Records what became of a request.
    pub fn record_request(&mut self, id: &str, outcome: &str, now: Timestamp) -> Result<(), LedgerError> {
        self.write("record the outcome of a request", |sql| {
            let oldest = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
            sql.execute("DELETE FROM requests WHERE at < ?1", [millis(oldest)])?;
            let insert = "INSERT INTO requests (id, outcome, at) VALUES (?1, ?2, ?3)";
            sql.execute(insert, (id, outcome, millis(now))).map(drop)
        })
    }

    /// Undoes the changes since [`Self::begin_together`].
    pub fn undo_together(&mut self) {
        let _guard = self.together.take();
        // If that fails, SQLite has done it by itself.
        let _ = self.connection.execute_batch("ROLLBACK");
    }
}
