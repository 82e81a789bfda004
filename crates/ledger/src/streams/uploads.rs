//! Uploads without a stream: durable bodies whose answer may not have reached the shipper.
//!
//! Such a body may come again, and must not be stored twice. When its answer is known to have arrived, the body is
//! forgotten, and the same body later is new data.

use std::time::Duration;

use jiff::Timestamp;
use logferry_protocol::names::SourceId;
use logferry_protocol::stream::Hash16;
use rusqlite::{Connection, Result as SqlResult};

use crate::row::{millis, to_text};
use crate::{Ledger, LedgerError};

/// How long a body whose answer did not arrive is remembered. The old shipper gives up after an hour.
pub const UPLOAD_MEMORY: Duration = Duration::from_hours(24);

/// The number of bodies remembered for one source, the latest.
pub const UPLOADS_REMEMBERED: u32 = 1000;

/// The changes that a commit makes to the remembered uploads.
#[derive(Debug, Clone, Copy, Default)]
pub struct UploadChanges<'a> {
    /// Bodies whose answers have arrived: forgotten before those of `stored` are noted.
    pub answered: &'a [UploadedBody],
    /// Bodies that this commit makes durable.
    pub stored: &'a [UploadedBody],
}

/// One uploaded body.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UploadedBody {
    /// The source of the lines.
    pub source: SourceId,
    /// The hash of its lines.
    pub lines: Hash16,
}

impl Ledger {
    /// Whether the body is durable and its answer is not known to have arrived.
    pub fn is_unanswered(&self, body: &UploadedBody, now: Timestamp) -> Result<bool, LedgerError> {
        self.read("find an upload", |sql| {
            sql.prepare_cached("SELECT 1 FROM uploads WHERE source = ?1 AND body = ?2 AND committed_at > ?3")?
                .exists((body.source.as_str(), to_text(&body.lines), oldest(now)))
        })
    }

    /// Forgets bodies whose answers have arrived.
    pub fn forget_uploads(&mut self, answered: &[UploadedBody]) -> Result<(), LedgerError> {
        self.write("forget answered uploads", |sql| {
            answered.iter().try_for_each(|body| forget(sql, body))
        })
    }
}

pub(crate) fn change(sql: &Connection, changes: UploadChanges<'_>, now: Timestamp) -> SqlResult<()> {
    changes.answered.iter().try_for_each(|body| forget(sql, body))?;
    changes
        .stored
        .iter()
        .try_for_each(|body| remember(sql, body, now))
}

fn forget(sql: &Connection, body: &UploadedBody) -> SqlResult<()> {
    sql.prepare_cached("DELETE FROM uploads WHERE source = ?1 AND body = ?2")?
        .execute((body.source.as_str(), to_text(&body.lines)))
        .map(drop)
}

/// Records a durable body. Deletes bodies of its source that are too old or too many.
fn remember(sql: &Connection, body: &UploadedBody, now: Timestamp) -> SqlResult<()> {
    let source = body.source.as_str();
    sql.prepare_cached("INSERT OR REPLACE INTO uploads (source, body, committed_at) VALUES (?1, ?2, ?3)")?
        .execute((source, to_text(&body.lines), millis(now)))?;
    sql.prepare_cached(
        "DELETE FROM uploads WHERE source = ?1 AND (committed_at <= ?2 OR body IN (
             SELECT body FROM uploads WHERE source = ?1 ORDER BY committed_at DESC, body LIMIT -1 OFFSET ?3))",
    )?
    .execute((source, oldest(now), UPLOADS_REMEMBERED))
    .map(drop)
}

/// Bodies committed at or before this time are too old.
fn oldest(now: Timestamp) -> i64 {
    let memory = i64::try_from(UPLOAD_MEMORY.as_millis()).unwrap_or(i64::MAX);
    millis(now).saturating_sub(memory)
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;
    use crate::Commit;
    use crate::tests::ledger;

    fn body(number: u32) -> UploadedBody {
        UploadedBody {
            source: "198.51.100.1".parse().expect("valid"),
            lines: Hash16::of(&number.to_be_bytes()),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_227_700 + seconds).expect("in range")
    }

    fn commit(ledger: &mut Ledger, stored: &[UploadedBody], now: Timestamp) -> Result<(), LedgerError> {
        let uploads = UploadChanges {
            stored,
            ..UploadChanges::default()
        };
        ledger.commit_with_uploads(&Commit::default(), uploads, now)
    }

    #[test]
    fn body_is_remembered_until_it_is_acknowledged_or_a_day_has_passed() -> Result<(), Box<dyn Error>> {
        let (_dir, mut ledger) = ledger()?;
        commit(&mut ledger, &[body(1), body(2)], at(0))?;
        assert!(ledger.is_unanswered(&body(1), at(86_399))?);
        assert!(!ledger.is_unanswered(&body(1), at(86_400))?);
        assert!(!ledger.is_unanswered(&body(3), at(0))?);
        ledger.forget_uploads(&[body(1), body(3)])?;
        assert!(!ledger.is_unanswered(&body(1), at(1))?);
        assert!(ledger.is_unanswered(&body(2), at(1))?);
        let elsewhere = UploadedBody {
            source: "198.51.100.2".parse()?,
            ..body(2)
        };
        assert!(!ledger.is_unanswered(&elsewhere, at(1))?);
        Ok(())
    }

    #[test]
    fn only_the_latest_bodies_of_a_source_are_remembered() -> Result<(), Box<dyn Error>> {
        let (_dir, mut ledger) = ledger()?;
        let all: Vec<_> = (2..UPLOADS_REMEMBERED + 2).map(body).collect();
        commit(&mut ledger, &[body(0), body(1)], at(0))?;
        commit(&mut ledger, &all, at(1))?;
        let now = at(2);
        assert!(!ledger.is_unanswered(&body(1), now)?);
        assert!(ledger.is_unanswered(&body(2), now)?);
        assert!(ledger.is_unanswered(&body(UPLOADS_REMEMBERED + 1), now)?);
        Ok(())
    }
}
