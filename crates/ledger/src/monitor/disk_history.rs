//! The disk of the data folder over time, as the monitor sees it at each look. Bounded: the least free of each ten minutes, for
//! eight days.

use jiff::{SignedDuration, Timestamp};

use crate::row::{self, millis, signed};
use crate::{Ledger, LedgerError};

/// One record is for so long.
pub const DISK_STEP: SignedDuration = SignedDuration::from_mins(10);

/// Records are kept for so long: 1,152 of them.
const KEPT: SignedDuration = SignedDuration::from_hours(8 * 24);

pub(crate) const DISK_HISTORY_STEP: &str = "
CREATE TABLE disk_history (
    start       INTEGER PRIMARY KEY,
    free_bytes  INTEGER NOT NULL,
    total_bytes INTEGER NOT NULL
) STRICT;";

/// The disk in ten minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskRecord {
    /// Their first instant.
    pub start: Timestamp,
    /// The fewest free bytes that were seen.
    pub free_bytes: u64,
    /// Bytes that logferry could use if nothing else were there.
    pub total_bytes: u64,
}

impl DiskRecord {
    /// The most bytes that were in use.
    pub const fn used_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.free_bytes)
    }
}

impl Ledger {
    /// Notes what is free now. It writes only if that is less than before in the same ten minutes.
    pub fn note_disk(
        &mut self,
        free_bytes: u64,
        total_bytes: u64,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let start = step_start(now);
        let query = "SELECT free_bytes FROM disk_history WHERE start = ?1";
        let known: Option<i64> = self.find("look up the disk", query, [start], |row| row.get(0))?;
        let free = signed(free_bytes);
        if known.is_some_and(|known| known <= free) {
            return Ok(());
        }
        self.write("note what is free on the disk", |sql| {
            let oldest = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
            sql.execute("DELETE FROM disk_history WHERE start < ?1", [millis(oldest)])?;
            let insert =
                "INSERT OR REPLACE INTO disk_history (start, free_bytes, total_bytes) VALUES (?1, ?2, ?3)";
            sql.execute(insert, (start, free, signed(total_bytes))).map(drop)
        })
    }

    /// What was noted from `since` on, oldest first.
    pub fn disk_history(&self, since: Timestamp) -> Result<Vec<DiskRecord>, LedgerError> {
        let query = "SELECT * FROM disk_history WHERE start >= ?1 ORDER BY start";
        self.list(
            "list what was free on the disk",
            query,
            [step_start(since)],
            |row| {
                Ok(DiskRecord {
                    start: row::time(row, "start")?,
                    free_bytes: row.get("free_bytes")?,
                    total_bytes: row.get("total_bytes")?,
                })
            },
        )
    }
}

fn step_start(at: Timestamp) -> i64 {
    let (at, step) = (
        millis(at),
        i64::try_from(DISK_STEP.as_millis()).unwrap_or(i64::MAX),
    );
    at - at.rem_euclid(step)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::tests::{TestResult, ledger, now};

    #[test]
    fn the_least_free_of_each_ten_minutes_is_kept_for_eight_days() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        let start = Timestamp::from_millisecond(step_start(now()))?;
        for (minutes, free) in [(0, 50), (1, 40), (2, 60), (10, 70)] {
            ledger.note_disk(free, 100, start + SignedDuration::from_mins(minutes))?;
        }
        let free = |ledger: &Ledger, since| -> Result<Vec<_>, LedgerError> {
            let history = ledger.disk_history(since)?.into_iter();
            Ok(history
                .map(|it| (it.start, it.free_bytes, it.total_bytes))
                .collect())
        };
        let next = start + DISK_STEP;
        assert_eq!(free(&ledger, start)?, [(start, 40, 100), (next, 70, 100)]);
        assert_eq!(
            free(&ledger, next + SignedDuration::from_secs(1))?,
            [(next, 70, 100)]
        );
        let later = start + KEPT + SignedDuration::from_mins(5);
        ledger.note_disk(1, 100, later)?;
        assert_eq!(
            free(&ledger, Timestamp::UNIX_EPOCH)?.len(),
            2,
            "the oldest is gone"
        );
        Ok(())
    }

    #[test]
    fn ledger_of_the_version_before_gets_the_table() -> TestResult {
        let dir = tempfile::tempdir()?;
        let sqlite = Connection::open(dir.path().join(crate::FILE_NAME))?;
        crate::schema::before(&sqlite, DISK_HISTORY_STEP)?;
        sqlite.pragma_update(None, "application_id", crate::schema::APPLICATION_ID)?;
        drop(sqlite);
        let mut ledger = Ledger::open(dir.path())?;
        ledger.note_disk(1, 2, now())?;
        assert_eq!(ledger.disk_history(now())?.len(), 1);
        Ok(())
    }
}
