//! The types of a batch: one source's lines of one window, one row of the table for each part.

use std::fmt;

use jiff::Timestamp;
use logferry_protocol::names::{GroupName, LogName, SourceId};
use logferry_time_windows::Window;
use rusqlite::types::Value;
use rusqlite::{Result as SqlResult, Row};
use serde::{Deserialize, Serialize};

use crate::row;

/// The ledger's number of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub(crate) i64);

impl BatchId {
    /// The number, for a record beside the ledger. It means this batch only in this ledger.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The batch with a number that [`Self::number`] gave.
    pub const fn of_number(number: i64) -> Self {
        Self(number)
    }

    /// The number before this one. A batch with this number need not exist.
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

/// The properties that a line must share with a batch to belong to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchKey {
    /// The source.
    pub source: SourceId,
    /// The log, if the name template distinguishes logs.
    pub log: Option<LogName>,
    /// First second of the window.
    pub window_start: i64,
}

/// The state of a batch. Its folder in the spool has the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchState {
    /// Being written.
    Open,
    /// Sealed, to be delivered.
    Ready,
    /// Delivered to every destination.
    Sent,
    /// Not delivered after the last attempt. It waits until it is tried again.
    Failed,
}

impl BatchState {
    /// Every state, in the order of a batch's life.
    pub const ALL: [Self; 4] = [Self::Open, Self::Ready, Self::Sent, Self::Failed];

    /// The state's name in the ledger, which is also the folder's name.
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

/// Size and checksum of a batch file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchContents {
    /// Lines.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
    /// CRC-32C of the bytes.
    pub crc32c: u32,
}

impl BatchContents {
    /// Whether both have the same bytes, by length and CRC-32C. Lines do not count: they follow from the bytes.
    pub fn has_same_bytes(self, other: Self) -> bool {
        (self.bytes, self.crc32c) == (other.bytes, other.crc32c)
    }
}

/// A batch as recorded in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its number.
    pub id: BatchId,
    /// The source of its lines.
    pub source: SourceId,
    /// The group of that source.
    pub group: GroupName,
    /// The log, if the name template distinguishes logs.
    pub log: Option<LogName>,
    /// The window of its lines.
    pub window: Window,
    /// The name of the window's first part, without `.log`.
    pub base_name: String,
    /// 1 for the first file of the window, 2 for the next.
    pub part: u32,
    /// Its state.
    pub state: BatchState,
    /// Size and checksum of its file.
    pub contents: BatchContents,
    /// SHA-256 in hex; `None` until the whole file was read.
    pub sha256: Option<String>,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was sealed.
    pub sealed_at: Option<Timestamp>,
    /// When it was delivered to the last destination.
    pub sent_at: Option<Timestamp>,
    /// When its file became `.log.gz`.
    pub compressed_at: Option<Timestamp>,
    /// When its file was deleted.
    pub expired_at: Option<Timestamp>,
}

impl Batch {
    /// The batch's name: unique forever, and its file's name without `.log`.
    pub fn name(&self) -> String {
        name_of_part(&self.base_name, self.part)
    }

    /// The name of its file while it is not compressed.
    pub fn file_name(&self) -> String {
        format!("{}.log", self.name())
    }

    /// The properties that a line must share with this batch to belong to it.
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
            window: row::window(row)?,
            base_name: row.get("base_name")?,
            part: row.get("part")?,
            state: row::variant(row, "state")?,
            contents: BatchContents {
                lines: row.get("lines")?,
                bytes: row.get("bytes")?,
                crc32c: row.get("crc32c")?,
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

/// A batch to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBatch {
    /// The source of its lines.
    pub source: SourceId,
    /// The group of that source.
    pub group: GroupName,
    /// The log, if the name template distinguishes logs.
    pub log: Option<LogName>,
    /// The window of its lines.
    pub window: Window,
    /// The name of the window's first part, without `.log`.
    pub base_name: String,
}

impl NewBatch {
    /// The batch's name if it is the given part of its window.
    pub fn name_of_part(&self, part: u32) -> String {
        name_of_part(&self.base_name, part)
    }
}

/// Selects batches. The default selects all.
#[derive(Debug, Clone, Default)]
pub struct BatchFilter {
    /// Only of this source.
    pub source: Option<SourceId>,
    /// Only batches whose window ends after this time.
    pub since: Option<Timestamp>,
    /// Only batches whose window starts before this time.
    pub until: Option<Timestamp>,
}

/// No window is longer (`WindowLength`).
const WINDOW_SECONDS_MAX: i64 = 3600;

impl BatchFilter {
    /// The condition on the table `batches b`, and its values. Only what is set is in it, and a time has a bound on
    /// `window_start` alone: SQLite uses an index for no other.
    pub(super) fn condition(&self) -> (String, Vec<Value>) {
        let (mut conditions, mut values) = (vec!["1"], Vec::new());
        if let Some(source) = &self.source {
            conditions.push("b.source = ?");
            values.push(Value::from(source.as_str().to_owned()));
        }
        if let Some(since) = self.since.map(Timestamp::as_second) {
            conditions.push("b.window_start > ? AND b.window_start + b.window_seconds > ?");
            values.extend([since.saturating_sub(WINDOW_SECONDS_MAX), since].map(Value::from));
        }
        if let Some(until) = self.until.map(Timestamp::as_second) {
            conditions.push("b.window_start < ?");
            values.push(Value::from(until));
        }
        (conditions.join(" AND "), values)
    }

    /// The same for a table of windows of all sources.
    pub(crate) fn condition_on_windows(&self) -> (String, Vec<Value>) {
        let times = Self {
            source: None,
            ..self.clone()
        };
        times.condition()
    }
}

fn name_of_part(base_name: &str, part: u32) -> String {
    match part {
        1 => base_name.to_owned(),
        part => format!("{base_name}.{part}"),
    }
}
