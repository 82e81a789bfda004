//! The relay's commit: streams advance and open batches grow, in one transaction.

use std::collections::BTreeMap;

use jiff::Timestamp;
use logferry_protocol::chunk::LineCounts;
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_protocol::resolve::LedgerId;
use logferry_protocol::sender::SenderId;
use logferry_protocol::stream::{FileKey, Fingerprint, Head, Offset, StreamId, Tail};
use rusqlite::{Connection, Error, OptionalExtension, Result as SqlResult, Row, named_params};

use super::possible_duplicates::{self, DuplicatesEnd, PossibleDuplicate};
use super::uploads::{self, UploadChanges};
use crate::batches::{self, BatchContents, BatchId};
use crate::row::{self, millis, signed, to_text};
use crate::{Ledger, LedgerError};

/// A stream and its durable progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    /// Its source.
    pub source: SourceId,
    /// Its id.
    pub stream: StreamId,
    /// Its log.
    pub log: LogName,
    /// Device and inode of the file when the last chunk came.
    pub file: FileKey,
    /// The fingerprint of its beginning.
    pub head: Head,
    /// It is durable up to here.
    pub committed: Offset,
    /// The raw bytes that end at `committed`.
    pub tail: Tail,
    /// Lines up to `committed`.
    pub lines: LineCounts,
    /// The window (first second, offset from UTC) of the last line. A line without a time goes there.
    pub last_window: Option<(i64, i32)>,
    /// The time of the last line that had one, in seconds since 1970.
    pub last_line_time: Option<i64>,
    /// When the last line with a time arrived, or later. Of use only with `last_window`.
    pub timed_at: Timestamp,
    /// The batch that holds the beginning of a line whose end has not come yet.
    pub open_line_in: Option<BatchId>,
    /// Whether the file was rotated away and read to its end.
    pub finished: bool,
    /// The sender of the last chunk; `None` if it did not name itself.
    pub writer: Option<SenderId>,
    /// When the last chunk was committed.
    pub updated_at: Timestamp,
}

impl StreamRecord {
    fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        let last_window: Option<i64> = row.get("last_window")?;
        let last_offset: Option<i32> = row.get("last_offset")?;
        let updated_at = row::time(row, "updated_at")?;
        Ok(Self {
            source: row::text(row, "source")?,
            stream: row::text(row, "stream")?,
            log: row::text(row, "log")?,
            file: FileKey {
                dev: row.get("dev")?,
                inode: row.get("inode")?,
            },
            head: Head(row::text::<Fingerprint>(row, "head")?),
            committed: Offset::new(row.get("committed")?),
            tail: Tail(row::text::<Fingerprint>(row, "tail")?),
            lines: LineCounts {
                sent: row.get("lines_sent")?,
                excluded: row.get("lines_excluded")?,
            },
            last_window: last_window.zip(last_offset),
            last_line_time: row.get("last_line_time")?,
            timed_at: row::optional_time(row, "timed_at")?.unwrap_or(updated_at),
            open_line_in: row.get::<_, Option<i64>>("open_line_in")?.map(BatchId),
            finished: row.get("finished")?,
            writer: row::optional_text(row, "writer")?,
            updated_at,
        })
    }

    /// Replaces the record whose committed offset is `from`, or inserts a new one. False if the known record has another
    /// offset. The log's name is left as it was.
    pub(crate) fn move_on(&self, sql: &Connection, from: Offset) -> SqlResult<bool> {
        sql.prepare_cached(
            "INSERT INTO streams (source, stream, log, dev, inode, head, committed, tail, lines_sent,
                 lines_excluded, last_window, last_offset, last_line_time, timed_at,
                 open_line_in, finished, writer, updated_at)
             VALUES (:source, :stream, :log, :dev, :inode, :head, :committed, :tail, :sent,
                 :excluded, :last_window, :last_offset, :last_line_time, :timed_at,
                 :open_line_in, :finished, :writer, :updated_at)
             ON CONFLICT (source, stream) DO UPDATE SET dev = excluded.dev,
                 inode = excluded.inode, committed = excluded.committed, tail = excluded.tail,
                 lines_sent = excluded.lines_sent, lines_excluded = excluded.lines_excluded,
                 last_window = excluded.last_window, last_offset = excluded.last_offset,
                 last_line_time = excluded.last_line_time, timed_at = excluded.timed_at, open_line_in = excluded.open_line_in,
                 finished = excluded.finished, writer = excluded.writer, updated_at = excluded.updated_at
             WHERE committed = :from",
        )?
        .execute(named_params! {
            ":from": signed(from.get()),
            ":source": self.source.as_str(),
            ":stream": to_text(&self.stream),
            ":log": self.log.as_str(),
            ":dev": signed(self.file.dev),
            ":inode": signed(self.file.inode),
            ":head": to_text(&self.head.0),
            ":committed": signed(self.committed.get()),
            ":tail": to_text(&self.tail.0),
            ":sent": signed(self.lines.sent),
            ":excluded": signed(self.lines.excluded),
            ":last_window": self.last_window.map(|(start, _)| start),
            ":last_offset": self.last_window.map(|(_, offset)| offset),
            ":last_line_time": self.last_line_time,
            ":timed_at": millis(self.timed_at),
            ":open_line_in": self.open_line_in.map(|id| id.0),
            ":finished": self.finished,
            ":writer": self.writer.map(|writer| writer.to_string()),
            ":updated_at": millis(self.updated_at),
        })
        .map(|changed| changed == 1)
    }

    /// Its log and its number of lines in the ledger, if it is known there.
    fn known(&self, sql: &Connection) -> SqlResult<Option<(String, u64)>> {
        sql.prepare_cached("SELECT log, lines_sent FROM streams WHERE source = ?1 AND stream = ?2")?
            .query_row((self.source.as_str(), to_text(&self.stream)), |row| {
                Ok((row.get("log")?, row.get("lines_sent")?))
            })
            .optional()
    }

    /// Moves as [`Self::move_on`], and gives the stream its present log. Returns whether lines came, and whether the stream is new.
    fn commit(&self, sql: &Connection, from: Offset) -> SqlResult<(bool, bool)> {
        let known = self.known(sql)?;
        let is_new = known.is_none();
        if !self.move_on(sql, from)? {
            return Err(Error::StatementChangedRows(0));
        }
        let (log, lines) = known.unwrap_or_else(|| (self.log.as_str().to_owned(), 0));
        if log != self.log.as_str() {
            // By itself: SQLite writes the index of logs anew with each statement that can change a log.
            sql.prepare_cached("UPDATE streams SET log = ?3 WHERE source = ?1 AND stream = ?2")?
                .execute((self.source.as_str(), to_text(&self.stream), self.log.as_str()))?;
        }
        Ok((self.lines.sent > lines, is_new))
    }

    /// Its bytes from there to where it is.
    fn range_from(&self, from: Offset) -> PossibleDuplicate {
        PossibleDuplicate {
            source: self.source.clone(),
            stream: self.stream,
            log: self.log.clone(),
            from,
            until: self.committed,
            noticed_at: self.updated_at,
        }
    }
}

/// Size and checksum of an open batch after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchGrowth {
    /// The batch.
    pub batch: BatchId,
    /// Size and checksum of its synced file.
    pub contents: BatchContents,
}

/// A stream that advanced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamMove {
    /// Its committed offset before.
    pub from: Offset,
    /// The stream after the commit.
    pub record: StreamRecord,
    /// First second of the oldest window that got lines of it; `None` without lines.
    pub oldest_window: Option<i64>,
}

/// The changes of one commit.
#[derive(Debug, Default)]
pub struct Commit {
    /// Streams that advanced.
    pub streams: Vec<StreamMove>,
    /// Open batches that grew; their files are synced up to these lengths.
    pub batches: Vec<BatchGrowth>,
}

/// What the chunks of a commit say of their source.
#[derive(Debug, Default)]
struct LastContact {
    at: Timestamp,
    with_lines: Option<Timestamp>,
}

impl LastContact {
    fn add(&mut self, at: Timestamp, has_lines: bool) {
        self.at = self.at.max(at);
        self.with_lines = self.with_lines.max(has_lines.then_some(at));
    }

    fn note(&self, sql: &Connection, source: &SourceId) -> SqlResult<()> {
        sql.prepare_cached(
            "UPDATE sources SET last_contact = ?2, last_lines = coalesce(?3, last_lines) WHERE source = ?1",
        )?
        .execute((source.as_str(), millis(self.at), self.with_lines.map(millis)))
        .map(drop)
    }
}

impl Ledger {
    /// Records a commit. The files of `commit.batches` must have been synced before.
    ///
    /// After this returns, the chunks are durable, and their receipts may be sent. If a stream is not at its
    /// `from` offset (another group has advanced it), or a batch is not open, nothing of the commit is recorded:
    /// [`LedgerError::Conflict`].
    pub fn commit(&mut self, commit: &Commit) -> Result<(), LedgerError> {
        self.commit_with_uploads(commit, UploadChanges::default(), Timestamp::UNIX_EPOCH)
    }

    /// Records a commit as [`Self::commit`] does, and in the same transaction the changes of remembered uploads.
    pub fn commit_with_uploads(
        &mut self,
        commit: &Commit,
        uploads: UploadChanges<'_>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("record a commit", |sql| {
            uploads::change(sql, uploads, now)?;
            for growth in &commit.batches {
                if batches::grow(sql, growth.batch, growth.contents)? != 1 {
                    return Err(Error::StatementChangedRows(0));
                }
            }
            let mut contacts: BTreeMap<&SourceId, LastContact> = BTreeMap::new();
            let is_rebuilt = possible_duplicates::is_rebuilt(sql)?;
            for moved in &commit.streams {
                let StreamMove {
                    from,
                    record,
                    oldest_window,
                } = moved;
                let (has_lines, is_new) = record.commit(sql, *from)?;
                if is_rebuilt && let Some(oldest) = *oldest_window {
                    possible_duplicates::note_move(sql, &record.range_from(*from), oldest, is_new)?;
                }
                // The end that the relay gives to a line does not come from the source.
                if record.committed > *from {
                    let contact = contacts.entry(&record.source).or_default();
                    contact.add(record.updated_at, has_lines);
                }
            }
            contacts
                .into_iter()
                .try_for_each(|(source, contact)| contact.note(sql, source))
        })
    }

    /// Recovers streams that the old ledger knew, in one transaction. With an end, the lines from `committed` to there may be stored
    /// twice. A stream that this ledger knows does not change.
    pub fn recover_streams(
        &mut self,
        streams: &[(StreamRecord, Option<DuplicatesEnd>)],
    ) -> Result<(), LedgerError> {
        self.write("recover streams", |sql| {
            for (record, end) in streams {
                if record.known(sql)?.is_some() {
                    continue;
                }
                record.move_on(sql, record.committed)?;
                if let Some(end) = *end {
                    possible_duplicates::note_recovered(sql, record.range_from(record.committed), end)?;
                }
            }
            Ok(())
        })
    }

    /// The ledger's id.
    pub fn id(&self) -> Result<LedgerId, LedgerError> {
        self.read("find its id", |sql| {
            sql.query_row("SELECT id FROM identity", [], |row| row::text(row, "id"))
        })
    }

    /// A stream, if it is known.
    pub fn stream(&self, source: &SourceId, stream: StreamId) -> Result<Option<StreamRecord>, LedgerError> {
        let query = "SELECT * FROM streams WHERE source = ?1 AND stream = ?2";
        let key = (source.as_str(), to_text(&stream));
        self.find("find a stream", query, key, StreamRecord::from_row)
    }

    /// The streams of a source's log that begin with `head`: the `newest` so many.
    pub fn streams_with_head(
        &self,
        source: &SourceId,
        log: &LogName,
        head: Head,
        newest: usize,
    ) -> Result<Vec<StreamRecord>, LedgerError> {
        let query = "SELECT * FROM streams WHERE source = ?1 AND log = ?2 AND head = ?3
            ORDER BY updated_at DESC, stream LIMIT ?4";
        let newest = i64::try_from(newest).unwrap_or(i64::MAX);
        let values = (source.as_str(), log.as_str(), to_text(&head.0), newest);
        self.list("find streams", query, values, StreamRecord::from_row)
    }

    /// The names of the logs of a source that the ledger has.
    pub fn logs_of(&self, source: &SourceId) -> Result<Vec<LogName>, LedgerError> {
        let query = "SELECT DISTINCT log FROM streams WHERE source = ?1 ORDER BY log";
        self.list("list the logs of a source", query, [source.as_str()], |row| {
            row::text(row, "log")
        })
    }

    /// The names of all logs that the ledger has.
    pub fn logs(&self) -> Result<Vec<LogName>, LedgerError> {
        let query = "SELECT DISTINCT log FROM streams ORDER BY log";
        self.list("list the logs", query, [], |row| row::text(row, "log"))
    }

    /// The stream whose line is incomplete at the end of a batch.
    pub fn stream_with_open_line(&self, batch: BatchId) -> Result<Option<StreamRecord>, LedgerError> {
        let query = "SELECT * FROM streams WHERE open_line_in = ?1";
        self.find(
            "find the stream of a line",
            query,
            [batch.0],
            StreamRecord::from_row,
        )
    }

    /// The streams of a group's sources that are not finished.
    pub fn live_streams(&self, group: &GroupName) -> Result<Vec<StreamRecord>, LedgerError> {
        let query = "SELECT streams.* FROM streams JOIN sources USING (source) WHERE sources.grp = ?1 AND NOT finished";
        let values = [group.as_str()];
        self.list("list live streams", query, values, StreamRecord::from_row)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as StdError;

    use jiff::SignedDuration;

    use super::*;
    use crate::tests::{TestResult, advance, ledger, now, stream_record};

    #[test]
    fn a_stream_is_found_by_the_present_name_of_its_log() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        let first = stream_record(100, 1);
        ledger.commit(&advance(0, first.clone()))?;
        let renamed = StreamRecord {
            log: "shop".parse()?,
            ..stream_record(200, 2)
        };
        ledger.commit(&advance(100, renamed.clone()))?;
        let of = |log| ledger.streams_with_head(&renamed.source, log, renamed.head, 9);
        assert_eq!(of(&first.log)?, []);
        assert_eq!(of(&renamed.log)?, std::slice::from_ref(&renamed));
        Ok(())
    }

    /// The pages in the write-ahead log (<https://sqlite.org/fileformat2.html#walformat>).
    fn pages_written(ledger: &Ledger) -> Result<Vec<u32>, Box<dyn StdError>> {
        const HEADER: usize = 32;
        const FRAME: usize = 24 + 4096;
        let log = std::fs::read(ledger.path().with_extension("db-wal"))?;
        let frames = log.get(HEADER..).unwrap_or_default().chunks_exact(FRAME);
        frames
            .map(|frame| Ok(u32::from_be_bytes(frame[..4].try_into()?)))
            .collect()
    }

    #[test]
    fn a_commit_writes_the_index_of_logs_only_if_a_log_has_a_new_name() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        ledger.commit(&advance(0, stream_record(100, 1)))?;
        let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'streams_by_head'";
        let index: u32 = ledger.connection.query_row(root, [], |row| row.get(0))?;
        let mut record = stream_record(200, 2);
        for (from, log, is_written) in [(100, "access", false), (200, "shop", true)] {
            ledger
                .connection
                .pragma_update(None, "wal_checkpoint", "TRUNCATE")?;
            (record.committed, record.log) = (Offset::new(from + 100), log.parse()?);
            ledger.commit(&advance(from, record.clone()))?;
            let pages = pages_written(&ledger)?;
            assert!(!pages.is_empty());
            assert_eq!(pages.contains(&index), is_written, "{log}: {index} in {pages:?}");
        }
        Ok(())
    }

    /// When a source last made contact, and when lines of it came.
    fn contact(ledger: &Ledger) -> Result<(Timestamp, Option<Timestamp>), Box<dyn StdError>> {
        let source = ledger.sources()?.pop().ok_or("no source")?;
        Ok((source.last_contact, source.last_lines))
    }

    fn after(seconds: i64) -> Timestamp {
        now() + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn the_last_chunk_of_any_stream_is_the_contact_of_its_source() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        ledger.note_contact(&stream_record(0, 0).source, &"web-1".parse()?, now())?;
        let stream = |generation, lines, seconds| {
            let record = stream_record(100, lines);
            let record = StreamRecord {
                stream: StreamId::derive(record.file, record.head, generation),
                updated_at: after(seconds),
                ..record
            };
            advance(0, record).streams
        };
        // The last one has excluded lines only.
        let streams = [stream(0, 3, 20), stream(1, 3, 10), stream(2, 0, 30)].concat();
        ledger.commit(&Commit {
            streams,
            batches: Vec::new(),
        })?;
        assert_eq!(contact(&ledger)?, (after(30), Some(after(20))));
        Ok(())
    }

    #[test]
    fn the_end_that_the_relay_gives_to_a_line_is_no_contact_of_its_source() -> TestResult {
        let (_dir, mut ledger) = ledger()?;
        let mut record = stream_record(100, 3);
        let group = "web-1".parse()?;
        ledger.note_contact(&record.source, &group, now())?;
        ledger.commit(&advance(0, record.clone()))?;
        ledger.note_contact(&record.source, &group, after(1800))?;
        record.lines.sent += 1;
        ledger.commit(&advance(100, record.clone()))?;
        assert_eq!(contact(&ledger)?, (after(1800), Some(now())));
        let stored = ledger.stream(&record.source, record.stream)?;
        assert_eq!(stored, Some(record));
        Ok(())
    }
}
