//! Silences: subjects about which people do not want to be told for a while. Each ends by itself.

use jiff::Timestamp;

use super::incident::covers;
use super::store;
use crate::row::{self, millis};
use crate::{Ledger, LedgerError};

/// Silences at one time. Who needs more wants to stop the monitor.
pub const SILENCES_MAX: u64 = 1000;

/// A subject about which nobody is told for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// The subject. Its parts are silenced with it.
    pub subject: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Why, in the words of who silenced it.
    pub why: String,
}

impl Silence {
    /// Whether it holds for this subject now.
    pub fn holds_for(&self, subject: &str, now: Timestamp) -> bool {
        now < self.until && covers(&self.subject, subject)
    }
}

/// What became of the wish to silence a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SilenceOutcome {
    /// It is silenced; so many open incidents are muted now.
    Silenced {
        /// Their number.
        muted: u64,
    },
    /// There are [`SILENCES_MAX`] silences already.
    TooMany,
}

impl Ledger {
    /// The silences that are not over, in the order of their subjects.
    pub fn silences(&self, now: Timestamp) -> Result<Vec<Silence>, LedgerError> {
        let query = "SELECT * FROM silences WHERE until > ?1 ORDER BY subject";
        self.list("list silences", query, [millis(now)], |row| {
            Ok(Silence {
                subject: row.get("subject")?,
                since: row::time(row, "since")?,
                until: row::time(row, "until")?,
                why: row.get("why")?,
            })
        })
    }

    /// Silences a subject; this replaces what held for it. The timelines of its open incidents tell so.
    pub fn silence(&mut self, silence: &Silence) -> Result<SilenceOutcome, LedgerError> {
        let now = silence.since;
        self.write("silence a subject", |sql| {
            sql.execute("DELETE FROM silences WHERE until <= ?1", [millis(now)])?;
            let others: u64 = sql.query_row(
                "SELECT count(*) FROM silences WHERE subject <> ?1",
                [&silence.subject],
                |row| row.get(0),
            )?;
            if others >= SILENCES_MAX {
                return Ok(SilenceOutcome::TooMany);
            }
            sql.execute(
                "INSERT OR REPLACE INTO silences (subject, since, until, why) VALUES (?1, ?2, ?3, ?4)",
                (&silence.subject, millis(now), millis(silence.until), &silence.why),
            )?;
            let text = format!("silenced until {:.0}: {}", silence.until, silence.why);
            let muted = store::note_on_open(sql, &silence.subject, &text, now)?;
            Ok(SilenceOutcome::Silenced { muted })
        })
    }

    /// Ends the silence of a subject; false if there is none.
    pub fn end_silence(&mut self, subject: &str, now: Timestamp) -> Result<bool, LedgerError> {
        self.write("end a silence", |sql| {
            let change = "DELETE FROM silences WHERE subject = ?1 AND until > ?2";
            let is_ended = sql.execute(change, (subject, millis(now)))? > 0;
            if is_ended {
                store::note_on_open(sql, subject, "no longer silenced", now)?;
            }
            Ok(is_ended)
        })
    }
}
