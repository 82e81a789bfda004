//! The last report of each sender, and what those of one source say together.
//!
//! Senders behind one address, or two on one host, are one source. Each reports its own files only, so the report of one says
//! nothing about the lines that another has still to send.

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::Timestamp;
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::names::SourceId;
use logferry_protocol::sender::SenderId;
use logferry_protocol::stream::StreamId;
use rusqlite::{Connection, Error, Result as SqlResult};

use super::senders::SENDERS_KEPT;
use crate::row::{self, millis};

/// The sender of a report that names none is the empty text.
pub(crate) const SENDER_REPORTS_STEP: &str = "CREATE TABLE sender_reports (
    source       TEXT NOT NULL,
    sender       TEXT NOT NULL,
    since        INTEGER NOT NULL,
    heartbeat    TEXT,
    heartbeat_at INTEGER,
    PRIMARY KEY (source, sender)
) STRICT;
INSERT INTO sender_reports
    SELECT source, '', coalesce(heartbeat_at, 0), heartbeat, heartbeat_at FROM source_reports;
DROP TABLE source_reports;";

/// How long a report counts beside newer ones of other senders. A sender that is silent for longer is taken for gone.
const COUNTS_FOR_MS: i64 = 30 * 60 * 1000;

/// The reports of a source that count: the newest, and those of the senders that report at the same time.
#[derive(Debug, Default)]
pub(super) struct SourceReports {
    /// The newest report, with the files of all; `None` if there is none, or an old version wrote it.
    pub(super) heartbeat: Option<Heartbeat>,
    /// When the newest came.
    pub(super) newest_at: Option<Timestamp>,
    /// When the oldest came.
    pub(super) oldest_at: Option<Timestamp>,
    /// How many there are.
    pub(super) senders: usize,
}

/// Notes the report of a sender in place of the one before, and forgets those of senders that are gone. Keeps
/// [`SENDERS_KEPT`] of a source.
pub(super) fn note(
    sql: &Connection,
    (source, sender): (&SourceId, Option<SenderId>),
    heartbeat: &Heartbeat,
    now: Timestamp,
) -> SqlResult<()> {
    let (source, now) = (source.as_str(), millis(now));
    let sender = sender.map(|sender| sender.to_string()).unwrap_or_default();
    sql.prepare_cached(
        "DELETE FROM sender_reports WHERE source = ?1 AND sender <> ?2 AND coalesce(heartbeat_at, 0) < ?3",
    )?
    .execute((source, &sender, now - COUNTS_FOR_MS))?;
    let left_out = sql
        .prepare_cached(
            "DELETE FROM sender_reports WHERE source = ?1 AND sender IN (
                 SELECT sender FROM sender_reports WHERE source = ?1 AND sender <> ?2
                 ORDER BY coalesce(heartbeat_at, 0) DESC, sender LIMIT -1 OFFSET ?3)",
        )?
        .execute((source, &sender, SENDERS_KEPT - 1))?;
    let mut heartbeat = Cow::Borrowed(heartbeat);
    if left_out > 0 {
        // Nobody takes the lag for known while the report of a sender that is there is left out.
        let unresolved = &mut heartbeat.to_mut().unresolved_files;
        *unresolved = unresolved.saturating_add(1);
    }
    let text =
        serde_json::to_string(&*heartbeat).map_err(|error| Error::ToSqlConversionFailure(Box::new(error)))?;
    sql.prepare_cached(
        "INSERT INTO sender_reports (source, sender, since, heartbeat, heartbeat_at) VALUES (?1, ?2, ?4, ?3, ?4)
         ON CONFLICT (source, sender) DO UPDATE SET heartbeat = ?3, heartbeat_at = ?4,
             since = CASE WHEN coalesce(heartbeat_at, 0) < ?5 THEN ?4 ELSE since END",
    )?
    .execute((source, &sender, text, now, now - COUNTS_FOR_MS))
    .map(drop)
}

/// The reports of a source that count.
///
/// One counts beside the newest only if it came after that sender had begun. So a sender that lost its state folder, and comes
/// with a new id, does not count beside its predecessor.
pub(super) fn of_source(sql: &Connection, source: &SourceId) -> SqlResult<SourceReports> {
    let mut query = sql.prepare_cached(
        "SELECT since, heartbeat, heartbeat_at FROM sender_reports WHERE source = ?1
         ORDER BY coalesce(heartbeat_at, 0) DESC, sender",
    )?;
    let mut rows = query.query([source.as_str()])?;
    let mut found = SourceReports::default();
    let mut counts_from = i64::MIN;
    while let Some(row) = rows.next()? {
        let at = row::optional_time(row, "heartbeat_at")?;
        let at_ms = at.map_or(0, millis);
        if found.senders == 0 {
            let since: i64 = row.get("since")?;
            counts_from = since.max(at_ms.saturating_sub(COUNTS_FOR_MS));
            found.newest_at = at;
        } else if at_ms < counts_from {
            break;
        }
        found.senders += 1;
        found.oldest_at = at;
        let text: Option<String> = row.get("heartbeat")?;
        let report = text.and_then(|text| serde_json::from_str(&text).ok());
        found.heartbeat = match (found.heartbeat.take(), report) {
            (Some(newer), Some(report)) => Some(joined(newer, report)),
            (newer, report) => newer.or(report),
        };
    }
    Ok(found)
}

/// A report with the files of another one.
fn joined(mut newer: Heartbeat, older: Heartbeat) -> Heartbeat {
    let failing = [newer.checkpoint_failing_since, older.checkpoint_failing_since];
    newer.checkpoint_failing_since = failing.into_iter().flatten().min();
    newer.unreadable.extend(older.unreadable);
    newer.held.extend(older.held);
    newer.neighbours.extend(older.neighbours);
    newer.log_problems.extend(older.log_problems);
    newer.unresolved_files = newer.unresolved_files.saturating_add(older.unresolved_files);
    newer.gaps.extend(older.gaps);
    // Copies of one file may be on two hosts. The bytes of the one that is further behind are not here.
    let mut places: HashMap<StreamId, usize> = HashMap::new();
    for (place, stream) in newer.streams.iter().enumerate() {
        places.insert(stream.stream, place);
    }
    for stream in older.streams {
        match places
            .get(&stream.stream)
            .and_then(|&place| newer.streams.get_mut(place))
        {
            Some(known) if known.lag_bytes() >= stream.lag_bytes() => {}
            Some(known) => *known = stream,
            None => newer.streams.push(stream),
        }
    }
    newer
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use jiff::SignedDuration;
    use logferry_protocol::chunk::LineCounts;
    use logferry_protocol::heartbeat::StreamProgress;
    use logferry_protocol::stream::{FileKey, Head, Offset};

    use super::*;
    use crate::tests::{ledger, now};
    use crate::{Ledger, SourceReach, SourceRecord, Window};

    /// A report of a file of its own with so many bytes, of which none is stored.
    fn report(inode: u64, lag: u64) -> Heartbeat {
        let file = FileKey { dev: 1, inode };
        let head = Head::of(b"first\n").expect("a line");
        let progress = StreamProgress {
            stream: StreamId::derive(file, head, 0),
            log: "access".parse().expect("a name"),
            path: String::new(),
            read: Offset::ZERO,
            sent: Offset::ZERO,
            acked: Offset::ZERO,
            size: Offset::new(lag),
            oldest_unread_ms: 0,
            lines: LineCounts::default(),
            rotated: false,
            deleted: false,
        };
        Heartbeat {
            streams: vec![progress],
            ..Heartbeat::default()
        }
    }

    fn at(seconds: i64) -> Timestamp {
        now() + SignedDuration::from_secs(seconds)
    }

    fn note(ledger: &mut Ledger, sender: Option<u128>, lag: u64, seconds: i64) -> Result<(), Box<dyn Error>> {
        let source = "198.51.100.1".parse()?;
        let inode = sender.map_or(0, |sender| u64::try_from(sender).unwrap_or(u64::MAX));
        ledger.note_report(
            (&source, sender.map(SenderId::new)),
            &"web-1".parse()?,
            &report(inode, lag),
            at(seconds),
        )?;
        Ok(())
    }

    fn source(ledger: &Ledger) -> Result<SourceRecord, Box<dyn Error>> {
        Ok(ledger.sources()?.pop().ok_or("no source")?)
    }

    #[test]
    fn the_lag_of_a_source_is_that_of_all_its_senders() -> Result<(), Box<dyn Error>> {
        let (_dir, mut ledger) = ledger()?;
        let window = Window {
            start: at(-1200).as_second(),
            seconds: 1200,
            utc_offset: 0,
        };
        for seconds in [-20, -10, 40] {
            note(&mut ledger, Some(1), 100, seconds - 5)?;
            note(&mut ledger, Some(2), 0, seconds)?;
        }
        let both = source(&ledger)?;
        assert_eq!((both.lag_bytes, both.streams.len(), both.senders), (100, 2, 2));
        assert_eq!(
            (both.oldest_report_at, both.heartbeat_at),
            (Some(at(35)), Some(at(40)))
        );
        // The lines of one log say nothing about the other sender.
        let reached = Some(window.end());
        assert!(SourceReach::new(&both, reached).may_have_lines(window));
        note(&mut ledger, Some(1), 0, 50)?;
        assert!(!SourceReach::new(&source(&ledger)?, reached).may_have_lines(window));
        // A sender that is silent for long is gone.
        note(&mut ledger, Some(1), 100, 60)?;
        note(&mut ledger, Some(2), 0, 60 + 29 * 60)?;
        assert_eq!(source(&ledger)?.lag_bytes, 100);
        note(&mut ledger, Some(2), 0, 60 + 31 * 60)?;
        let one = source(&ledger)?;
        assert_eq!((one.lag_bytes, one.senders), (0, 1));
        Ok(())
    }

    #[test]
    fn reports_of_a_source_are_bounded_and_those_left_out_make_the_lag_unknown() -> Result<(), Box<dyn Error>>
    {
        let (_dir, mut ledger) = ledger()?;
        let kept = u128::from(SENDERS_KEPT);
        for id in 1..=kept {
            note(&mut ledger, Some(id), 7, 0)?;
        }
        for id in 1..=kept {
            note(&mut ledger, Some(id), 7, 10)?;
        }
        let all = source(&ledger)?;
        assert_eq!(all.senders, SENDERS_KEPT as usize);
        assert_eq!(all.known_lag_bytes(), Some(7 * u64::from(SENDERS_KEPT)));
        note(&mut ledger, Some(kept + 1), 7, 20)?;
        let rows = "SELECT count(*) FROM sender_reports";
        let rows: u32 = ledger.connection.query_row(rows, [], |row| row.get(0))?;
        assert_eq!(rows, SENDERS_KEPT);
        assert_eq!(source(&ledger)?.known_lag_bytes(), None);
        // All but one are gone.
        note(&mut ledger, Some(kept + 1), 7, 3600)?;
        assert_eq!(source(&ledger)?.known_lag_bytes(), Some(7));
        Ok(())
    }

    #[test]
    fn a_sender_with_a_new_id_does_not_count_beside_its_predecessor() -> Result<(), Box<dyn Error>> {
        let (_dir, mut ledger) = ledger()?;
        note(&mut ledger, None, 100, 0)?;
        note(&mut ledger, Some(2), 7, 10)?;
        note(&mut ledger, Some(2), 7, 20)?;
        note(&mut ledger, Some(3), 5, 30)?;
        let last = source(&ledger)?;
        assert_eq!((last.lag_bytes, last.senders), (5, 1));
        Ok(())
    }
}
