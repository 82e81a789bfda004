//! Gaps: bytes of a log that its sender lost before it could send them.
//!
//! A reported gap is compared with the committed offset: a stream is committed without holes, so committed bytes are not
//! lost, whatever was reported before. If a lost file comes back and is shipped, its gap closes.

use jiff::{SignedDuration, Timestamp};
use logferry_protocol::heartbeat::Heartbeat;
use logferry_protocol::names::{LogName, SourceId};
use logferry_protocol::stream::{Offset, StreamId};
use rusqlite::{Connection, Result as SqlResult};

use crate::row::{self, millis, signed, to_text};
use crate::{Ledger, LedgerError};

/// A gap that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapRecord {
    /// The source.
    pub source: SourceId,
    /// The stream.
    pub stream: StreamId,
    /// Its log.
    pub log: LogName,
    /// Where its file was on the source.
    pub path: String,
    /// The first byte that is missing. It moves on while lost bytes are shipped after all.
    pub from: Offset,
    /// The first byte that was missing when the gap was noticed. It names the gap in its stream.
    pub began: Offset,
    /// At least the bytes before this one are lost. `None`: nothing is known to be missing, but the file was gone
    /// before the sender could know that it had all of it.
    pub until: Option<Offset>,
    /// When the sender noticed the gap, by this host's clock.
    pub noticed_at: Timestamp,
}

impl GapRecord {
    /// Bytes that are known to be lost; 0 if none is.
    pub fn bytes(&self) -> u64 {
        self.until.map_or(0, |until| until.since(self.from))
    }
}

impl Ledger {
    /// The open gaps, oldest first.
    pub fn gaps(&self) -> Result<Vec<GapRecord>, LedgerError> {
        let query = "SELECT gaps.source, gaps.stream, gaps.log, path, from_offset, until_offset, noticed_at,
                max(from_offset, coalesce(committed, 0)) AS first
            FROM gaps LEFT JOIN streams USING (source, stream)
            WHERE CASE WHEN until_offset IS NULL
                THEN coalesce(committed, 0) <= from_offset AND NOT coalesce(finished, 0)
                ELSE coalesce(committed, 0) < until_offset END
            ORDER BY noticed_at, source, stream, from_offset";
        self.list("list gaps", query, [], |row| {
            let until: Option<u64> = row.get("until_offset")?;
            Ok(GapRecord {
                source: row::text(row, "source")?,
                stream: row::text(row, "stream")?,
                log: row::text(row, "log")?,
                path: row.get("path")?,
                from: Offset::new(row.get("first")?),
                began: Offset::new(row.get("from_offset")?),
                until: until.map(Offset::new),
                noticed_at: row::time(row, "noticed_at")?,
            })
        })
    }
}

/// Notes the gaps of a report. For a known gap, only the end may change, to a later one.
pub(crate) fn note(
    sql: &Connection,
    source: &SourceId,
    heartbeat: &Heartbeat,
    now: Timestamp,
) -> SqlResult<()> {
    let mut insert = sql.prepare_cached(
        "INSERT INTO gaps (source, stream, log, path, from_offset, until_offset, noticed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (source, stream, from_offset) DO UPDATE SET
             until_offset = nullif(max(coalesce(until_offset, 0), coalesce(excluded.until_offset, 0)), 0)",
    )?;
    for gap in &heartbeat.gaps {
        // The sender's clock may be wrong, so only the age of the gap is used.
        let age_ms = heartbeat
            .at
            .map_or(0, |at| at.millis().saturating_sub(gap.noticed_at.millis()));
        let noticed_at = now
            .checked_sub(SignedDuration::from_millis(age_ms.max(0)))
            .unwrap_or(now);
        insert.execute((
            source.as_str(),
            to_text(&gap.stream),
            gap.log.as_str(),
            &gap.path,
            signed(gap.from.get()),
            gap.until.map(|until| signed(until.get())),
            millis(noticed_at),
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use logferry_protocol::heartbeat::{HostTime, ReportedGap};

    use super::*;
    use crate::StreamRecord;
    use crate::tests::{TestResult, advance, ledger, now, stream_record};

    const STEP_MS: i64 = 60_000;

    /// Records a gap. The sender's clock is an hour behind, and the gap is a minute old.
    fn report_gap(ledger: &mut Ledger, from: u64, until: Option<u64>) {
        let clock_ms = now().as_millisecond() - 3_600_000;
        let StreamRecord {
            source, stream, log, ..
        } = stream_record(0, 0);
        let gap = ReportedGap {
            stream,
            log,
            path: "/log/access.log.9".to_owned(),
            from: Offset::new(from),
            until: until.map(Offset::new),
            noticed_at: HostTime::from_millis(clock_ms - STEP_MS),
        };
        let heartbeat = Heartbeat {
            at: Some(HostTime::from_millis(clock_ms)),
            gaps: vec![gap],
            ..Heartbeat::default()
        };
        let group = "web-1".parse().expect("a group");
        ledger
            .note_heartbeat(&source, &group, &heartbeat, now())
            .expect("noted");
    }

    fn commit(ledger: &mut Ledger, from: u64, to: u64, finished: bool) {
        let record = StreamRecord {
            finished,
            ..stream_record(to, 0)
        };
        ledger.commit(&advance(from, record)).expect("committed");
    }

    fn ranges(ledger: &Ledger) -> Vec<(u64, Option<u64>)> {
        let gaps = ledger.gaps().expect("asked");
        gaps.into_iter()
            .map(|gap| (gap.from.get(), gap.until.map(Offset::get)))
            .collect()
    }

    #[test]
    fn gap_reported_twice_is_recorded_once() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        report_gap(&mut ledger, 100, Some(200));
        let gaps = ledger.gaps().expect("asked");
        assert_eq!(gaps[0].bytes(), 100);
        assert_eq!(gaps[0].path, "/log/access.log.9");
        let age_ms = now().as_millisecond() - gaps[0].noticed_at.as_millisecond();
        assert_eq!(age_ms, STEP_MS, "a wrong clock of the sender does not count");
        report_gap(&mut ledger, 100, Some(200));
        assert_eq!(ledger.gaps().expect("asked"), gaps);
        Ok(())
    }

    #[test]
    fn end_reported_later_is_stored_and_kept() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        for (until, known) in [
            (None, None),
            (Some(200), Some(200)),
            (Some(150), Some(200)),
            (None, Some(200)),
        ] {
            report_gap(&mut ledger, 100, until);
            assert_eq!(ranges(&ledger), [(100, known)]);
        }
        Ok(())
    }

    #[test]
    fn bytes_shipped_later_close_their_gap() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        commit(&mut ledger, 0, 100, false);
        report_gap(&mut ledger, 100, Some(200));
        commit(&mut ledger, 100, 150, false);
        assert_eq!(ranges(&ledger), [(150, Some(200))]);
        let began = ledger.gaps()?[0].began;
        assert_eq!(began.get(), 100, "it is the same gap");
        commit(&mut ledger, 150, 200, false);
        assert_eq!(ranges(&ledger), []);
        Ok(())
    }

    #[test]
    fn returned_file_closes_a_gap_without_an_end() -> TestResult {
        for (to, finished) in [(120, false), (100, true)] {
            let (_dir, mut ledger) = ledger()?;
            commit(&mut ledger, 0, 100, false);
            report_gap(&mut ledger, 100, None);
            assert_eq!(ranges(&ledger), [(100, None)]);
            commit(&mut ledger, 100, to, finished);
            assert_eq!(ranges(&ledger), []);
        }
        Ok(())
    }
}
