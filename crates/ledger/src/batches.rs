//! Batches: one source's lines of one window, one row a part.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_protocol::stream::ParseError;
use logferry_time_windows::Window;
use rusqlite::{Connection, OptionalExtension, Result as SqlResult, Row, named_params};
use serde::Serialize;

use crate::rebuild::FORGOTTEN_PARTS;
use crate::row::{self, millis, signed};
use crate::{Ledger, LedgerError};

/// The ledger's number of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub(crate) i64);

impl BatchId {
    /// The number before this one; no batch need have it.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a line must have in common with a batch to belong into it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchKey {
    /// The source.
    pub source: SourceId,
    /// The log, where the name template tells logs apart.
    pub log: Option<LogName>,
    /// First second of the window.
    pub window_start: i64,
}

/// Where a batch is on its way. Its folder in the spool has the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchState {
    /// Being written.
    Open,
    /// Sealed, to be delivered.
    Ready,
    /// At every destination.
    Sent,
    /// Given up for now.
    Failed,
}

impl BatchState {
    /// Every state, in the order of a batch's life.
    pub const ALL: [Self; 4] = [Self::Open, Self::Ready, Self::Sent, Self::Failed];

    /// The state's word, which is its folder's name too.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Ready => "ready",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for BatchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BatchState {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| ParseError {
            expected: "a batch state",
            got: text.to_owned(),
        })
    }
}

/// What a batch file holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchContents {
    /// Lines.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
    /// CRC-32C of the bytes.
    pub crc32c: u32,
}

/// A batch as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its number.
    pub id: BatchId,
    /// Whose lines it holds.
    pub source: SourceId,
    /// The group of that source.
    pub group: GroupName,
    /// The log, where the name template tells logs apart.
    pub log: Option<LogName>,
    /// The window of its lines.
    pub window: Window,
    /// The name of the window's first part, without `.log`.
    pub base_name: String,
    /// 1 for the first file of the window, 2 for the next.
    pub part: u32,
    /// Where it is on its way.
    pub state: BatchState,
    /// What its file holds.
    pub contents: BatchContents,
    /// SHA-256 in hex, once somebody has read the file whole.
    pub sha256: Option<String>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was sealed.
    pub sealed_at: Option<Timestamp>,
    /// When the last destination had it.
    pub sent_at: Option<Timestamp>,
    /// When its file became `.log.gz`.
    pub compressed_at: Option<Timestamp>,
    /// When its file was deleted.
    pub expired_at: Option<Timestamp>,
}

impl Batch {
    /// The batch's name: unique for ever, and its file's name without `.log`.
    pub fn name(&self) -> String {
        name_of_part(&self.base_name, self.part)
    }

    /// The name of its file while it is not compressed.
    pub fn file_name(&self) -> String {
        format!("{}.log", self.name())
    }

    /// What a line must have in common with it to belong into it.
    pub fn key(&self) -> BatchKey {
        BatchKey {
            source: self.source.clone(),
            log: self.log.clone(),
            window_start: self.window.start,
        }
    }

    pub(crate) fn from_row(row: &Row<'_>) -> SqlResult<Self> {
        Ok(Self {
            id: BatchId(row.get("id")?),
            source: row::text(row, "source")?,
            group: row::text(row, "grp")?,
            log: row::optional_text(row, "log")?,
            window: Window {
                start: row.get("window_start")?,
                seconds: row::small(row, "window_seconds")?,
                utc_offset: row::small(row, "utc_offset")?,
            },
            base_name: row.get("base_name")?,
            part: row::small(row, "part")?,
            state: row::text(row, "state")?,
            contents: BatchContents {
                lines: row::count(row, "lines")?,
                bytes: row::count(row, "bytes")?,
                crc32c: row::small(row, "crc32c")?,
            },
            sha256: row.get("sha256")?,
            opened_at: row::time(row, "opened_at")?,
            sealed_at: row::optional_time(row, "sealed_at")?,
            sent_at: row::optional_time(row, "sent_at")?,
            compressed_at: row::optional_time(row, "compressed_at")?,
            expired_at: row::optional_time(row, "expired_at")?,
        })
    }
}

/// A batch about to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBatch {
    /// Whose lines it will hold.
    pub source: SourceId,
    /// The group of that source.
    pub group: GroupName,
    /// The log, where the name template tells logs apart.
    pub log: Option<LogName>,
    /// The window of its lines.
    pub window: Window,
    /// The name of the window's first part, without `.log`.
    pub base_name: String,
}

impl NewBatch {
    /// The batch's name, were it the `part`th of its window.
    pub fn name_of_part(&self, part: u32) -> String {
        name_of_part(&self.base_name, part)
    }
}

/// Which batches are asked for. Empty: all.
#[derive(Debug, Clone, Default)]
pub struct BatchFilter {
    /// Only of this source.
    pub source: Option<SourceId>,
    /// Only whose window ends after this time.
    pub since: Option<Timestamp>,
    /// Only whose window starts before this time.
    pub until: Option<Timestamp>,
}

impl Ledger {
    /// Opens the next part of a window: gives it the first free part number, and remembers it before its file exists.
    pub fn open_batch(&mut self, new: &NewBatch, now: Timestamp) -> Result<Batch, LedgerError> {
        self.write("open a batch", |sql| open(sql, new, now))
    }

    /// Opens the next part of each of these windows, as [`Self::open_batch`] does, all in one transaction.
    pub fn open_all(&mut self, new: &[NewBatch], now: Timestamp) -> Result<Vec<Batch>, LedgerError> {
        self.write("open batches", |sql| {
            new.iter().map(|new| open(sql, new, now)).collect()
        })
    }

    /// Closes a batch for good: nothing is added to it any more, and the forwarder may have it.
    ///
    /// The caller moves the file from `open/` to `ready/` *after* this; a crash in between is mended by whoever
    /// starts next.
    pub fn seal(&mut self, batch: BatchId, now: Timestamp) -> Result<(), LedgerError> {
        self.seal_batches([batch], now)
    }

    /// Closes batches as [`Self::seal`] does, all in one transaction.
    pub fn seal_batches(
        &mut self,
        batches: impl IntoIterator<Item = BatchId>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.write("seal batches", |sql| {
            let mut seal = sql.prepare_cached(
                "UPDATE batches SET state = 'ready', sealed_at = ?2 WHERE id = ?1 AND state = 'open'",
            )?;
            batches
                .into_iter()
                .try_for_each(|batch| seal.execute((batch.0, millis(now))).map(drop))
        })
    }

    /// Forgets an open batch into which nothing was ever committed.
    pub fn discard_empty_batch(&mut self, batch: BatchId) -> Result<(), LedgerError> {
        self.write("discard an empty batch", |sql| {
            sql.execute(
                "DELETE FROM batches WHERE id = ?1 AND state = 'open' AND lines = 0 AND bytes = 0",
                [batch.0],
            )
            .map(drop)
        })
    }

    /// The open batches of a group.
    pub fn open_batches(&self, group: &GroupName) -> Result<Vec<Batch>, LedgerError> {
        self.read("list open batches", |sql| {
            sql.prepare_cached(
                "SELECT * FROM batches WHERE state = 'open' AND grp = ?1 ORDER BY window_start, part",
            )?
            .query_map([group.as_str()], Batch::from_row)?
            .collect()
        })
    }

    /// The batches in a state, oldest window first, whose files have not expired.
    pub fn batches_in(&self, state: BatchState) -> Result<Vec<Batch>, LedgerError> {
        self.read("list batches", |sql| {
            sql.prepare_cached(
                "SELECT * FROM batches WHERE state = ?1 AND expired_at IS NULL ORDER BY window_start, part, source",
            )?
            .query_map([state.as_str()], Batch::from_row)?
            .collect()
        })
    }

    /// All batches that fit the filter, oldest window first.
    pub fn batches(&self, filter: &BatchFilter) -> Result<Vec<Batch>, LedgerError> {
        self.read("list batches", |sql| {
            sql.prepare_cached(
                "SELECT * FROM batches
                 WHERE (:source IS NULL OR source = :source)
                   AND (:since IS NULL OR window_start + window_seconds > :since)
                   AND (:until IS NULL OR window_start < :until)
                 ORDER BY window_start, source, base_name, part",
            )?
            .query_map(
                named_params! {
                    ":source": filter.source.as_ref().map(SourceId::as_str),
                    ":since": filter.since.map(Timestamp::as_second),
                    ":until": filter.until.map(Timestamp::as_second),
                },
                Batch::from_row,
            )?
            .collect()
        })
    }

    /// The batch of that name (without `.log`), if there is one.
    pub fn batch_named(&self, name: &str) -> Result<Option<Batch>, LedgerError> {
        // `NAME` is the first part of NAME; `NAME.2` is the second part of NAME, or the first of a window whose name
        // really ends so.
        let part = name
            .rsplit_once('.')
            .and_then(|(base, part)| Some((base, part.parse::<u32>().ok()?)));
        self.read("find a batch", |sql| {
            let mut query = sql.prepare_cached("SELECT * FROM batches WHERE base_name = ?1 AND part = ?2")?;
            let first = query.query_row((name, 1), Batch::from_row).optional()?;
            match (first, part) {
                (None, Some(part)) => query.query_row(part, Batch::from_row).optional(),
                (first, _) => Ok(first),
            }
        })
    }

    /// How many batches are in each state, in the order of [`BatchState::ALL`].
    pub fn count_by_state(&self) -> Result<[u64; 4], LedgerError> {
        self.read("count batches", |sql| {
            let mut counts = [0; 4];
            for (state, count) in BatchState::ALL.into_iter().zip(&mut counts) {
                let mut query = sql.prepare_cached("SELECT count(*) AS n FROM batches WHERE state = ?1")?;
                *count = query.query_row([state.as_str()], |row| row::count(row, "n"))?;
            }
            Ok(counts)
        })
    }

    /// Notes that a sent batch's file is `.log.gz` now.
    pub fn mark_compressed(&mut self, batch: BatchId, now: Timestamp) -> Result<(), LedgerError> {
        self.write("note a compression", |sql| {
            sql.execute(
                "UPDATE batches SET compressed_at = ?2 WHERE id = ?1",
                (batch.0, millis(now)),
            )
            .map(drop)
        })
    }

    /// Notes that a sent batch's file may go: first this, then the file, so that a crash leaves a file too many. False
    /// if it is to go to a destination once more: then the file must stay.
    pub fn mark_expired(&mut self, batch: BatchId, now: Timestamp) -> Result<bool, LedgerError> {
        self.write("note an expiry", |sql| {
            sql.execute(
                "UPDATE batches SET expired_at = ?2 WHERE id = ?1 AND state = 'sent'
                 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE batch = ?1 AND asked_at IS NOT NULL)",
                (batch.0, millis(now)),
            )
            .map(|changed| changed == 1)
        })
    }
}

fn name_of_part(base_name: &str, part: u32) -> String {
    match part {
        1 => base_name.to_owned(),
        part => format!("{base_name}.{part}"),
    }
}

fn open(sql: &Connection, new: &NewBatch, now: Timestamp) -> SqlResult<Batch> {
    let part: i64 = sql
        .prepare_cached(
            "SELECT coalesce(max(part), (SELECT ?4 FROM rebuilt WHERE source = ?2 AND newest_window >= ?3), 0) + 1
             FROM (SELECT part FROM batches WHERE base_name = ?1
                   UNION ALL SELECT part FROM given_names WHERE base_name = ?1)",
        )?
        .query_row(
            (
                &new.base_name,
                new.source.as_str(),
                new.window.start,
                FORGOTTEN_PARTS,
            ),
            |row| row.get(0),
        )?;
    sql.prepare_cached(
        "INSERT INTO batches (source, grp, log, window_start, window_seconds, utc_offset, base_name, part,
                              state, opened_at)
         VALUES (:source, :grp, :log, :start, :seconds, :utc_offset, :base_name, :part, 'open', :now)",
    )?
    .execute(named_params! {
        ":source": new.source.as_str(),
        ":grp": new.group.as_str(),
        ":log": new.log.as_ref().map(LogName::as_str),
        ":start": new.window.start,
        ":seconds": new.window.seconds,
        ":utc_offset": new.window.utc_offset,
        ":base_name": new.base_name,
        ":part": part,
        ":now": millis(now),
    })?;
    by_id(sql, BatchId(sql.last_insert_rowid()))
}

pub(crate) fn by_id(sql: &Connection, id: BatchId) -> SqlResult<Batch> {
    sql.prepare_cached("SELECT * FROM batches WHERE id = ?1")?
        .query_row([id.0], Batch::from_row)
}

/// Writes what an open batch holds now.
pub(crate) fn grow(sql: &Connection, id: BatchId, contents: BatchContents) -> SqlResult<usize> {
    sql.prepare_cached(
        "UPDATE batches SET lines = ?2, bytes = ?3, crc32c = ?4 WHERE id = ?1 AND state = 'open'",
    )?
    .execute((
        id.0,
        signed(contents.lines),
        signed(contents.bytes),
        contents.crc32c,
    ))
}
